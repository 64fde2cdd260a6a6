"""The status of an integration for operators, read from Redis. Reading changes nothing."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from worker.delivery.bulk_trust import BulkState, read_state
from worker.delivery.outcome_stats import OutcomeStats
from worker.delivery.worker_registry import WorkerEntry, WorkerRegistry
from worker.gate.holds import HoldState
from worker.members.opt_outs import OptOutStatus, opt_out_status
from worker.members.sync_progress import SyncStatus, sync_status
from worker.monitoring.redis_memory import memory_share
from worker.queue.dead_letter import UNKNOWN
from worker.queue.dead_letter_reasons import DeadLetterReason
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
    """One integration at one moment.

    Times are epoch seconds by Redis's clock, ages are seconds. A message carries one event or many.

    Attributes:
        integration: The integration's name.
        at: When the status was read.
        queued: Messages on the queue.
        oldest_age: Age of the event at the queue's front; None if it does not say.
        in_flight: Messages that workers have in hand.
        delayed: Messages in the delay queue.
        next_due: When the first delayed message is due; None if there is none.
        hold: The state of the gate.
        dead_letters: Reason -> number of dead letters.
        last_minute: Outcome -> number of events in the minute before `at`.
        workers: The live workers.
        opt_outs: The state of the opt-out scans; None with MAILGUN_MEMBER_STATE=read.
        sync: The state of the syncs; None with MAILGUN_MEMBER_STATE=read.
        bulk: What samples of bulk calls have shown; None if MAILGUN_BATCH_SIZE is 1.
        not_understood: What was not understood -> number of events, since the first worker.
        memory: Used share of Redis's maxmemory; None if it has no limit or INFO is not allowed.
        letters_share: Used share of DEAD_LETTERS_MAX; None if there is no such limit.
    """

    integration: str
    at: float
    queued: int
    oldest_age: float | None
    in_flight: int
    delayed: int
    next_due: float | None
    hold: HoldState
    dead_letters: dict[str, int]
    last_minute: dict[str, int]
    workers: list[WorkerEntry]
    opt_outs: OptOutStatus | None
    sync: SyncStatus | None = None
    bulk: BulkState | None = None
    not_understood: dict[str, int] = field(default_factory=dict)
    memory: float | None = None
    letters_share: float | None = None


def read_status(settings: Settings, store: "redis.Redis") -> Status:
    """Return the integration's status now.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    name, queue = settings.signal_integration, settings.queue
    delay_queue, stats = DelayQueue(store, name, queue), OutcomeStats(store, name)
    letters = DeadLetterQueue(store, name, queue).totals()
    now, opt_outs = redis_now(store), opt_outs_read(settings, store)
    return Status(
        integration=name,
        at=now,
        queued=queued_messages(settings, store),
        oldest_age=oldest_age(store, queue, now),
        in_flight=store.hlen(Keys(name).in_flight),
        delayed=delay_queue.count(),
        next_due=delay_queue.next_due(),
        hold=gate_for(settings, store).state(),
        dead_letters=letters,
        last_minute=stats.last_minute(now),
        workers=WorkerRegistry(store, name).alive(),
        opt_outs=opt_outs,
        sync=sync_status(store, name, days=settings.ledger_days, trusted=opt_outs.trusted)
        if opt_outs
        else None,
        bulk=read_state(store, name) if settings.mailgun_batch_size > 1 else None,
        not_understood=stats.not_understood(),
        memory=memory_share(store),
        letters_share=letters_share(settings, sum(letters.values())),
    )


def queued_messages(settings: Settings, store: "redis.Redis") -> int:
    """Return how many messages wait on the queue and on the lists of messages with a priority."""
    beside = PriorityLists(store, settings.signal_integration, settings.queue).counts()
    return store.llen(settings.queue) + sum(beside.values())


def by_known_reason(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the number of dead letters for each reason of this program's, 0 too.

    Another program may have written anything as a reason, an address too: it counts as unknown.
    """
    known = {str(reason): counts.get(reason, 0) for reason in DeadLetterReason}
    return {**known, UNKNOWN: sum(counts.values()) - sum(known.values())}


def letters_share(settings: Settings, letters: int) -> float | None:
    """Return the share of DEAD_LETTERS_MAX that `letters` make up; None if there is no limit."""
    return letters / settings.dead_letters_max if settings.dead_letters_max else None


def opt_outs_read(settings: Settings, store: "redis.Redis") -> OptOutStatus | None:
    """Return the state of the opt-out scans; None if MAILGUN_MEMBER_STATE is not `ledger`.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    if settings.mailgun_member_state != "ledger":
        return None
    return opt_out_status(
        store, settings.signal_integration, settings.mailgun_opt_out_refresh_seconds
    )


def oldest_age(store: "redis.Redis", queue: str, now: float) -> float | None:
    """Return the age of the event at the queue's front, at `now` by Redis's clock.

    Returns:
        Seconds since it was enqueued; None if the queue is empty or the event does not say.
    """
    raw = cast("str | None", store.lindex(queue, -1))
    try:
        enqueued_at = json.loads(raw)["headers"]["signal"]["enqueued_at"] if raw else None
        age = max(0.0, now - float(enqueued_at)) if enqueued_at is not None else None
        return age if age is not None and math.isfinite(age) else None
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
        return None
