"""Celery tasks: delivery of events, which the transport hands on, and replay of dead letters."""

import logging
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
from worker.queue.replay_by_filter import replay_matching
from worker.wiring import utc_now

if TYPE_CHECKING:
    from worker.consumer.runtime import Runtime

logger = logging.getLogger("signal_mailgun.worker")


class InvalidFilter(Exception):
    """The error of a replay whose arguments or filters are invalid; nothing was replayed."""


class DeliveryTask(Task):
    """A task whose messages the transport hands to the batch consumer."""

    Strategy = "worker.consumer.tasks:batch_strategy"


def batch_strategy(_task: Any, app: Any, consumer: Any, **_options: Any) -> Callable[..., None]:
    """Return the handler of a delivery task's messages that come from another queue.

    It is a Celery strategy, made each time the worker has connected.
    """
    runtime: Runtime = app.runtime
    runtime.batch_consumer.bind(consumer)
    return leave_alone


def leave_alone(message: Any, *_: Any, **__: Any) -> None:
    """Log the message, which stays unacknowledged: it comes back after its visibility timeout."""
    text = "a message came from another queue: it is left alone"
    logger.error(text, extra={"event": message.delivery_tag})


@shared_task(name=TASK, base=DeliveryTask, max_retries=None)
def deliver(*_: Any, **__: Any) -> None:
    """Deliver one event to Mailgun.

    Its only argument, a positional one, is the event as sent; with any other arguments it is buried
    as malformed. A worker's transport takes the message and never calls this function.

    Raises:
        NotImplementedError: It was called.
    """
    raise NotImplementedError("events are delivered by a worker: put them on the queue")


@shared_task(name=DELIVER_MANY, base=DeliveryTask, max_retries=None)
def deliver_many(*_: Any, **__: Any) -> None:
    """Deliver many events to Mailgun.

    Its only argument, a positional one, is the list of them. A worker never calls this function.
    """
    deliver()


@shared_task(name=REPLAY_TASK, bind=True, throws=(InvalidFilter,), max_retries=None)
def replay(task: Any, *args: Any, limit: int | None = None, **filters: Any) -> str:
    """Replay dead letters by filter, for Flower and any Celery client.

    One task replays at most 2,000 and sends another task for the rest, so that live events need not
    wait. Without `until`, only letters that died before the first task began are replayed, so an
    event that dies again is not replayed again.

    Args:
        task: The Celery task.
        args: None are allowed.
        limit: The most letters that are replayed; None: all that match.
        filters: As the options of `dead-letters replay`.

    Returns:
        How many were replayed, as a text.

    Raises:
        InvalidFilter: An argument or a filter is invalid.
        Reject: Redis did not answer; the message goes back on the queue.
    """
    now = utc_now()
    processor: EventProcessor = task.app.runtime.processor
    gate = processor.delivery.gate
    try:
        gate.release(gate.rules.event_cost)
        filters = (
            filters if filters.get("until") is not None else {**filters, "until": now.isoformat()}
        )
        wanted = _filter_of(processor, args, limit, filters, now)
        done = replay_matching(processor.dead_letters, wanted, limit, now.timestamp())
        rest = done.rest(limit)
        if rest is not None:
            task.apply_async(kwargs={**filters, **rest})
    except (redis.RedisError, OperationalError):
        raise Reject(requeue=True) from None
    return f"{done.moved} replayed"


def _filter_of(
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
