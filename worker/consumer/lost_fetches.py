"""Takings whose reply was lost: what they took is noted in Redis as this worker's, and is not in its hand."""

from functools import lru_cache
from threading import Lock
from time import monotonic
from uuid import uuid4

LOST_AFTER_SECONDS = 10.0  # longer than a reply may be overdue before its connection counts as lost
LOOKED_FOR_SECONDS = 30.0  # Redis may yet carry out what it was told over a connection that is lost


class LostFetches:
    """The takings of this process that have not been answered. Safe to share between threads.

    A taking is either answered or lost, never both: what is lost is put back, so an answer that comes after all is of no use.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._begun: dict[str, float] = {}
        self._lost: dict[str, float | None] = {}  # when each was first looked for
        self._lock = Lock()

    def begin(self) -> str:
        """Return the mark of a new taking, which is part of its delivery tags.

        A worker has one at a time: any other was begun over a connection that is lost.
        """
        for each in list(self._begun):
            self.lose(each)
        taking = uuid4().hex
        with self._lock:
            self._begun[taking] = monotonic()
        return taking

    def answer(self, taking: str) -> bool:
        """Note that the reply has come. Return False if the taking counts as lost."""
        with self._lock:
            return self._begun.pop(taking, None) is not None

    def lose(self, taking: str) -> None:
        """Note that no reply will come."""
        with self._lock:
            if self._begun.pop(taking, None) is not None:
                self._lost[taking] = None

    def lost(self) -> list[str]:
        """Return the takings that are to be looked for now."""
        now = monotonic()
        for taking in [
            each for each, begun in list(self._begun.items()) if now - begun > LOST_AFTER_SECONDS
        ]:
            self.lose(taking)
        with self._lock:
            return list(self._lost)

    def looked_for(self, lost_fetches: list[str]) -> None:
        """Note that Redis was asked for these. Each is looked for again for some time, in case Redis comes to it late."""
        now = monotonic()
        with self._lock:
            self._lost |= {each: now for each in lost_fetches if self._lost.get(each, now) is None}
            self._lost = {
                each: at
                for each, at in self._lost.items()
                if at is None or now - at <= LOOKED_FOR_SECONDS
            }


@lru_cache(maxsize=1)
def lost_fetches() -> LostFetches:
    """Return those of this process."""
    return LostFetches()
