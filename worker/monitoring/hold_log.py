"""Log lines about holds, opt-out scans and syncs, and the incident check."""

import logging
import math
from collections.abc import Callable
from datetime import datetime

from worker.gate.gate import Gate
from worker.mailgun.client import MailgunClient
from worker.mailgun.outcome import Outcome, OutcomeKind, list_outcome, why
from worker.members.sync_progress import SyncProgress
from worker.queue.dead_letter_reasons import ADVICE, DeadLetterReason

logger = logging.getLogger("signal_mailgun.hold")


def log_hold_change(kind: str, why: str) -> None:
    """Log one line for a hold that began or ended, at a high level if an operator must act.

    Nothing is logged if `kind` is no change, such as "".
    """
    match kind:
        case "throttled":
            logger.info("Mailgun asks to slow down: the integration is on hold", extra={"why": why})
        case "unthrottled":
            logger.warning(
                "Mailgun asked to wait longer, but the list can be read: the pace ramps up"
            )
        case "unavailable":
            logger.warning(
                "Mailgun is unavailable to many members: "
                "the integration is on hold until the list can be read",
                extra={"why": why},
            )
        case "available":
            logger.info("Mailgun is available again: the pace ramps up")
        case "incident":
            cause, fix = ADVICE[reason_in(why)]
            logger.critical(
                "INCIDENT: Mailgun refuses every event; "
                "the integration is on hold until that is fixed",
                extra={"why": why, "cause": cause, "fix": fix},
            )
        case "over":
            logger.warning(
                "the incident is over: the list can be read again; dead letters can be replayed"
            )


def reason_in(why: str) -> DeadLetterReason:
    """Return the dead-letter reason that the text `why` of a refusal begins with."""
    kind = why.partition(" ")[0].rstrip(":")
    return (
        DeadLetterReason(kind)
        if kind in set(DeadLetterReason)
        else DeadLetterReason.UNEXPECTED_STATUS
    )


def look_at_list(gate: Gate, mailgun: MailgunClient, clock: Callable[[], datetime]) -> None:
    """Run an incident check: read the list once, and report the outcome to the gate.

    If Mailgun shows the list, the hold ends. A 429 begins a hold as any other 429 does.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    outcome = list_outcome(mailgun.read_list(), clock())
    said = f"{why(outcome)} (reading the list)"
    log_hold_change(gate.record_incident_check(outcome, said, clock()), said)


def log_opt_outs(ended: Outcome | float | None, refresh_seconds: float) -> None:
    """Log one line if a scan of the opt-outs failed, or took longer than its interval.

    `ended` is the outcome of a failed scan, the seconds that a complete scan took, or None.
    """
    match ended:
        case Outcome():
            _log_failure("the unsubscribed members could not be read: tried again soon", ended)
        case float() if ended > refresh_seconds:
            logger.warning(
                "the unsubscribed members take longer to read than "
                "MAILGUN_OPT_OUT_REFRESH_SECONDS: raise it, or members are read one by one",
                extra={
                    "took": round(ended),
                    "fix": f"MAILGUN_OPT_OUT_REFRESH_SECONDS={math.ceil(1.5 * ended)}",
                },
            )


def log_sync(ended: SyncProgress | Outcome | None) -> None:
    """Log one line if a background sync is complete, or a page of it could not be read.

    `ended` is the progress of a complete sync, the outcome of a failed request, or None.
    """
    match ended:
        case Outcome():
            _log_failure("the list could not be synced: gone on with soon", ended)
        case SyncProgress(covers=False):
            logger.warning(
                "the sync took longer than LEDGER_DAYS, so what it read first has expired: "
                "raise LEDGER_DAYS",
                extra={"members": ended.members, "took": round(ended.seconds)},
            )
        case SyncProgress():
            logger.info(
                "the whole list is in the ledger: new contacts are written without a read",
                extra={
                    "members": ended.members,
                    "unsubscribed": ended.unsubscribed,
                    "requests": ended.requests,
                    "took": round(ended.seconds),
                },
            )


def _log_failure(text: str, outcome: Outcome) -> None:
    expected = outcome.kind in {OutcomeKind.THROTTLED, OutcomeKind.UNAVAILABLE}
    logger.log(logging.INFO if expected else logging.WARNING, text, extra={"why": why(outcome)})
