"""Pool of greenlets, for the members of a batch that are requested one by one."""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from worker.greenlets import Call, Latch, hub

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Pool:
    """Greenlets for calls that go on at the same time: at most so many, whoever asks for them."""

    def __init__(self, most: int) -> None:
        """Let at most `most` calls go on at the same time."""
        self._free = most
        self._waiting: deque[Call[Any]] = deque()

    def map(self, act: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """Return what `act` returns for each item, in their order.

        Raises:
            Exception: What `act` raises for the first of the items for which it does, after all
                calls have ended.
        """
        calls = [Call(partial(act, item)) for item in items]
        if not calls:
            return []
        ended, left = Latch(), len(calls)

        def note_end() -> None:
            nonlocal left
            self._free += 1
            self._begin_some()
            left -= 1
            if not left:
                ended.set()

        for each in calls:
            each.note_end = note_end
        hub().spawn(partial(self._add, calls))
        ended.wait()
        return [each.result() for each in calls]

    # What runs in the hub, so that no two change the numbers at once.

    def _add(self, calls: "list[Call[Any]]") -> None:
        self._waiting.extend(calls)
        self._begin_some()

    def _begin_some(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            hub().spawn(self._waiting.popleft().run)
