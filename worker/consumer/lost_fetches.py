"""Fetches whose reply was lost: Redis has their messages as this worker's, which never got them.

Housekeeping looks for such messages and puts them back on the queue.
"""

from functools import lru_cache
from threading import Lock
from time import monotonic
from uuid import uuid4

# Longer than a reply may be overdue before kombu drops its connection (`NOTICE_SECONDS`).
LOST_AFTER_SECONDS = 10.0
# Redis may still run a script that it got over a connection that was lost.
LOOKED_FOR_SECONDS = 30.0


class LostFetches:
    """The fetches of this process that have no reply yet. Safe to share between threads.

    A fetch is either answered or lost, never both. The messages of a lost fetch are put back, so
    its reply is ignored if it comes later.
    """

    def __init__(self) -> None:
        """Start without fetches."""
        self._begun: dict[str, float] = {}
        # When Redis was first asked for each; None: not yet.
        self._lost: dict[str, float | None] = {}
        self._lock = Lock()

    def begin(self) -> str:
        """Return the mark of a new fetch, which is part of its delivery tags.

        A worker has one fetch at a time. Another one without a reply was begun over a connection
        that is lost, so it counts as lost, too.
        """
        for each in list(self._begun):
            self.lose(each)
        fetch = uuid4().hex
        with self._lock:
            self._begun[fetch] = monotonic()
        return fetch

    def answer(self, fetch: str) -> bool:
        """Note that the reply has come.

        Returns:
            False if the fetch counts as lost, so the worker must not handle its messages.
        """
        with self._lock:
            return self._begun.pop(fetch, None) is not None

    def lose(self, fetch: str) -> None:
        """Note that the reply of this fetch is lost."""
        with self._lock:
            if self._begun.pop(fetch, None) is not None:
                self._lost[fetch] = None

    def lost(self) -> list[str]:
        """Return the fetches whose messages housekeeping has to look for now."""
        now = monotonic()
        for fetch in [
            each for each, begun in list(self._begun.items()) if now - begun > LOST_AFTER_SECONDS
        ]:
            self.lose(fetch)
        with self._lock:
            return list(self._lost)

    def looked_for(self, lost_fetches: list[str]) -> None:
        """Note that Redis was asked for the messages of these fetches.

        `lost` keeps returning each for `LOOKED_FOR_SECONDS`, in case Redis runs its script late.
        """
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
    """Return the unanswered fetches of this process."""
    return LostFetches()
