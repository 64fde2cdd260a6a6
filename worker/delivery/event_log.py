"""Log of events: a line for each try, without personal data; done events of a batch share one."""

import logging
from collections import Counter
from typing import Any

from worker.delivery.event_delivery import EventDelivery
from worker.delivery.retry_policy import AGAIN, Bury, Done, Retry, Snooze
from worker.privacy import digest, redacted

logger = logging.getLogger("signal_mailgun.delivery")

# By who is at fault: an expected retry is no error.
LEVELS = {Done: logging.INFO, Retry: logging.INFO, Snooze: logging.INFO, Bury: logging.WARNING}


def log_event(event: EventDelivery, digest_key: bytes, *, alone: bool) -> None:
    """Log how the try of an event ended.

    Args:
        event: The event, whose decision was carried out.
        digest_key: The key of the digest that stands for its member.
        alone: The event is no part of a batch. Done events of a batch are logged at DEBUG only.
    """
    is_shared = not alone and isinstance(event.decision, Done)
    level = logging.DEBUG if is_shared else LEVELS[type(event.ending)]
    if logger.isEnabledFor(level):
        logger.log(level, event.outcome_label, extra=_fields(event, digest_key))


def log_batch(labels: Counter[str]) -> None:
    """Log how many events of a batch had each outcome."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%d events handled", labels.total(), extra=dict(labels))


def _fields(event: EventDelivery, digest_key: bytes) -> dict[str, Any]:
    message, decision, outcome = event.message, event.decision, event.outcome
    return {
        "event": message.id,
        "kind": redacted(message.kind),
        "member": digest(event.patch.address, digest_key) if event.patch else None,
        "outcome": outcome.kind if outcome else None,
        "status": outcome.status if outcome else None,
        "attempt": message.attempts + 1 if outcome else None,
        "delay_seconds": round(decision.delay, 1)
        if isinstance(decision, AGAIN) and not event.is_locked
        else None,
        "not_understood": ", ".join(event.not_understood) or None,
    }
