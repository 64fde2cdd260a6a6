"""How many events ended how: counted in each worker's memory, added up in Redis once a second.

    signal:<integration>:totals            hash   outcome -> count since the first worker; lives as long as Redis
    signal:<integration>:minute:<epoch>    hash   outcome -> count within that minute by Redis's clock; lives two hours
    signal:<integration>:not_understood    hash   what of an event was there and not understood -> count; lives as long as Redis

A count is for people, not a promise: a killed worker takes its last second's counts along, a repeated event is counted twice.
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

MINUTE_LIVES_SECONDS = 7200


class OutcomeStats:
    """The counts of one integration. Safe to share between threads."""

    def __init__(self, redis: "redis.Redis", integration: str) -> None:
        """Counts that are not stored yet are none."""
        self._redis = redis
        self._keys = Keys(integration)
        self._pending: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()
        self._lock = Lock()

    def count(self, outcome: str) -> None:
        """One more event ended so."""
        with self._lock:
            self._pending[outcome] += 1

    def count_not_understood(self, whats: Iterable[str]) -> None:
        """Count one more event in which each of `whats` was there and not understood."""
        with self._lock:
            self._unread.update(whats)

    def store(self, now: float | None = None) -> None:
        """Add what was counted since to Redis. Raises `redis.RedisError` and keeps the counts when Redis is away."""
        with self._lock:
            counted, self._pending = self._pending, Counter()
            unread, self._unread = self._unread, Counter()
        if not counted and not unread:
            return
        try:
            self._add(counted, unread, int((redis_now(self._redis) if now is None else now) // 60))
        except Exception:
            with self._lock:
                self._pending += counted
                self._unread += unread
            raise

    def totals(self) -> dict[str, int]:
        """Every outcome's count since the first worker."""
        return self._read(self._keys.totals)

    def not_understood(self) -> dict[str, int]:
        """Return in how many events what was not understood, since the first worker."""
        return self._read(self._keys.not_understood)

    def minute(self, minute: int) -> dict[str, int]:
        """Every outcome's count within that minute, given as epoch seconds // 60."""
        return self._read(self._keys.minute(minute))

    def _read(self, key: str) -> dict[str, int]:
        return counts_in(self._redis.hgetall(key))

    def _add(self, counted: Counter[str], unread: Counter[str], minute: int) -> None:
        with self._redis.pipeline(transaction=True) as pipe:
            for outcome, count in counted.items():
                pipe.hincrby(self._keys.totals, outcome, count)
                pipe.hincrby(self._keys.minute(minute), outcome, count)
            for what, count in unread.items():
                pipe.hincrby(self._keys.not_understood, what, count)
            pipe.expire(self._keys.minute(minute), MINUTE_LIVES_SECONDS)
            pipe.execute()
