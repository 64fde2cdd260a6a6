"""What operators are told when a hold begins or ends, and how an incident's end is noticed."""

import logging

from worker.delivery.dead_letters import CAUSES
from worker.delivery.decision import Reason
from worker.delivery.flow import Flow
from worker.mailgun.client import Mailgun
from worker.mailgun.outcome import list_exists

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


def look_whether_incident_is_over(flow: Flow, mailgun: Mailgun) -> None:
    """Read the list once; lift the incident where that succeeds. Raises `redis.RedisError`."""
    if list_exists(mailgun.read_list()):
        flow.lift()
        logger.warning("the incident is over: the list can be read again; dead letters can be replayed")
