"""What operators are told when a hold begins or ends, and how an incident's end is noticed."""

import logging
from collections.abc import Callable
from datetime import datetime

from worker.delivery.dead_letters import CAUSES
from worker.delivery.decision import Reason
from worker.delivery.flow import Flow
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
