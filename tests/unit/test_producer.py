"""What a producer's event becomes before it is put on the queue."""

from collections import UserDict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from tests.unit.strategies import json_objects, json_values
from worker import MalformedEvent, SignalEvent, enqueue, enqueue_many, producer
from worker.delivery.message import Message, decoded, encoded
from worker.producer import message_for, plain
from worker.signal.event import parse_event

BATCH = 500
EVENT = {"type": "identify", "messageId": "m1", "traits": {"email": "jane@example.com"}}


class Puts:
    """A queue that remembers what was put on it, a list for each round trip."""

    def __init__(self) -> None:
        self.trips: list[list[Message]] = []

    def put(self, messages: list[Message]) -> int:
        if messages:
            self.trips.append(list(messages))
        return len(messages)


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> Puts:
    queue = Puts()
    monkeypatch.setattr(producer, "_queue", lambda: queue)
    return queue


def test_the_events_own_id_is_the_messages(puts: Puts) -> None:
    assert enqueue(EVENT) == "m1"
    assert [[each.id for each in trip] for trip in puts.trips] == [["m1"]]


@pytest.mark.parametrize("own", [None, "", "jane@example.com", "a b", {}, "x" * 200])
def test_an_id_that_is_not_usable_is_replaced_by_a_new_one(own: object) -> None:
    first, second = (message_for({**EVENT, "messageId": own}).id for _ in range(2))
    assert UUID(first) != UUID(second)


def test_an_id_given_as_a_uuid_is_the_messages() -> None:
    own = UUID(int=5)
    assert message_for({**EVENT, "messageId": own}).id == str(own)


def test_the_event_goes_as_it_was_sent() -> None:
    event = {**EVENT, "unknown": {"a": None}, "type": "Identify"}
    assert message_for(event).args == (event,)


def test_a_signal_event_goes_as_one_that_reads_the_same() -> None:
    event = SignalEvent(
        type="track",
        event="Order Completed",
        user_id="u1",
        message_id="m1",
        properties={"a": None, "b": [1, {"c": 2.5}]},
        timestamp=datetime(2024, 5, 1, 10, tzinfo=UTC),
    )
    sent = decoded(encoded(message_for(event), "q"))[0]
    assert sent.id == "m1"
    assert parse_event(sent.args[0]) == event


def test_flower_is_told_the_kind_and_nothing_of_the_person() -> None:
    assert message_for(EVENT).kind == "identify"
    assert "jane" not in message_for({**EVENT, "type": "track", "event": "Invited jane@example.com"}).kind


def test_the_message_knows_when_it_was_enqueued_and_has_no_story() -> None:
    message = message_for(EVENT)
    assert message.enqueued_at is not None
    assert (message.attempts, message.throttled, message.parkings, message.trail) == (0, 0, 0, ())


@pytest.mark.parametrize("event", [None, 5, "page", [], {}, {"type": ""}, {"event": "Signed Up"}])
def test_what_is_no_event_is_refused_and_nothing_is_put(puts: Puts, event: Any) -> None:
    with pytest.raises(MalformedEvent):
        enqueue(event)
    assert puts.trips == []


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (datetime(2024, 5, 1, 10, tzinfo=UTC), "2024-05-01T10:00:00+00:00"),
        (date(2024, 5, 1), "2024-05-01"),
        (Decimal("9.95"), 9.95),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ((1, 2), [1, 2]),
        (UserDict({"a": (1,)}), {"a": [1]}),
        ({5: "a", None: "b"}, {"5": "a", "None": "b"}),
    ],
)
def test_what_json_does_not_know_goes_as_what_it_does(value: object, sent: object) -> None:
    assert plain({"a": [value]}) == {"a": [sent]}


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), 1j])
def test_what_json_cannot_carry_is_refused_by_its_type(value: object) -> None:
    with pytest.raises(MalformedEvent, match=rf"holds a {type(value).__name__}, which JSON cannot carry"):
        message_for({**EVENT, "properties": {"a": value}})


@given(json_values)
def test_json_goes_as_it_is(value: Any) -> None:
    assert plain(value) == value


@given(json_objects)
def test_any_event_can_be_written_and_read_back(properties: dict[str, Any]) -> None:
    message = message_for({**EVENT, "properties": properties})
    assert decoded(encoded(message, "q"))[0] == message


def many(count: int) -> Iterator[dict[str, Any]]:
    return ({**EVENT, "messageId": f"m{number}"} for number in range(1, count + 1))


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH, 2 * BATCH + 3])
def test_many_events_go_in_order_and_five_hundred_a_round_trip(puts: Puts, count: int) -> None:
    assert enqueue_many(many(count)) == count
    assert [each.id for trip in puts.trips for each in trip] == [f"m{number}" for number in range(1, count + 1)]
    assert all(len(trip) == BATCH for trip in puts.trips[:-1])


def test_the_first_that_is_no_event_stops_many_with_its_number_and_those_before_it_are_put(puts: Puts) -> None:
    events = [*many(BATCH + 2), {"type": ""}, *many(5)]
    with pytest.raises(MalformedEvent, match=f"^event {BATCH + 3}: "):
        enqueue_many(events)
    assert sum(map(len, puts.trips)) == BATCH + 2


def test_events_that_cannot_be_read_to_the_end_are_put_up_to_there(puts: Puts) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from many(3)
        raise OSError("the file ended")

    with pytest.raises(OSError, match="the file ended"):
        enqueue_many(broken())
    assert sum(map(len, puts.trips)) == 3


def test_a_round_trip_that_fails_is_not_repeated(puts: Puts, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def refuse(messages: list[Message]) -> int:
        sizes.append(len(messages))
        if len(sizes) == 1:
            raise ConnectionError
        return len(messages)

    monkeypatch.setattr(puts, "put", refuse)
    with pytest.raises(ConnectionError):
        enqueue_many(many(BATCH + 5))
    assert sizes in ([BATCH], [BATCH, 0])
