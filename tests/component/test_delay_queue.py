"""Parking: an event waits in Redis until it is due, and goes back in one step – on a real server."""

import json

import pytest

from tests.integrations import OwnIntegration
from worker.queue.delay_queue import Parking
from worker.queue.message import Message, Try, decoded

MESSAGE = Message(
    id="m-1",
    args=({"type": "identify", "traits": {"email": "jané@example.com"}},),
    kind="identify",
    enqueued_at=100.0,
    patience_from=100.0,
    attempts=3,
    throttled=2,
    parkings=5,
    trail=(Try(at=200.0, outcome="unavailable", status=503),),
)
FAR = 3600.0
DUE = -1.0  # a second ago: a due time is kept to the millisecond


@pytest.fixture
def parking(own: OwnIntegration) -> Parking:
    return Parking(own.redis, own.name, own.queue)


def named(id: str) -> Message:
    return Message(id=id, args=({},))


def queued(own: OwnIntegration) -> list[str]:
    """The ids on the queue, the one to be taken next first."""
    return [decoded(str(each))[0].id for each in reversed(own.redis.lrange(own.queue, 0, -1))]


def test_a_parked_event_comes_back_as_it_was(own: OwnIntegration, parking: Parking) -> None:
    parking.park(MESSAGE, DUE)
    assert parking.return_due() == 1
    assert [decoded(str(each))[0] for each in own.redis.lrange(own.queue, 0, -1)] == [MESSAGE]
    assert (parking.count(), parking.next_due()) == (0, None)


def test_the_due_time_is_by_rediss_clock(own: OwnIntegration, parking: Parking) -> None:
    before = own.now()
    due = parking.park(MESSAGE, FAR)
    assert before + FAR - 0.001 <= due <= own.now() + FAR + 0.001
    assert parking.next_due() == due


def test_an_event_that_is_not_due_stays(own: OwnIntegration, parking: Parking) -> None:
    parking.park(MESSAGE, FAR)
    assert parking.return_due() == 0
    assert (parking.count(), own.redis.llen(own.queue)) == (1, 0)


def test_only_what_is_due_goes_back(own: OwnIntegration, parking: Parking) -> None:
    parking.park(named("later"), FAR)
    parking.park(named("now"), DUE)
    assert parking.return_due() == 1
    assert queued(own) == ["now"]
    assert [decoded(raw)[0].id for raw, _ in parking.waiting()] == ["later"]


def test_what_goes_back_is_taken_before_what_is_new(own: OwnIntegration, parking: Parking) -> None:
    own.fill(3)
    parking.park(named("back"), DUE)
    parking.return_due()
    (taken,) = own.take().messages
    assert decoded(taken)[0].id == "back"


def test_no_more_than_the_limit_goes_back_at_once_and_the_earliest_due_first(
    own: OwnIntegration, parking: Parking
) -> None:
    for number in range(5):
        parking.park(named(str(number)), number / 1000 - FAR)
    assert parking.return_due(2) == 2
    assert set(queued(own)) == {"0", "1"}
    assert [parking.return_due(2), parking.return_due(2), parking.return_due(2)] == [2, 1, 0]


def test_the_next_due_is_the_earliest(parking: Parking) -> None:
    parking.park(named("b"), 2 * FAR)
    first = parking.park(named("a"), FAR)
    assert parking.next_due() == first


def test_integrations_park_apart(own: OwnIntegration, parking: Parking) -> None:
    other = Parking(own.redis, f"{own.name}-other", f"{own.queue}-other")
    parking.park(MESSAGE, DUE)
    assert (other.count(), other.return_due()) == (0, 0)
    assert parking.count() == 1


def test_what_is_parked_is_a_message_that_any_worker_reads(parking: Parking) -> None:
    parking.park(MESSAGE, FAR)
    [(raw, _)] = parking.waiting()
    assert json.loads(raw)["headers"]["task"] == "signal.deliver"
    assert json.loads(raw)["headers"]["retries"] == 5
