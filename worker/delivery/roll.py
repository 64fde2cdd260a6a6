"""Which workers are alive, and how the latest events ended: what operators ask for and nothing depends on.

signal:<integration>:workers   sorted set   host:pid -> when it last kept house, epoch seconds; dropped after a minute
signal:<integration>:ended     list         "<epoch> <outcome>|<id>" of the latest events, newest first; 100,000 of them
"""

import time
from collections import deque
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import redis

ALIVE_SECONDS = 10.0
REMEMBERED = 100_000


class Roll:
    """The roll of one integration. Safe to share between threads."""

    def __init__(self, redis: "redis.Redis", integration: str) -> None:
        """What was noted and is not stored yet is lost with the process."""
        self._redis = redis
        self._workers = f"signal:{integration}:workers"
        self._ended = f"signal:{integration}:ended"
        self._pending: deque[str] = deque(maxlen=REMEMBERED)

    def note(self, id: str, outcome: str) -> None:
        """The event ended so, now."""
        self._pending.append(f"{time.time():.0f} {outcome}|{id}")

    def store(self, worker: str) -> None:
        """This worker is alive; store what was noted since. Raises `redis.RedisError`."""
        noted = [self._pending.popleft() for _ in range(len(self._pending))]
        now = time.time()
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(self._workers, {worker: now})
            pipe.zremrangebyscore(self._workers, "-inf", now - 60)
            if noted:
                pipe.lpush(self._ended, *noted)
                pipe.ltrim(self._ended, 0, REMEMBERED - 1)
            pipe.execute()

    def alive(self) -> list[str]:
        """The workers that kept house lately."""
        return cast("list[str]", self._redis.zrangebyscore(self._workers, time.time() - ALIVE_SECONDS, "+inf"))

    def ended(self, id: str) -> tuple[float, str] | None:
        """When and how the event last ended, if it is among those remembered."""
        lines = cast("list[str]", self._redis.lrange(self._ended, 0, -1))
        entries = (line.partition("|") for line in lines)  # an id may hold anything, an outcome no bar
        at, _, outcome = next((entry for entry, _, found in entries if found == id), "").partition(" ")
        return (float(at), outcome) if at else None
