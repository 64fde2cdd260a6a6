"""Outcome statistics: the number of events by outcome, in total and in the last minute.

Each worker counts in memory and adds its counts to Redis once a second: to `Keys.totals`,
`Keys.slice` and `Keys.not_understood`. The counts are approximate. A killed worker loses the
counts of its last second, and an event that is delivered again is counted twice.
"""

from collections import Counter
from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING

from worker.redis_client.clock import redis_now
from worker.redis_client.counts import counts_in
from worker.redis_client.keys import Keys

if TYPE_CHECKING:
    import redis

SLICE_SECONDS = 5
SLICES = 60 // SLICE_SECONDS  # of a minute
SLICE_LIVES_SECONDS = 120


class OutcomeStats:
    """The counts of one integration. Safe to share between threads."""

    def __init__(self, redis: "redis.Redis", integration: str) -> None:
        """Use the counts of `integration` in `redis`."""
        self._redis = redis
        self._keys = Keys(integration)
        self._pending: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()
        self._lock = Lock()

    def count(self, outcome: str, events: int = 1) -> None:
        """Count `events` more with this outcome."""
        with self._lock:
            self._pending[outcome] += events

    def count_not_understood(self, whats: Iterable[str]) -> None:
        """Count one more event for each of `whats`, the parts of it that were not understood."""
        with self._lock:
            self._unread.update(whats)

    def store(self, now: float | None = None) -> None:
        """Add the counts since the last call to Redis.

        Args:
            now: The time at which they count, epoch seconds; None: Redis's clock.

        Raises:
            redis.RedisError: Redis did not answer. The counts are kept for the next call.
        """
        with self._lock:
            counted, self._pending = self._pending, Counter()
            unread, self._unread = self._unread, Counter()
        if not counted and not unread:
            return
        try:
            self._add(counted, unread, redis_now(self._redis) if now is None else now)
        except Exception:
            with self._lock:
                self._pending += counted
                self._unread += unread
            raise

    def totals(self) -> dict[str, int]:
        """Return the count of each outcome since the first worker."""
        return self._read(self._keys.totals)

    def not_understood(self) -> dict[str, int]:
        """Return the number of events since the first worker, by what was not understood."""
        return self._read(self._keys.not_understood)

    def last_minute(self, now: float) -> dict[str, int]:
        """Return the count of each outcome within the minute before `now`, in epoch seconds.

        It covers the slice that `now` is in and the twelve before it: 60 to 65 seconds.
        """
        current = _slice_at(now)
        with self._redis.pipeline(transaction=False) as pipe:
            for number in range(current - SLICES, current + 1):
                pipe.hgetall(self._keys.slice(number))
            found = pipe.execute()
        counts: Counter[str] = Counter()
        for each in found:
            counts.update(counts_in(each))
        return dict(counts)

    def _read(self, key: str) -> dict[str, int]:
        return counts_in(self._redis.hgetall(key))

    def _add(self, counted: Counter[str], unread: Counter[str], now: float) -> None:
        current = self._keys.slice(_slice_at(now))
        with self._redis.pipeline(transaction=True) as pipe:
            for outcome, count in counted.items():
                pipe.hincrby(self._keys.totals, outcome, count)
                pipe.hincrby(current, outcome, count)
            for what, count in unread.items():
                pipe.hincrby(self._keys.not_understood, what, count)
            pipe.expire(current, SLICE_LIVES_SECONDS)
            pipe.execute()


def _slice_at(now: float) -> int:
    return int(now // SLICE_SECONDS)
