"""What is to be done again because Redis did not answer: a lost reply may stand for something done, or for nothing."""

from collections import deque
from collections.abc import Callable
from typing import TypeVar

import redis

Answer = TypeVar("Answer")


class Repeats:
    """Steps that are harmless to repeat, kept until Redis has answered each. Safe to share between threads."""

    def __init__(self) -> None:
        """Begin with nothing to repeat."""
        self._left: deque[Callable[[], object]] = deque()

    def attempt(self, act: Callable[[], Answer], otherwise: Callable[[], object] | None = None) -> Answer:
        """Return what `act` returns. If Redis does not answer, keep `otherwise`, or `act`, and raise `redis.RedisError`."""
        try:
            return act()
        except redis.RedisError:
            self._left.append(otherwise or act)
            raise

    def run(self) -> None:
        """Do again what is left. Raises `redis.RedisError`, and keeps the rest for the next time, if Redis does not answer."""
        for _ in range(len(self._left)):
            self.attempt(self._left.popleft())
