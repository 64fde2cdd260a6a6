"""Putting events on the queue. Needs REDIS_URL and no Mailgun secret; Celery workers take it from there."""

import time
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from worker.delivery.message import Message, encoded, usable_id
from worker.privacy import redacted
from worker.settings import Settings, load_settings
from worker.signal.event import NESTING_LIMIT, MalformedEvent, SignalEvent, parse_event
from worker.store import connect

if TYPE_CHECKING:
    import redis

BATCH = 500


def enqueue(event: Mapping[str, Any] | SignalEvent) -> str:
    """Put one event on the integration's queue; gives its id: its own `messageId` where that is usable, else a new one.

    Raises `MalformedEvent` when it is none, `SettingsError` for a wrong setting, `RedisError` when Redis is away.
    """
    message = message_for(event)
    _queue().put([message])
    return message.id


def enqueue_many(events: Iterable[Mapping[str, Any] | SignalEvent]) -> int:
    """Put many events on the queue, 500 a round trip, in flat memory; gives how many.

    Raises as `enqueue` does. The first that is no event stops it: those before it are enqueued, the error gives its number.
    """
    queue = _queue()
    batch: list[Message] = []
    sent = 0
    try:
        for number, event in enumerate(events, 1):
            batch.append(_numbered(number, event))
            if len(batch) == BATCH:
                ready, batch = batch, []
                sent += queue.put(ready)
    finally:
        sent += queue.put(batch)
    return sent


def message_for(event: Mapping[str, Any] | SignalEvent) -> Message:
    """The message that carries `event`. Raises `MalformedEvent`."""
    try:
        sent = event.model_dump(mode="json", exclude_none=True) if isinstance(event, SignalEvent) else plain(event)
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, MalformedEvent) else MalformedEvent("the event is nested too deep") from None
    parsed = parse_event(sent)
    return Message(
        id=usable_id(parsed.message_id) or str(uuid4()),
        args=(sent,),
        kind=redacted(parsed.kind),
        enqueued_at=time.time(),
    )


def plain(value: Any, depth: int = 0) -> Any:
    """`value` as JSON can carry it: dates as ISO 8601, decimals as numbers, UUIDs as text. Raises `MalformedEvent`."""
    if depth > NESTING_LIMIT:
        raise MalformedEvent(f"the event is nested more than {NESTING_LIMIT} deep")
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): plain(each, depth + 1) for key, each in value.items()}
        case list() | tuple():
            return [plain(each, depth + 1) for each in value]
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return float(value)
        case UUID():
            return str(value)
        case _:
            raise MalformedEvent(f"the event holds a {type(value).__name__}, which JSON cannot carry")


def _numbered(number: int, event: Mapping[str, Any] | SignalEvent) -> Message:
    try:
        return message_for(event)
    except MalformedEvent as error:
        raise MalformedEvent(f"event {number}: {error}") from None


class EventQueue:
    """The integration's queue, from a producer's side."""

    def __init__(self, redis: "redis.Redis", queue: str) -> None:
        """`queue` is its name on Redis, a list."""
        self._redis = redis
        self._queue = queue

    def put(self, messages: list[Message]) -> int:
        """Put `messages` at the back, in one round trip; gives how many."""
        if messages:
            self._redis.lpush(self._queue, *(encoded(message, self._queue) for message in messages))
        return len(messages)


@lru_cache(maxsize=1)
def _queue() -> EventQueue:
    settings: Settings = load_settings()
    return EventQueue(connect(settings.redis_url), settings.queue)
