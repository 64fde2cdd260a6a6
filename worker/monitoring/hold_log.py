"""What operators are told when a hold begins or ends, how a hold's end is noticed, and how readings of opt-outs ended."""

import logging
import math
from collections.abc import Callable
from datetime import datetime

from worker.gate.gate import Gate
from worker.mailgun.client import MailgunClient
from worker.mailgun.outcome import Outcome, OutcomeKind, list_outcome, why
from worker.queue.dead_letter_reasons import ADVICE, DeadLetterReason

logger = logging.getLogger("signal_mailgun.hold")


def tell_of_hold(kind: str, why: str) -> None:
    """Log one line for a hold that began or ended; loud where an operator has to do something."""
    match kind:
        case "throttled":
            logger.info("Mailgun asks to slow down: the integration is held", extra={"why": why})
        case "unthrottled":
            logger.warning(
                "Mailgun asked to wait longer, but the list can be read: the flow ramps up"
            )
        case "unavailable":
            logger.warning(
                "Mailgun is unavailable to many members: the integration is held until the list can be read",
                extra={"why": why},
            )
        case "available":
            logger.info("Mailgun is available again: the flow ramps up")
        case "incident":
            cause, fix = ADVICE[reason_in(why)]
            logger.critical(
                "INCIDENT: Mailgun refuses every event; the integration is held until that is fixed",
                extra={"why": why, "cause": cause, "fix": fix},
            )
        case "over":
            logger.warning(
                "the incident is over: the list can be read again; dead letters can be replayed"
            )


def reason_in(why: str) -> DeadLetterReason:
    """Return the reason of the dead letters that the refusal `why` made."""
    kind = why.partition(" ")[0].rstrip(":")
    return (
        DeadLetterReason(kind)
        if kind in set(DeadLetterReason)
        else DeadLetterReason.UNEXPECTED_STATUS
    )


def look_at_list(gate: Gate, mailgun: MailgunClient, clock: Callable[[], datetime]) -> None:
    """Read the list once; what stands ends where that succeeds. A 429 holds as any other. Raises `redis.RedisError`."""
    outcome = list_outcome(mailgun.read_list(), clock())
    said = f"{why(outcome)} (reading the list)"
    tell_of_hold(gate.record_incident_check(outcome, said, clock()), said)


def tell_of_opt_outs(ended: Outcome | float | None, refresh_seconds: float) -> None:
    """One line where those who unsubscribed could not be read, or took longer than there is until the next reading."""
    match ended:
        case Outcome():
            expected = ended.kind in {OutcomeKind.THROTTLED, OutcomeKind.UNAVAILABLE}
            level = logging.INFO if expected else logging.WARNING
            logger.log(
                level,
                "those who unsubscribed could not be read: tried again soon",
                extra={"why": why(ended)},
            )
        case float() if ended > refresh_seconds:
            logger.warning(
                "those who unsubscribed take longer to read than MAILGUN_OPT_OUT_REFRESH_SECONDS: raise it, "
                "or members are read one by one",
                extra={
                    "took": round(ended),
                    "fix": f"MAILGUN_OPT_OUT_REFRESH_SECONDS={math.ceil(1.5 * ended)}",
                },
            )
