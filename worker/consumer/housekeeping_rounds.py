"""Rounds of housekeeping: a worker runs the steps in order, and only one round at a time."""

import logging
from collections.abc import Callable, Sequence
from threading import Lock

import redis

from worker.privacy import whereabouts

logger = logging.getLogger("signal_mailgun.worker")


class Rounds:
    """Rounds of steps, one at a time. Safe to share between threads."""

    def __init__(self) -> None:
        """Start with no round under way."""
        self._lock = Lock()

    def run(self, steps: Sequence[Callable[[], object]], wait: float = 0.0) -> bool:
        """Run each step once, in this order; log what fails.

        If Redis does not answer, the rest of the round is left out.

        Args:
            steps: The steps of the round.
            wait: Seconds to wait for a round of another thread. A thread that was told to end may
                still wait for Redis when the next thread begins.

        Returns:
            True if the round was run, False if another thread's round had not ended.
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
            return  # each further step would wait for Redis as long
        except Exception as error:  # noqa: BLE001  the next round tries again
            logger.error("housekeeping failed", extra={"error": whereabouts(error)})
