"""The Celery tasks: events to deliver, which a strategy of this program's own handles, and the replay of dead letters."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import redis
from celery import Task, shared_task
from celery.exceptions import Reject
from kombu.exceptions import OperationalError

from worker.delivery.processor import EventProcessor
from worker.queue.dead_letter_filter import DeadLetterFilter, parse_filter
from worker.queue.message import DELIVER_MANY, REPLAY_TASK, TASK
from worker.queue.replay_by_filter import replayed
from worker.wiring import utc_now

if TYPE_CHECKING:
    from worker.consumer.runtime import Runtime


class InvalidFilter(Exception):
    """The replay was asked for with filters that make no sense; nothing was replayed."""


class DeliveryTask(Task):
    """A task whose messages are handled many at once, each acknowledged when all of its events have ended."""

    Strategy = "worker.consumer.tasks:batch_strategy"


def batch_strategy(_task: Any, app: Any, consumer: Any, **_options: Any) -> Callable[..., None]:
    """Return what a worker does with each message of such a task (a Celery strategy)."""
    runtime: Runtime = app.runtime
    runtime.batch_consumer.bind(consumer)

    def take(message: Any, *_: Any, **__: Any) -> None:
        runtime.batch_consumer.add(message)

    return take


@shared_task(name=TASK, base=DeliveryTask, max_retries=None)
def deliver(*_: Any, **__: Any) -> None:
    """Bring one event to Mailgun. One positional argument: the event as sent; anything else is buried as malformed.

    A worker hands the message to `batch_strategy` and never calls this. Raises `NotImplementedError`.
    """
    raise NotImplementedError("events are delivered by a worker: put them on the queue")


@shared_task(name=DELIVER_MANY, base=DeliveryTask, max_retries=None)
def deliver_many(*_: Any, **__: Any) -> None:
    """Bring many events to Mailgun, each as `deliver` does. One positional argument: the list of them."""
    deliver()


@shared_task(name=REPLAY_TASK, bind=True, throws=(InvalidFilter,), max_retries=None)
def replay(task: Any, *args: Any, limit: int | None = None, **filters: Any) -> str:
    """Replay dead letters by filter, from Flower or any Celery client; filters as `dead-letters replay` takes them.

    At most 2,000 at a time, then the rest in a task of its own, so that live events are not kept waiting. What dies again
    after the start is not meant.
    """
    now = utc_now()
    processor: EventProcessor = task.app.runtime.processor
    gate = processor.delivery.gate
    try:
        gate.release(gate.rules.event_cost)
        filters = (
            filters if filters.get("until") is not None else {**filters, "until": now.isoformat()}
        )
        wanted = _wanted(processor, args, limit, filters, now)
        done = replayed(processor.dead_letters, wanted, limit, now.timestamp())
        rest = done.rest(limit)
        if rest is not None:
            task.apply_async(kwargs={**filters, **rest})
    except (redis.RedisError, OperationalError):
        raise Reject(requeue=True) from None
    return f"{done.moved} replayed"


def _wanted(
    processor: EventProcessor,
    args: tuple[Any, ...],
    limit: int | None,
    filters: dict[str, Any],
    now: datetime,
) -> DeadLetterFilter:
    if args or not (
        limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit > 0)
    ):
        raise InvalidFilter(
            "signal.replay takes keyword arguments only; limit is a whole number above 0"
        )
    try:
        return parse_filter(now, filters, processor.preset, processor.dead_letters.cached_counts)
    except ValueError as error:
        raise InvalidFilter(str(error)) from None
