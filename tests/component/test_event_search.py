"""Finding and erasing events wherever they lie, in bundles too, while others put and take – on a real server."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integrations import OwnIntegration, delay_one
from worker.ops.event_search import EventSearch
from worker.queue.codec import decode, encode
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_filter import address_of
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.message import DELIVER_MANY, Message, unbundle

JANE, SAM, KIM = ("jane@example.com", "sam@example.com", "kim@example.com")
FAR = 3600.0
NO_BUNDLE = Message(id="no-bundle", args=("x",), task=DELIVER_MANY)


def event(address: str, **fields: Any) -> dict[str, Any]:
    return {"type": "identify", "traits": {"email": address}, **fields}


def alone(id: str, address: str) -> Message:
    return Message(id=id, args=(event(address),), enqueued_at=100.0)


def bundle(id: str, *items: Any) -> Message:
    return Message(
        id=id,
        args=([event(each) if isinstance(each, str) else each for each in items],),
        task=DELIVER_MANY,
    )


def for_person(address: str) -> Callable[[Message], bool]:
    return lambda message: address_of(message.args) == address


def with_id(id: str) -> Callable[[Message], bool]:
    return lambda message: message.id == id


@pytest.fixture
def places(own: OwnIntegration) -> EventSearch:
    return EventSearch(own.redis, own.name, own.queue, own.ledger())


def put(places: EventSearch, *messages: Message | str) -> None:
    """These are on the queue, the first one to be taken first."""
    for each in messages:
        places.redis.lpush(
            places.queue, each if isinstance(each, str) else encode(each, places.queue)
        )


def queued(places: EventSearch) -> list[Any]:
    """What is on the queue, the next one first: id and events of each message, or a text that is none."""
    return [
        message_summary(str(each)) for each in reversed(places.redis.lrange(places.queue, 0, -1))
    ]


def message_summary(raw: str) -> Any:
    if not raw.startswith("{"):
        return raw
    message = decode(raw)[0]
    return message.id, [address_of(each.args) or each.args[0] for each in unbundle(message)]


def forget(places: EventSearch, address: str) -> dict[str, int]:
    found = places.forget(address, for_person(address))
    return {place: count for place, count in found.items() if count}


def test_events_are_found_in_bundles_and_outside(places: EventSearch) -> None:
    put(
        places,
        alone("a", JANE),
        bundle("b", SAM, JANE, JANE),
        bundle("c", KIM, SAM),
        alone("d", SAM),
        "nonsense",
    )
    found = [
        (before, [each.id for each in found.events])
        for before, found in places.queued(for_person(JANE))
    ]
    assert found == [(0, ["a"]), (1, ["b.1", "b.2"])]
    assert [before for before, _ in places.queued(with_id("c.1"))] == [2]
    assert [before for before, _ in places.queued(with_id("d"))] == [3]


def test_event_in_a_bundle_is_found_by_its_own_id_and_by_the_bundles(
    places: EventSearch,
) -> None:
    put(places, alone("a", SAM), bundle("b", event(JANE, messageId="m1"), SAM))
    assert [(before, len(found.events)) for before, found in places.queued(with_id("m1"))] == [
        (1, 1)
    ]
    assert [(before, len(found.events)) for before, found in places.queued(with_id("b"))] == [
        (1, 2)
    ]


def test_long_queue_is_searched_in_its_order(places: EventSearch) -> None:
    put(places, *(bundle(f"b{number}", SAM, JANE) for number in range(250)))
    found = [(before, found.events[0].id) for before, found in places.queued(for_person(JANE))]
    assert found == [(number, f"b{number}.1") for number in range(250)]


def test_forgetting_a_person_removes_their_events_and_keeps_the_neighbours(
    places: EventSearch,
) -> None:
    put(
        places,
        alone("a", SAM),
        bundle("b", SAM, JANE, KIM),
        alone("c", JANE),
        bundle("d", JANE, JANE),
        alone("e", KIM),
    )
    assert forget(places, JANE) == {"queue": 4}
    assert queued(places) == [("a", [SAM]), ("b", [SAM, KIM]), ("e", [KIM])]


def test_bundle_changes_only_by_the_forgotten_persons_events(places: EventSearch) -> None:
    given = bundle(
        "b", event(SAM, messageId="s"), JANE, None, 5, ["x"], event(KIM, messageId="k", plan=1e300)
    )
    put(places, given)
    assert forget(places, JANE) == {"queue": 1}
    [raw] = places.redis.lrange(places.queue, 0, -1)
    message, headers = decode(str(raw))
    left = [each for each in given.args[0] if each != event(JANE)]
    assert (message.args, headers) == ((left,), decode(encode(given, places.queue))[1])


def test_forgetting_a_person_changes_no_other_message(places: EventSearch) -> None:
    put(places, "nonsense", "", bundle("b", SAM, KIM), bundle("none"), alone("a", SAM), NO_BUNDLE)
    before = places.redis.lrange(places.queue, 0, -1)
    assert forget(places, JANE) == {}
    assert places.redis.lrange(places.queue, 0, -1) == before


def test_an_empty_text_on_the_queue_survives_an_erasure(places: EventSearch) -> None:
    put(places, "", alone("a", JANE), "")
    assert forget(places, JANE) == {"queue": 1}
    assert queued(places) == ["", ""]


def test_equal_messages_each_lose_the_forgotten_persons_events(places: EventSearch) -> None:
    put(places, *[bundle("b", SAM, JANE)] * 3, *[alone("a", JANE)] * 2)
    assert forget(places, JANE) == {"queue": 5}
    assert queued(places) == [("b", [SAM])] * 3


def test_messages_fetched_before_the_erasure_are_only_counted(
    places: EventSearch, own: OwnIntegration
) -> None:
    put(places, bundle("b", SAM, JANE, JANE), alone("a", JANE), bundle("c", SAM, JANE))
    assert len(own.take(4).messages) == 2
    assert forget(places, JANE) == {"queue": 1, "in flight": 3}
    assert queued(places) == [("c", [SAM])]


def test_bundle_that_moved_since_it_was_found_is_erased_in_its_new_place(
    places: EventSearch, own: OwnIntegration
) -> None:
    put(places, alone("a", SAM), alone("b", SAM), bundle("c", SAM, JANE), bundle("d", KIM, JANE))
    seen = list(places.queued(for_person(JANE)))
    own.take(2)
    put(places, alone("new", SAM))
    places.redis.rpush(places.queue, encode(alone("returned", KIM), places.queue))
    assert [places._erase_queued(*each, for_person(JANE)) for each in seen] == [1, 1]
    assert queued(places) == [("returned", [KIM]), ("c", [SAM]), ("d", [KIM]), ("new", [SAM])]


def test_message_fetched_before_its_erasure_is_not_put_back(
    places: EventSearch, own: OwnIntegration
) -> None:
    put(places, bundle("b", SAM, JANE), alone("a", JANE), alone("c", SAM))
    seen = list(places.queued(for_person(JANE)))
    own.take(3)
    assert [places._erase_queued(*each, for_person(JANE)) for each in seen] == [0, 0]
    assert queued(places) == [("c", [SAM])]


def test_delayed_bundle_loses_the_forgotten_person_and_keeps_its_due_time(
    places: EventSearch,
) -> None:
    due = delay_one(places.delay_queue, bundle("b", SAM, JANE, KIM), FAR)
    delay_one(places.delay_queue, alone("a", JANE), FAR)
    delay_one(places.delay_queue, bundle("c", JANE), FAR)
    assert [len(found.events) for found, _ in places.delayed(for_person(JANE))] == [1, 1, 1]
    assert forget(places, JANE) == {"delayed": 3}
    assert [(message_summary(raw), at) for raw, at in places.delay_queue.waiting()] == [
        (("b", [SAM, KIM]), due)
    ]


def test_a_delayed_message_that_is_gone_is_not_replaced(places: EventSearch) -> None:
    assert places.delay_queue.replace("gone", "other") == 0
    assert places.delay_queue.count() == 0


def test_dead_letters_of_a_person_are_erased_and_one_without_a_bundle_left(
    places: EventSearch,
) -> None:
    for message in (alone("a", JANE), alone("b", SAM), NO_BUNDLE):
        letter = dead_letter(
            DeadLetterReason.REJECTED,
            message,
            status=None,
            answer="",
            died_at=1.0,
            integration=places.integration,
        )
        places.dead_letters.bury([(message, letter)])
    assert forget(places, JANE) == {"dead letters": 1}
    assert [each.message.id for each in places.dead_letters.oldest_first()] == ["b", "no-bundle"]
