"""Retries of idempotent steps: if a reply is lost, the step may have run or not."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import redis

Answer = TypeVar("Answer")

# Errors that may pass. Redis refuses a command permanently for any other reason.
PASSING = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,
    redis.OutOfMemoryError,
    redis.exceptions.NoPermissionError,
)


class Repeats:
    """A list of steps that are harmless to repeat, each kept until Redis has answered it.

    Safe to share between threads.
    """

    def __init__(self) -> None:
        """Begin with nothing to repeat."""
        self._left: deque[Callable[[], object]] = deque()

    def attempt(
        self, act: Callable[[], Answer], otherwise: Callable[[], object] | None = None
    ) -> Answer:
        """Call `act` and return what it returns.

        If Redis does not answer, `otherwise`, or else `act`, is kept for `run`.

        Raises:
            redis.RedisError: Redis did not answer, or refused. The step is kept if the error may
                pass.
        """
        try:
            return act()
        except PASSING:
            self._left.append(otherwise or act)
            raise

    def run(self) -> None:
        """Repeat the steps that were kept.

        Raises:
            redis.RedisError: Redis did not answer, or refused. The remaining steps are kept.
        """
        for _ in range(len(self._left)):
            with suppress(IndexError):  # another thread has done it
                self.attempt(self._left.popleft())
