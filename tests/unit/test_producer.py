"""What a producer's events become before they are put on the queue: messages of one, bundles, and round trips."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.unit.strategies import json_objects
from worker import MalformedEvent, enqueue, enqueue_many
from worker.mailgun.outcome import OutcomeKind
from worker.queue import producer
from worker.queue.codec import decode, encode
from worker.queue.message import DELIVER_MANY, TASK, AttemptRecord, Message, unbundle
from worker.queue.producer import (
    BUNDLE_BYTES,
    BUNDLE_EVENTS,
    ENVELOPE_BYTES,
    TRIP_BYTES,
    TRIP_EVENTS,
    BulkEnqueuer,
    EventQueue,
    SerializedEvent,
    bundles,
    message_for,
)
from worker.settings import Settings
from worker.signal.json_text import json_text
from worker.signal.json_value import event_text

EVENT = {"type": "identify", "messageId": "m1", "traits": {"email": "jane@example.com"}}


class Puts:
    """A Redis that remembers what was put on a list, for each round trip."""

    def __init__(self) -> None:
        self.trips: list[list[str]] = []

    def lpush(self, _queue: str, *texts: str) -> int:
        self.trips.append(list(texts))
        return len(texts)

    @property
    def messages(self) -> list[Message]:
        return [decode(raw)[0] for trip in self.trips for raw in trip]

    @property
    def events(self) -> list[Message]:
        return [each for message in self.messages for each in unbundle(message)]


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> Puts:
    redis = Puts()
    monkeypatch.setattr(producer, "_queue", lambda: EventQueue(cast("Any", redis), "q"))
    return redis


def test_the_events_own_id_is_the_messages(puts: Puts) -> None:
    assert enqueue(EVENT) == "m1"
    assert [each.id for each in puts.messages] == ["m1"]


@pytest.mark.parametrize("own", [None, "", "jane@example.com", "a b", {}, "x" * 200])
def test_an_id_that_is_not_usable_is_replaced_by_a_new_one(puts: Puts, own: object) -> None:
    first, second = (enqueue({**EVENT, "messageId": own}) for _ in range(2))
    assert UUID(first) != UUID(second)
    assert [each.id for each in puts.messages] == [first, second]


def test_an_id_given_as_a_uuid_is_the_messages() -> None:
    own = UUID(int=5)
    assert message_for({**EVENT, "messageId": own}).id == str(own)


def test_enqueued_event_is_sent_unchanged(puts: Puts) -> None:
    event = {**EVENT, "unknown": {"a": None}, "type": "Identify"}
    enqueue(event)
    assert [each.args for each in puts.messages] == [(event,)]
    assert message_for(event).args == (event,)


def test_single_event_is_the_same_message_from_each_enqueue_function(
    puts: Puts,
) -> None:
    enqueue(EVENT)
    enqueue_many([EVENT])
    [[one], [many]] = puts.trips
    for raw in (one, many):
        message, headers = decode(raw)
        assert encode(message, "q") == raw
        assert (message.id, message.kind, message.args, headers["task"]) == (
            "m1",
            "identify",
            (EVENT,),
            TASK,
        )


def test_message_shows_flower_the_kind_and_no_personal_data() -> None:
    assert message_for(EVENT).kind == "identify"
    assert (
        "jane"
        not in message_for({**EVENT, "type": "track", "event": "Invited jane@example.com"}).kind
    )


def test_bundle_shows_flower_its_number_of_events_and_no_personal_data(puts: Puts) -> None:
    enqueue_many(many(3))
    [[raw]] = puts.trips
    headers = json.loads(raw)["headers"]
    assert (headers["task"], headers["argsrepr"], headers["kwargsrepr"]) == (
        DELIVER_MANY,
        "3 events",
        "{}",
    )
    assert "jane" not in raw


def test_new_message_has_its_enqueue_time_and_no_history() -> None:
    message = message_for(EVENT)
    assert message.enqueued_at is not None
    assert (message.attempts, message.throttled, message.requeues, message.attempt_history) == (
        0,
        0,
        0,
        (),
    )


@pytest.mark.parametrize("event", [None, 5, "page", [], {}, {"type": ""}, {"event": "Signed Up"}])
def test_malformed_event_is_refused_and_nothing_enqueued(puts: Puts, event: Any) -> None:
    with pytest.raises(MalformedEvent):
        enqueue(event)
    with pytest.raises(MalformedEvent):
        enqueue_many([event])
    assert puts.trips == []


@given(json_objects)
def test_any_event_can_be_written_and_read_back(properties: dict[str, Any]) -> None:
    message = message_for({**EVENT, "properties": properties})
    assert decode(encode(message, "q"))[0] == message


# -- how large -----------------------------------------------------------------------------------------------------

LETTERS = ("x", "\u0436", "\u20ac", "\U0001f600", "\ud800", '"')
LIMITS = (65_536, 100_001, 4 * 1024 * 1024)


def of_size(size: int, letter: str, **fields: Any) -> dict[str, Any]:
    """An event of so many bytes of JSON, or some fewer, of these letters."""
    event = {**EVENT, **fields, "name": ""}
    left = size - len(event_text(event).encode())
    return {**event, "name": letter * (left // (len(json_text(letter).encode()) - 2))}


def room_in(limit: int) -> int:
    return (limit - ENVELOPE_BYTES) // 4 * 3


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("letter", LETTERS)
def test_largest_event_fits_the_message_limit_after_its_last_attempt(
    limit: int, letter: str
) -> None:
    puts, queue = Puts(), "mailgun." + "q" * 63
    wide = {"messageId": "m" * 128, "type": "track", "event": "\U0001f600" * 80}
    enqueued = EventQueue(cast("Any", puts), queue, limit)
    enqueued.put_one(
        SerializedEvent(event_text(of_size(room_in(limit), letter, **wide)), 1_700_000_000.123456)
    )
    [[raw]] = puts.trips
    message = replace(decode(raw)[0], returns=999, retry_window_start=1_700_000_000.123456)
    for _ in range(12):
        message = message.after_attempt(
            AttemptRecord(1_700_000_000.123456, max(OutcomeKind, key=len), 503), 1e6 / 3, spent=True
        )
    assert (
        limit - ENVELOPE_BYTES - 100
        < len(raw)
        < len(encode(replace(message, returns=999), queue))
        <= limit
    )


@pytest.mark.parametrize("letter", LETTERS)
def test_too_large_event_is_refused_and_nothing_enqueued(letter: str) -> None:
    puts = Puts()
    queue = EventQueue(cast("Any", puts), "q", LIMITS[0])
    text = event_text(of_size(room_in(LIMITS[0]) + 12, letter))
    with pytest.raises(
        MalformedEvent, match=r"^the event is too large: \d+ bytes .*MESSAGE_MAX_BYTES=65536"
    ) as refused:
        queue.put_one(SerializedEvent(text, 0.0))
    with BulkEnqueuer(queue) as bulk, pytest.raises(MalformedEvent, match="too large"):
        bulk.add(text)
    assert "\n" not in str(refused.value)
    assert puts.trips == []


@given(st.lists(st.tuples(st.integers(100, 46_000), st.sampled_from(LETTERS)), max_size=12))
def test_bundle_is_never_larger_than_workers_accept(sizes: list[tuple[int, str]]) -> None:
    puts = Puts()
    with BulkEnqueuer(EventQueue(cast("Any", puts), "q", LIMITS[0])) as bulk:
        for size, letter in sizes:
            bulk.add(event_text(of_size(size, letter)))
    assert len(puts.events) == len(sizes)
    assert all(len(raw) <= LIMITS[0] for trip in puts.trips for raw in trip)


def test_bundle_never_has_more_events_than_a_worker_may_fetch() -> None:
    with pytest.raises(ValidationError):
        Settings(message_max_events=BUNDLE_EVENTS - 1)


# -- many ----------------------------------------------------------------------------------------------------------


def many(count: int) -> Iterator[dict[str, Any]]:
    return ({**EVENT, "messageId": f"m{number}"} for number in range(1, count + 1))


COUNTS = [
    0,
    1,
    2,
    BUNDLE_EVENTS,
    BUNDLE_EVENTS + 1,
    TRIP_EVENTS - 1,
    TRIP_EVENTS,
    TRIP_EVENTS + 1,
    2 * TRIP_EVENTS + 3,
]


@pytest.mark.parametrize("count", COUNTS)
def test_enqueue_many_sends_in_order_100_a_message_1000_a_round_trip(
    puts: Puts, count: int
) -> None:
    assert enqueue_many(many(count)) == count
    assert [each.id for each in puts.events] == [f"m{number}" for number in range(1, count + 1)]
    assert len(puts.messages) == -(-count // BUNDLE_EVENTS)
    assert len(puts.trips) == -(-count // TRIP_EVENTS)


FEW_BYTES = 1000

written = st.lists(
    st.integers(2, 20) | st.integers(300, 500) | st.integers(900, 3000), max_size=300
).map(lambda sizes: [SerializedEvent("x" * size, number) for number, size in enumerate(sizes)])


def bundled(events: list[SerializedEvent]) -> list[list[SerializedEvent]]:
    """The bundles, were a message to carry no more than a thousand bytes."""
    return list(bundles(events, FEW_BYTES))


def size_of(bundle: list[SerializedEvent]) -> int:
    return sum(len(each.text) + 1 for each in bundle)


@given(written)
def test_bundles_keep_events_in_order_within_the_message_limits(
    events: list[SerializedEvent],
) -> None:
    made = bundled(events)
    assert [event for bundle in made for event in bundle] == events
    for bundle in made:
        assert 1 <= len(bundle) <= BUNDLE_EVENTS
        assert len(bundle) == 1 or size_of(bundle) <= FEW_BYTES


@given(written)
def test_no_bundle_is_begun_while_the_last_one_has_room(events: list[SerializedEvent]) -> None:
    for before, after in pairwise(bundled(events)):
        assert len(before) == BUNDLE_EVENTS or size_of([*before, after[0]]) > FEW_BYTES


def test_an_event_larger_than_a_bundle_goes_alone_as_a_plain_message(puts: Puts) -> None:
    large = {**EVENT, "messageId": "large", "properties": {"text": "x" * BUNDLE_BYTES}}
    enqueue_many([*many(2), large, *many(2)])
    assert [(each.task, len(unbundle(each))) for each in puts.messages] == [
        (DELIVER_MANY, 2),
        (TASK, 1),
        (DELIVER_MANY, 2),
    ]
    assert puts.messages[1].id == "large"


def test_round_trip_exceeds_its_limit_by_one_event_at_most(puts: Puts) -> None:
    long = {**EVENT, "properties": {"text": "x" * 100_000}}
    enqueue_many([long] * 50)
    assert len(puts.events) == 50
    assert all(len(json.dumps(events)) < TRIP_BYTES + 110_000 for events in events_of_trips(puts))
    assert len(puts.trips) <= 50 * 100_200 // TRIP_BYTES + 1


def events_of_trips(puts: Puts) -> list[list[Any]]:
    return [
        [each.args[0] for raw in trip for each in unbundle(decode(raw)[0])] for trip in puts.trips
    ]


def test_enqueue_many_reads_its_events_lazily(puts: Puts) -> None:
    taken_at_trips = []

    def watched() -> Iterator[dict[str, Any]]:
        for number, event in enumerate(many(3 * TRIP_EVENTS)):
            if number % TRIP_EVENTS == 0:
                taken_at_trips.append(len(puts.trips))
            yield event

    enqueue_many(watched())
    assert taken_at_trips == [0, 1, 2]


def test_event_changed_after_it_was_added_is_sent_as_added(puts: Puts) -> None:
    def reused() -> Iterator[dict[str, Any]]:
        event: dict[str, Any] = {"type": "page"}
        for number in range(3):
            event["messageId"] = f"m{number}"
            yield event

    enqueue_many(reused())
    assert [each.id for each in puts.events] == ["m0", "m1", "m2"]


def test_event_counts_as_enqueued_after_the_earlier_ones(puts: Puts) -> None:
    enqueue_many(many(2 * BUNDLE_EVENTS + 7))
    times = [cast("float", each.enqueued_at) for each in puts.events]
    assert all(before < after for before, after in pairwise(times))


def test_malformed_event_stops_enqueue_many_after_the_earlier_ones(
    puts: Puts,
) -> None:
    events = [*many(TRIP_EVENTS + 2), {"type": ""}, *many(5)]
    with pytest.raises(MalformedEvent, match=f"^event {TRIP_EVENTS + 3}: "):
        enqueue_many(events)
    assert len(puts.events) == TRIP_EVENTS + 2


def test_events_before_a_failing_iterator_are_enqueued(puts: Puts) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from many(3)
        raise OSError("the file ended")

    with pytest.raises(OSError, match="the file ended"):
        enqueue_many(broken())
    assert len(puts.events) == 3


def test_a_round_trip_that_fails_is_not_repeated(
    puts: Puts, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def refuse(_queue: str, *texts: str) -> int:
        tried.append(len(texts))
        raise ConnectionError

    monkeypatch.setattr(puts, "lpush", refuse)
    with pytest.raises(ConnectionError):
        enqueue_many(many(TRIP_EVENTS + 5))
    assert tried == [TRIP_EVENTS // BUNDLE_EVENTS]


def test_bulk_enqueuer_counts_events_once_they_are_on_the_queue(puts: Puts) -> None:
    with BulkEnqueuer(EventQueue(cast("Any", puts), "q")) as bulk:
        counts = []
        for _ in range(TRIP_EVENTS + 1):
            bulk.add('{"type":"page"}')
            counts.append(bulk.sent)
    assert counts == [0] * (TRIP_EVENTS - 1) + [TRIP_EVENTS] * 2
    assert bulk.sent == TRIP_EVENTS + 1
