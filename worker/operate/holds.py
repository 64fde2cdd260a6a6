"""What operators are told when a hold begins or ends, how an incident's end is noticed, and how readings of opt-outs ended."""

import logging
import math
from collections.abc import Callable
from datetime import datetime

from worker.delivery.dead_letters import CAUSES
from worker.delivery.decision import Reason
from worker.delivery.flow import Flow
from worker.delivery.round import why
from worker.mailgun.client import Mailgun
from worker.mailgun.outcome import Answer, Kind, Outcome, hinted, kind_of_status, list_exists

logger = logging.getLogger("signal_mailgun.hold")


def tell_of_hold(kind: str, why: str) -> None:
    """One line for a hold that began or ended; loud where somebody has to do something."""
    match kind:
        case "throttled":
            logger.info("Mailgun asks to slow down: the integration is held", extra={"why": why})
        case "unavailable":
            logger.warning(
                "Mailgun is unavailable: the integration is held, one event at a time will probe", extra={"why": why}
            )
        case "available":
            logger.info("Mailgun is available again: the flow ramps up")
        case "incident":
            cause, fix = CAUSES[Reason.LIST_NOT_FOUND if why.startswith("list_not_found") else Reason.UNAUTHORIZED]
            logger.critical(
                "INCIDENT: Mailgun refuses every event; the integration is held until that is mended",
                extra={"why": why, "cause": cause, "mend": fix},
            )


def look_whether_incident_is_over(flow: Flow, mailgun: Mailgun, clock: Callable[[], datetime]) -> None:
    """Read the list once; lift the incident where that succeeds. A 429 holds as any other. Raises `redis.RedisError`."""
    answer = mailgun.read_list()
    if list_exists(answer):
        flow.lift()
        logger.warning("the incident is over: the list can be read again; dead letters can be replayed")
    elif isinstance(answer, Answer) and kind_of_status(answer.status) is Kind.THROTTLED:
        now = clock()
        throttled = Outcome(Kind.THROTTLED, answer.status, wait_until=hinted(answer, now), requests=1)
        flow.report(throttled, f"throttled ({answer.status}): looking whether an incident is over", now)


def tell_of_opt_outs(ended: Outcome | float | None, refresh_seconds: float) -> None:
    """One line where those who unsubscribed could not be read, or took longer than there is until the next reading."""
    match ended:
        case Outcome():
            expected = ended.kind in {Kind.THROTTLED, Kind.UNAVAILABLE}
            level = logging.INFO if expected else logging.WARNING
            logger.log(level, "those who unsubscribed could not be read: tried again soon", extra={"why": why(ended)})
        case float() if ended > refresh_seconds:
            logger.warning(
                "those who unsubscribed take longer to read than MAILGUN_OPT_OUT_REFRESH_SECONDS: raise it, "
                "or members are read one by one",
                extra={"took": round(ended), "mend": f"MAILGUN_OPT_OUT_REFRESH_SECONDS={math.ceil(1.5 * ended)}"},
            )
