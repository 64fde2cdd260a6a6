"""Putting events on the queue. Needs REDIS_URL and no Mailgun secret; Celery workers take it from there."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import uuid4

from worker.privacy import redacted
from worker.queue.message import DELIVER_MANY, NO_LIMITS, Message, encode, encoded_texts, usable_id
from worker.redis_client.client import connect
from worker.settings import Settings, load_settings
from worker.signal.event import MalformedEvent, SignalEvent, id_in, kind_in
from worker.signal.json_text import bytes_in
from worker.signal.json_value import event_text

if TYPE_CHECKING:
    import redis

BUNDLE_EVENTS, BUNDLE_BYTES = (
    100,
    256 * 1024,
)  # that a message carries at most; a longer event goes alone
ENVELOPE_BYTES = 4096  # of a message around its body, with all that workers note in it on its way
TRIP_EVENTS, TRIP_BYTES = 1000, 1024 * 1024  # after which a round trip is made


def enqueue(event: Mapping[str, Any] | SignalEvent) -> str:
    """Put one event on the integration's queue; gives its id: its own `messageId` where that is usable, else a new one.

    Raises `MalformedEvent` when it is none or too large for a message (`MESSAGE_MAX_BYTES`), `SettingsError` for a wrong
    setting, `RedisError` when Redis is away.
    """
    text = event_text(event)
    return _queue().put_one(SerializedEvent(text, time.time()))


def enqueue_many(events: Iterable[Mapping[str, Any] | SignalEvent]) -> int:
    """Put many events on the queue, up to 100 a message and 1,000 a round trip, in flat memory; gives how many.

    Raises as `enqueue` does. The first that is no event, or too large, stops it: those before it
    are enqueued, the error gives its number.
    """
    with BulkEnqueuer(_queue()) as bulk:
        for number, event in enumerate(events, 1):
            try:
                bulk.add(event_text(event))
            except MalformedEvent as error:
                raise MalformedEvent(f"event {number}: {error}") from None
    return bulk.sent


def message_for(event: Mapping[str, Any] | SignalEvent) -> Message:
    """The message that carries `event` alone. Raises `MalformedEvent`."""
    return _alone(SerializedEvent(event_text(event), time.time()))


class SerializedEvent(NamedTuple):
    """An event as it goes."""

    text: str  # JSON
    at: float  # epoch seconds: when it was given

    @property
    def size(self) -> int:
        """Return how many bytes it has."""
        return bytes_in(self.text)


class EventQueue:
    """The integration's queue, from a producer's side."""

    def __init__(self, redis: "redis.Redis", queue: str, most_bytes: int = NO_LIMITS.bytes) -> None:
        """`queue` is its name on Redis, a list; `most_bytes` has the largest message that its workers take."""
        self._redis = redis
        self._queue = queue
        self._most_bytes = most_bytes

    def check(self, event: SerializedEvent) -> None:
        """Make sure that workers take a message with this event. Raises `MalformedEvent`."""
        if event.size > self._room:
            raise MalformedEvent(
                f"the event is too large: {event.size} bytes of JSON, and with MESSAGE_MAX_BYTES={self._most_bytes} a message "
                f"has room for {self._room}; shorten it, or raise that setting here and at the workers"
            )

    def put(self, messages: list[Message]) -> int:
        """Put `messages` at the back, in one round trip; gives how many."""
        return self._push(encode(message, self._queue) for message in messages)

    def put_one(self, event: SerializedEvent) -> str:
        """Put one event at the back; gives its id. Raises `MalformedEvent` if it is too large."""
        self.check(event)
        message = _alone(event)
        self._push([encoded_texts(message, self._queue, [event.text])])
        return message.id

    def put_many(self, events: list[SerializedEvent]) -> int:
        """Put `events` at the back, bundled, in one round trip; gives how many."""
        made = bundles(events, min(BUNDLE_BYTES, self._room))
        self._push(
            encoded_texts(_carrier(each), self._queue, [text for text, _ in each]) for each in made
        )
        return len(events)

    @property
    def _room(self) -> int:
        """How many bytes of JSON fit into a message, as base64."""
        return (self._most_bytes - ENVELOPE_BYTES) // 4 * 3

    def _push(self, raws: Iterable[str]) -> int:
        given = list(raws)
        if given:
            self._redis.lpush(self._queue, *given)
        return len(given)


class BulkEnqueuer:
    """Events on their way to the queue, a round trip at a time; what is left goes at the end of the block, however that ends."""

    def __init__(self, queue: EventQueue) -> None:
        """Nothing is on its way yet."""
        self.sent = 0  # on the queue
        self._queue = queue
        self._ready: list[SerializedEvent] = []
        self._bytes = 0

    def add(self, text: str) -> None:
        """One more event, given as its JSON text. Raises `MalformedEvent` if it is too large; the others go on."""
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
        ready, self._ready, self._bytes = (
            self._ready,
            [],
            0,
        )  # a round trip that fails is not repeated
        self.sent += self._queue.put_many(ready)


def bundles(events: Iterable[SerializedEvent], most_bytes: int) -> Iterator[list[SerializedEvent]]:
    """`events` in order, in lists that are a message each: of at most so many bytes, commas included, or of one event."""
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
    """The message for `events`, without them: a bundle, or for a single one its own."""
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
    # Without redis-py's health check, a PING before whatever follows 25 idle seconds: a lost connection is found anyway.
    return EventQueue(
        connect(settings.redis_url, health_check_interval=0),
        settings.queue,
        settings.message_max_bytes,
    )
