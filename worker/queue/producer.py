"""The producer: put events on the queue. It needs REDIS_URL and no Mailgun secret."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import uuid4

from worker.privacy import redacted
from worker.queue.codec import encode, encode_texts
from worker.queue.message import DELIVER_MANY, NO_LIMITS, Message, usable_id
from worker.redis_client.client import connect
from worker.settings import Settings, load_settings
from worker.signal.event import MalformedEvent, SignalEvent, id_in, kind_in
from worker.signal.json_text import bytes_in
from worker.signal.json_value import event_text

if TYPE_CHECKING:
    import redis

# A message carries at most so many events and bytes; a longer event goes alone.
BUNDLE_EVENTS, BUNDLE_BYTES = 100, 256 * 1024
ENVELOPE_BYTES = 4096  # of a message around its body, with all that workers add later
TRIP_EVENTS, TRIP_BYTES = 1000, 1024 * 1024  # either starts a round trip


def enqueue(event: Mapping[str, Any] | SignalEvent) -> str:
    """Put one event on the integration's queue.

    Returns:
        The message's id: the event's own `messageId` if that is usable, else a new one.

    Raises:
        MalformedEvent: `event` is no event, or too large for a message (`MESSAGE_MAX_BYTES`).
        SettingsError: A setting is wrong.
        RedisError: Redis did not answer, or refused.
    """
    text = event_text(event)
    return _queue().put_one(SerializedEvent(text, time.time()))


def enqueue_many(events: Iterable[Mapping[str, Any] | SignalEvent]) -> int:
    """Put many events on the queue, up to 100 a message and 1,000 a round trip, in flat memory.

    The first value that is no event, or too large, ends the call: the events before it are
    enqueued, and the error names its number.

    Returns:
        How many events were enqueued.

    Raises:
        MalformedEvent: A value is no event, or too large for a message (`MESSAGE_MAX_BYTES`).
        SettingsError: A setting is wrong.
        RedisError: Redis did not answer, or refused.
    """
    with BulkEnqueuer(_queue()) as bulk:
        for number, event in enumerate(events, 1):
            try:
                bulk.add(event_text(event))
            except MalformedEvent as error:
                raise MalformedEvent(f"event {number}: {error}") from None
    return bulk.sent


def message_for(event: Mapping[str, Any] | SignalEvent) -> Message:
    """Return the message that carries `event` alone.

    Raises:
        MalformedEvent: `event` is no event.
    """
    return _alone(SerializedEvent(event_text(event), time.time()))


class SerializedEvent(NamedTuple):
    """An event as JSON text; `at` is when the producer passed it, in epoch seconds."""

    text: str
    at: float

    @property
    def size(self) -> int:
        """The size of the JSON text in bytes."""
        return bytes_in(self.text)


class EventQueue:
    """The integration's queue, as a producer sees it."""

    def __init__(self, redis: "redis.Redis", queue: str, most_bytes: int = NO_LIMITS.bytes) -> None:
        """Write to the list `queue`.

        Args:
            redis: The client for Redis.
            queue: The key of the list.
            most_bytes: The largest message that the workers accept, in bytes.
        """
        self._redis = redis
        self._queue = queue
        self._most_bytes = most_bytes

    def check(self, event: SerializedEvent) -> None:
        """Check that workers accept a message with this event.

        Raises:
            MalformedEvent: The event is too large.
        """
        if event.size > self._room:
            raise MalformedEvent(
                f"the event is too large: {event.size} bytes of JSON, "
                f"and with MESSAGE_MAX_BYTES={self._most_bytes} "
                f"a message has room for {self._room}; "
                "shorten it, or raise that setting here and at the workers"
            )

    def put(self, messages: list[Message]) -> int:
        """Put `messages` at the back, in one round trip; return how many."""
        return self._push(encode(message, self._queue) for message in messages)

    def put_one(self, event: SerializedEvent) -> str:
        """Put one event at the back, and return the message's id.

        Raises:
            MalformedEvent: The event is too large.
        """
        self.check(event)
        message = _alone(event)
        self._push([encode_texts(message, self._queue, [event.text])])
        return message.id

    def put_many(self, events: list[SerializedEvent]) -> int:
        """Put `events` at the back, bundled, in one round trip; return how many events."""
        made = bundles(events, min(BUNDLE_BYTES, self._room))
        self._push(
            encode_texts(_carrier(each), self._queue, [text for text, _ in each]) for each in made
        )
        return len(events)

    @property
    def _room(self) -> int:
        """The bytes of JSON that fit into a message as base64."""
        return (self._most_bytes - ENVELOPE_BYTES) // 4 * 3

    def _push(self, raws: Iterable[str]) -> int:
        given = list(raws)
        if given:
            self._redis.lpush(self._queue, *given)
        return len(given)


class BulkEnqueuer:
    """A buffer of events for the queue, sent a round trip at a time.

    A context manager: the rest is sent when the block ends, also if it ends with an error.
    """

    def __init__(self, queue: EventQueue) -> None:
        """Start with an empty buffer for `queue`; `sent` counts the events on the queue."""
        self.sent = 0
        self._queue = queue
        self._ready: list[SerializedEvent] = []
        self._bytes = 0

    def add(self, text: str) -> None:
        """Add one event, given as JSON text.

        Raises:
            MalformedEvent: The event is too large; the events in the buffer are not affected.
        """
        event = SerializedEvent(text, time.time())
        self._queue.check(event)
        self._ready.append(event)
        self._bytes += event.size
        if len(self._ready) >= TRIP_EVENTS or self._bytes >= TRIP_BYTES:
            self._put()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._put()

    def _put(self) -> None:
        # The buffer is emptied first: a round trip that fails is not repeated.
        ready, self._ready, self._bytes = self._ready, [], 0
        self.sent += self._queue.put_many(ready)


def bundles(events: Iterable[SerializedEvent], most_bytes: int) -> Iterator[list[SerializedEvent]]:
    """Yield `events` in order, in lists that each fit into one message.

    Args:
        events: The events.
        most_bytes: The most bytes of a list with its commas; a longer event is a list of its own.
    """
    bundle: list[SerializedEvent] = []
    size = 0
    for event in events:
        size += event.size + 1
        if bundle and (len(bundle) == BUNDLE_EVENTS or size > most_bytes):
            yield bundle
            bundle, size = [], event.size + 1
        bundle.append(event)
    if bundle:
        yield bundle


def _carrier(events: list[SerializedEvent]) -> Message:
    """Return the message for `events` without their texts: a bundle if there are several."""
    if len(events) == 1:
        return _alone(events[0])
    return Message(
        id=str(uuid4()),
        args=(),
        kind=f"{len(events)} events",
        enqueued_at=events[0].at,
        task=DELIVER_MANY,
    )


def _alone(event: SerializedEvent) -> Message:
    sent = json.loads(event.text)
    return Message(
        id=usable_id(id_in(sent)) or str(uuid4()),
        args=(sent,),
        kind=redacted(kind_in(sent)),
        enqueued_at=event.at,
    )


@lru_cache(maxsize=1)
def _queue() -> EventQueue:
    settings: Settings = load_settings(guest=True)
    # No health check (a PING before the first command after 25 idle seconds): the retry on a new
    # connection covers a lost one.
    return EventQueue(
        connect(settings.redis_url, health_check_interval=0),
        settings.queue,
        settings.message_max_bytes,
    )
