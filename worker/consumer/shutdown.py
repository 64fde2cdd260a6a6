"""The end of a worker that was told to stop while Redis is away: Celery alone would wait for Redis for ever.

What a worker has in hand is noted in Redis as unacknowledged, so the process may end at any moment without losing an event:
another worker delivers it after the visibility time-out.
"""

import logging
import os
import time
from collections.abc import Callable
from threading import Thread

logger = logging.getLogger("signal_mailgun.worker")

LOOK_SECONDS = 0.5
# How long Celery may take to end by itself once nothing is in hand; with Redis there it takes one or two.
IDLE_SECONDS = 10.0


def end_soon(has_ended: Callable[[], bool], longest_delivery_seconds: float) -> None:
    """Make sure that this process, told to stop, ends: soon after nothing is in hand, at the latest after a longest delivery.

    Args:
        has_ended: returns whether all that this worker had in hand has ended. Called from a thread of its own.
        longest_delivery_seconds: after which whatever is still in hand is left to other workers.
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
        "Redis does not answer: this worker ends without it; what it had in hand comes back to the queue"
    )
    logging.shutdown()
    os._exit(0)  # Celery's main thread waits for Redis, and would for ever
