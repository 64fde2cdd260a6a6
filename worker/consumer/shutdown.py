"""Shutdown of a worker that is told to stop while Redis is away; Celery would wait for ever.

Redis has all messages in hand as unacknowledged, so the process may end at any moment without
losing an event: another worker delivers them after the visibility timeout.
"""

import logging
import os
import time
from collections.abc import Callable
from threading import Thread

logger = logging.getLogger("signal_mailgun.worker")

LOOK_SECONDS = 0.5
# The time that Celery gets to end by itself once nothing is in hand. While Redis answers, it takes
# one or two seconds.
IDLE_SECONDS = 10.0


def end_soon(has_ended: Callable[[], bool], longest_delivery_seconds: float) -> None:
    """Make sure that this process, which was told to stop, ends.

    It ends `IDLE_SECONDS` after nothing is in hand any more, at the latest `IDLE_SECONDS` after the
    longest delivery. Celery mostly ends it before.

    Args:
        has_ended: Returns True if all that this worker had in hand has ended; called from a thread
            of its own.
        longest_delivery_seconds: The longest time that a delivery takes. What is in hand after it
            is left to other workers.
    """
    Thread(
        target=_end, args=(has_ended, longest_delivery_seconds), name="shutdown", daemon=True
    ).start()


def _end(has_ended: Callable[[], bool], longest_delivery_seconds: float) -> None:
    latest = time.monotonic() + longest_delivery_seconds + IDLE_SECONDS
    idle_from = None
    while (now := time.monotonic()) < latest and (
        idle_from is None or now < idle_from + IDLE_SECONDS
    ):
        time.sleep(LOOK_SECONDS)
        if not has_ended():
            idle_from = None
        elif idle_from is None:
            idle_from = time.monotonic()
    logger.warning(
        "Redis does not answer: this worker ends without it; "
        "what it had in hand comes back to the queue"
    )
    logging.shutdown()
    os._exit(0)  # else Celery's main thread would wait for Redis for ever
