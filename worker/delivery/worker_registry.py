"""Which workers are alive and what they do, and how the latest events ended: what operators ask for and nothing depends on.

    signal:<integration>:workers              sorted set   host:pid -> when it last kept house; dropped after a minute
    signal:<integration>:worker:<host:pid>    string       what it is and does, as JSON (`WorkerEntry`); lives a minute
    signal:<integration>:ended                list         "<epoch> <outcome>|<id>" of the latest events, newest first;
                                                           100,000 of them

All moments are epoch seconds by Redis's clock.
"""

import json
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from pydantic import TypeAdapter, ValidationError

from worker.redis_client.clock import redis_now
from worker.redis_client.keys import Keys

if TYPE_CHECKING:
    import redis

ALIVE_SECONDS = 10.0
FORGOTTEN_SECONDS = 60
REMEMBERED = 100_000

# consuming: it takes events. cancelled: an operator told it by remote control to take no more. stopping: it ends what it
# has in hand. unknown: a worker of an older version.
WorkerState = Literal["consuming", "cancelled", "stopping", "unknown"]


@dataclass(frozen=True)
class WorkerEntry:
    """A worker that kept house lately."""

    name: str  # host:pid
    # Celery's name of it, as Flower shows it.
    node: str = ""
    version: str = ""
    started: float | None = None
    state: WorkerState = "unknown"
    # When that state began.
    since: float | None = None


STORED = TypeAdapter(WorkerEntry)


class WorkerRegistry:
    """The roll of one integration. Safe to share between threads."""

    def __init__(self, redis: "redis.Redis", integration: str) -> None:
        """What was noted and is not stored yet is lost with the process."""
        self._redis = redis
        keys = Keys(integration)
        self._workers = keys.workers
        self._worker = keys.worker
        self._ended = keys.ended
        self._pending: deque[tuple[float, str, str]] = deque(maxlen=REMEMBERED)
        self._began: dict[
            str, float
        ] = {}  # "started" and the latest state -> when that was first stored

    def note(self, id: str, outcome: str) -> None:
        """The event ended so, now."""
        self._pending.append((time.monotonic(), outcome, id))

    def store(self, worker: str, state: WorkerState, *, node: str = "", version: str = "") -> None:
        """This worker is alive and in that state; store what was noted since. Raises `redis.RedisError`."""
        now = redis_now(self._redis)
        entry = WorkerEntry(
            worker, node, version, self._since("started", now), state, self._since(state, now)
        )
        noted = [self._pending.popleft() for _ in range(len(self._pending))]
        clock = now - time.monotonic()
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(self._workers, {worker: now})
            pipe.zremrangebyscore(self._workers, "-inf", now - FORGOTTEN_SECONDS)
            pipe.set(self._worker(worker), json.dumps(asdict(entry)), ex=FORGOTTEN_SECONDS)
            if noted:
                pipe.lpush(
                    self._ended,
                    *(f"{clock + at:.0f} {outcome}|{event}" for at, outcome, event in noted),
                )
                pipe.ltrim(self._ended, 0, REMEMBERED - 1)
            pipe.execute()

    def leave(self, worker: str) -> None:
        """Take this worker off the roll: it has ended. Raises `redis.RedisError`."""
        self._redis.zrem(self._workers, worker)
        self._redis.delete(self._worker(worker))

    def alive(self) -> list[WorkerEntry]:
        """Return the workers that kept house lately. Raises `redis.RedisError`."""
        since = redis_now(self._redis) - ALIVE_SECONDS
        names = cast("list[str]", self._redis.zrangebyscore(self._workers, since, "+inf"))
        with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.get(self._worker(name))
            told = pipe.execute()
        return [_entry(name, text) for name, text in zip(names, told, strict=True)]

    def ended(self, id: str) -> tuple[float, str] | None:
        """When and how the event last ended, if it is among those remembered."""
        lines = cast("list[str]", self._redis.lrange(self._ended, 0, -1))
        entries = (
            line.partition("|") for line in lines
        )  # an id may hold anything, an outcome no bar
        at, _, outcome = next((entry for entry, _, found in entries if found == id), "").partition(
            " "
        )
        return (float(at), outcome) if at else None

    def _since(self, what: str, now: float) -> float:
        if what != "started" and what not in self._began:
            self._began = {name: at for name, at in self._began.items() if name == "started"}
        return self._began.setdefault(what, now)


def _entry(name: str, text: str | None) -> WorkerEntry:
    try:
        return replace(STORED.validate_json(text or ""), name=name)
    except ValidationError:
        return WorkerEntry(name)
