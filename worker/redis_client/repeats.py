"""What is to be done again because Redis did not answer: a lost reply may stand for something done, or for nothing."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import redis

Answer = TypeVar("Answer")

# What Redis refuses for another reason, it refuses for ever.
PASSING = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,
    redis.OutOfMemoryError,
    redis.exceptions.NoPermissionError,
)


class Repeats:
    """Steps that are harmless to repeat, kept until Redis has answered each. Safe to share between threads."""

    def __init__(self) -> None:
        """Begin with nothing to repeat."""
        self._left: deque[Callable[[], object]] = deque()

    def attempt(
        self, act: Callable[[], Answer], otherwise: Callable[[], object] | None = None
    ) -> Answer:
        """Return what `act` returns. Raises `redis.RedisError`; if that may pass, `otherwise`, or `act`, is kept."""
        try:
            return act()
        except PASSING:
            self._left.append(otherwise or act)
            raise

    def run(self) -> None:
        """Do again what is left. Raises `redis.RedisError`, and keeps the rest for the next time, if Redis does not answer."""
        for _ in range(len(self._left)):
            with suppress(IndexError):  # another thread has done it
                self.attempt(self._left.popleft())
