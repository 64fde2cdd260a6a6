"""Rounds of a worker's housekeeping: its steps one after the other, and never two rounds at the same time."""

import logging
from collections.abc import Callable, Sequence
from threading import Lock

import redis

from worker.privacy import whereabouts

logger = logging.getLogger("signal_mailgun.worker")


class Rounds:
    """Rounds of steps, one at a time. Safe to share between threads."""

    def __init__(self) -> None:
        """Begin with no round under way."""
        self._lock = Lock()

    def run(self, steps: Sequence[Callable[[], object]], wait: float = 0.0) -> bool:
        """Go through the steps once, in this order; what fails is logged and tried in the next round.

        Returns False, and does nothing, if another thread is still at it after `wait` seconds: a thread that was told to end
        may hang in a request to Redis while the next one has begun.
        """
        if not self._lock.acquire(timeout=wait):
            return False
        try:
            _go_through(steps)
        finally:
            self._lock.release()
        return True


def _go_through(steps: Sequence[Callable[[], object]]) -> None:
    for step in steps:
        try:
            step()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            logger.debug("Redis does not answer", extra={"error": type(error).__name__})
            return  # each further step would wait as long
        except Exception as error:  # noqa: BLE001  the next round may go well
            logger.error("housekeeping failed", extra={"error": whereabouts(error)})
