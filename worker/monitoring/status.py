"""How an integration stands: one picture for operators, read from Redis and changing nothing."""

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from worker.delivery.outcome_stats import OutcomeStats
from worker.delivery.worker_registry import WorkerEntry, WorkerRegistry
from worker.gate.gate import HoldState
from worker.members.opt_outs import OptOutStatus, last_read
from worker.monitoring.redis_memory import memory_share
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.priority_lists import PriorityLists
from worker.redis_client.clock import redis_now
from worker.redis_client.keys import Keys
from worker.settings import Settings
from worker.wiring import gate_for

if TYPE_CHECKING:
    import redis


@dataclass(frozen=True)
class Status:
    """One integration at one moment. Times are epoch seconds by Redis's clock, ages seconds."""

    integration: str
    at: float
    queued: int  # messages, each of one event or many; so are those in flight and delayed
    oldest_age: (
        float | None
    )  # of the event at the queue's front, where it says when it was enqueued
    in_flight: int
    delayed: int
    next_due: float | None
    hold: HoldState
    dead_letters: dict[str, int]  # reason -> count
    last_minute: dict[str, int]  # outcome -> events in the last whole minute
    workers: list[WorkerEntry]
    opt_outs: OptOutStatus | None  # None: MAILGUN_MEMBER_STATE=read
    # What of events was there and not understood -> events, since the first worker.
    not_understood: dict[str, int] = field(default_factory=dict)
    # Share of Redis's maxmemory that is used; None: no limit, or it may not be asked.
    memory: float | None = None
    # Share of DEAD_LETTERS_MAX that is used; None: there is none.
    letters_share: float | None = None


def read_status(settings: Settings, store: "redis.Redis") -> Status:
    """How the integration stands now. Raises `redis.RedisError`."""
    where = settings.signal_integration, settings.queue
    delay_queue, letters = DelayQueue(store, *where), DeadLetterQueue(store, *where).totals()
    now = redis_now(store)
    return Status(
        integration=settings.signal_integration,
        at=now,
        queued=queued_messages(settings, store),
        oldest_age=oldest_age(store, settings.queue, now),
        in_flight=store.hlen(Keys(settings.signal_integration).in_flight),
        delayed=delay_queue.count(),
        next_due=delay_queue.next_due(),
        hold=gate_for(settings, store).state(),
        dead_letters=letters,
        last_minute=OutcomeStats(store, settings.signal_integration).minute(int(now // 60) - 1),
        workers=WorkerRegistry(store, settings.signal_integration).alive(),
        opt_outs=opt_outs_read(settings, store),
        not_understood=OutcomeStats(store, settings.signal_integration).not_understood(),
        memory=memory_share(store),
        letters_share=letters_share(settings, sum(letters.values())),
    )


def queued_messages(settings: Settings, store: "redis.Redis") -> int:
    """How many messages wait, those included that were sent with a priority and are not on the queue itself yet."""
    beside = PriorityLists(store, settings.signal_integration, settings.queue).counts()
    return store.llen(settings.queue) + sum(beside.values())


def letters_share(settings: Settings, letters: int) -> float | None:
    """Return the share of DEAD_LETTERS_MAX that so many dead letters are; None where there is no such bound."""
    return letters / settings.dead_letters_max if settings.dead_letters_max else None


def opt_outs_read(settings: Settings, store: "redis.Redis") -> OptOutStatus | None:
    """What is known of the readings of those who unsubscribed, where they matter. Raises `redis.RedisError`."""
    if settings.mailgun_member_state != "ledger":
        return None
    return last_read(store, settings.signal_integration, settings.mailgun_opt_out_refresh_seconds)


def oldest_age(store: "redis.Redis", queue: str, now: float) -> float | None:
    """Seconds since the event at the front of the queue was enqueued; None for an empty queue, or one that does not say."""
    raw = cast("str | None", store.lindex(queue, -1))
    try:
        enqueued_at = json.loads(raw)["headers"]["signal"]["enqueued_at"] if raw else None
        age = max(0.0, now - float(enqueued_at)) if enqueued_at is not None else None
        return age if age is not None and math.isfinite(age) else None
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
        return None
