"""Worker registry: the live workers and their state, and how the latest tries of events ended.

It informs operators; no delivery depends on it. `Keys.workers` holds when each worker last ran its
housekeeping, `Keys.worker` a `WorkerEntry` as JSON. All times are epoch seconds by Redis's clock.

`Keys.ended` lists the latest 100,000 tries, the newest first, and no personal data. A line is

    <epoch> <outcome>;<HTTP status>;<requests>;<kind>;<fields>;<answer>|<id>

An event that was tried more than once is there for each of its tries. A bundle is there, too, once
its message has ended: its outcome is `BUNDLE` and a count of its events.
"""

import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from pydantic import TypeAdapter, ValidationError

from worker.redis_client.clock import redis_now
from worker.redis_client.keys import Keys

if TYPE_CHECKING:
    import redis

ALIVE_SECONDS = 10.0
FORGOTTEN_SECONDS = 60
REMEMBERED = 100_000
TEXT_LENGTH = 120  # characters of a kind or an answer
BUNDLE = "bundle: "

# consuming: it fetches events. cancelled: an operator told it by remote control to fetch no more.
# stopping: it finishes the events that it has in hand. unknown: a worker of an older version.
WorkerState = Literal["consuming", "cancelled", "stopping", "unknown"]


@dataclass(frozen=True)
class WorkerEntry:
    """A worker that ran its housekeeping lately.

    Attributes:
        name: host:pid.
        node: Celery's name of the worker, as Flower shows it.
        version: The version of signal-mailgun.
        started: When the worker was first stored, epoch seconds.
        state: What the worker does.
        since: When that state began, epoch seconds.
    """

    name: str
    node: str = ""
    version: str = ""
    started: float | None = None
    state: WorkerState = "unknown"
    since: float | None = None


class EndedTry(NamedTuple):
    """How one try of an event ended.

    Attributes:
        at: When it ended, epoch seconds.
        outcome: How, such as `delivered` or `retried`.
        status: Mailgun's HTTP status; None if there was none.
        requests: How many requests were sent for it.
        kind: The kind of the event, without personal data.
        fields: The names of the member's fields that the event sets.
        answer: Of an event that was not delivered: what was answered, as a text that may be shown.
    """

    at: float
    outcome: str
    status: int | None = None
    requests: int = 0
    kind: str = ""
    fields: tuple[str, ...] = ()
    answer: str = ""

    @property
    def is_bundle(self) -> bool:
        """Return True if this is the end of a bundle's message, and no try of an event."""
        return self.outcome.startswith(BUNDLE)


STORED = TypeAdapter(WorkerEntry)


class WorkerRegistry:
    """The registry of one integration. Safe to share between threads.

    Results of events that were noted and not stored yet are lost with the process.
    """

    def __init__(self, redis: "redis.Redis", integration: str) -> None:
        """Use the registry of `integration` in `redis`."""
        self._redis = redis
        keys = Keys(integration)
        self._workers = keys.workers
        self._worker = keys.worker
        self._ended = keys.ended
        self._pending: deque[tuple[EndedTry, str]] = deque(maxlen=REMEMBERED)
        # "started" and the latest state -> when it was first stored.
        self._began: dict[str, float] = {}

    def note(self, id: str, outcome: str, *further: Any) -> None:
        """Note that a try of the event ended now; `store` stores it.

        Args:
            id: The id of the event.
            outcome: How the try ended.
            further: The further values of `EndedTry`, in their order.
        """
        self._pending.append((EndedTry(time.monotonic(), outcome, *further), id))

    def store(self, worker: str, state: WorkerState, *, node: str = "", version: str = "") -> None:
        """Store that a worker is alive, and the results noted since the last call.

        Args:
            worker: The worker, as host:pid.
            state: What it does.
            node: Celery's name of it.
            version: The version of signal-mailgun.

        Raises:
            redis.RedisError: Redis did not answer. The noted results are lost.
        """
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
                    *(_line(each, clock + each.at, event) for each, event in noted),
                )
                pipe.ltrim(self._ended, 0, REMEMBERED - 1)
            pipe.execute()

    def leave(self, worker: str) -> None:
        """Remove a worker that has ended.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        self._redis.zrem(self._workers, worker)
        self._redis.delete(self._worker(worker))

    def alive(self) -> list[WorkerEntry]:
        """Return the workers that ran their housekeeping within ALIVE_SECONDS.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        since = redis_now(self._redis) - ALIVE_SECONDS
        names = cast("list[str]", self._redis.zrangebyscore(self._workers, since, "+inf"))
        with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.get(self._worker(name))
            texts = pipe.execute()
        return [_entry(name, text) for name, text in zip(names, texts, strict=True)]

    def tries(self, id: str) -> list[EndedTry]:
        """Return how the tries of the event ended that are still listed, the oldest first."""
        lines = cast("list[str]", self._redis.lrange(self._ended, 0, -1))
        # An id may contain a bar, an outcome contains none.
        entries = (line.partition("|") for line in reversed(lines))
        return [_ended_try(entry) for entry, _, found in entries if found == id]

    def latest(self, most: int) -> list[str]:
        """Return the lines of the latest tries, the newest first, at most `most`."""
        return cast("list[str]", self._redis.lrange(self._ended, 0, most - 1))

    def _since(self, what: str, now: float) -> float:
        if what != "started" and what not in self._began:
            self._began = {name: at for name, at in self._began.items() if name == "started"}
        return self._began.setdefault(what, now)


def parsed_try(line: str) -> tuple[str, EndedTry]:
    """Return the event's id and the try of a line of `Keys.ended`."""
    entry, _, event = line.partition("|")
    return event, _ended_try(entry)


def newer_than(seen: Sequence[str], lines: Sequence[str]) -> Sequence[str]:
    """Return those of `lines` that were added in front since `seen` was read, the newest first.

    Both are the newest lines of one list. If none of `seen` is left among `lines`, all are new.
    """
    for added in range(max(0, len(lines) - len(seen)), len(lines) + 1):
        left = min(len(seen), len(lines) - added)
        if list(lines[added : added + left]) == list(seen[:left]):
            return lines[:added]
    return lines


def _line(ended: EndedTry, at: float, id: str) -> str:
    numbers = f"{at:.0f} {ended.outcome};{ended.status or ''};{ended.requests}"
    return f"{numbers};{_event_texts(ended.kind, ended.fields)};{_plain(ended.answer)}|{id}"


@lru_cache(maxsize=1000)
def _event_texts(kind: str, fields: tuple[str, ...]) -> str:
    """Return kind and fields as a line has them."""
    return f"{_plain(kind)};{_plain(' '.join(fields))}"


def _plain(text: str) -> str:
    """Return the text without the signs that part a line."""
    return text.replace(";", ",").replace("|", "/")


def _ended_try(entry: str) -> EndedTry:
    """Return the try of one line, of which older versions left out what is behind the outcome."""
    at, _, rest = entry.partition(" ")
    outcome, status, requests, kind, fields, answer, *_ = (*rest.split(";"), *[""] * 5)
    return EndedTry(
        float(at),
        outcome,
        int(status or 0) or None,
        int(requests or 0),
        kind,
        tuple(fields.split()),
        answer,
    )


def _entry(name: str, text: str | None) -> WorkerEntry:
    try:
        return replace(STORED.validate_json(text or ""), name=name)
    except ValidationError:
        return WorkerEntry(name)
