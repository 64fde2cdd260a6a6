"""Parking: an event waits in Redis until it is due, and goes back in one step – on a real server."""

import json

import pytest

from tests.integrations import OwnIntegration, delay_one
from worker.queue.codec import decode
from worker.queue.delay_queue import DelayQueue
from worker.queue.message import AttemptRecord, Message

MESSAGE = Message(
    id="m-1",
    args=({"type": "identify", "traits": {"email": "jané@example.com"}},),
    kind="identify",
    enqueued_at=100.0,
    retry_window_start=100.0,
    attempts=3,
    throttled=2,
    requeues=5,
    attempt_history=(AttemptRecord(at=200.0, outcome="unavailable", status=503),),
)
FAR = 3600.0
DUE = -1.0  # a second ago: a due time is kept to the millisecond


@pytest.fixture
def delay_queue(own: OwnIntegration) -> DelayQueue:
    return DelayQueue(own.redis, own.name, own.queue)


def named(id: str) -> Message:
    return Message(id=id, args=({},))


def queued(own: OwnIntegration) -> list[str]:
    """The ids on the queue, the one to be taken next first."""
    return [decode(str(each))[0].id for each in reversed(own.redis.lrange(own.queue, 0, -1))]


def test_delayed_event_comes_back_unchanged(own: OwnIntegration, delay_queue: DelayQueue) -> None:
    delay_one(delay_queue, MESSAGE, DUE)
    assert delay_queue.requeue_due() == 1
    assert [decode(str(each))[0] for each in own.redis.lrange(own.queue, 0, -1)] == [MESSAGE]
    assert (delay_queue.count(), delay_queue.next_due()) == (0, None)


def test_the_due_time_is_by_rediss_clock(own: OwnIntegration, delay_queue: DelayQueue) -> None:
    before = own.now()
    due = delay_one(delay_queue, MESSAGE, FAR)
    assert before + FAR - 0.001 <= due <= own.now() + FAR + 0.001
    assert delay_queue.next_due() == due


def test_an_event_that_is_not_due_stays(own: OwnIntegration, delay_queue: DelayQueue) -> None:
    delay_one(delay_queue, MESSAGE, FAR)
    assert delay_queue.requeue_due() == 0
    assert (delay_queue.count(), own.redis.llen(own.queue)) == (1, 0)


def test_only_due_events_go_back_to_the_queue(own: OwnIntegration, delay_queue: DelayQueue) -> None:
    delay_one(delay_queue, named("later"), FAR)
    delay_one(delay_queue, named("now"), DUE)
    assert delay_queue.requeue_due() == 1
    assert queued(own) == ["now"]
    assert [decode(raw)[0].id for raw, _ in delay_queue.waiting()] == ["later"]


def test_requeued_event_is_fetched_before_new_ones(
    own: OwnIntegration, delay_queue: DelayQueue
) -> None:
    own.fill(3)
    delay_one(delay_queue, named("back"), DUE)
    delay_queue.requeue_due()
    (taken,) = own.take().messages
    assert decode(taken)[0].id == "back"


def test_requeue_due_moves_at_most_its_limit_earliest_first(
    own: OwnIntegration, delay_queue: DelayQueue
) -> None:
    for number in range(5):
        delay_one(delay_queue, named(str(number)), number / 1000 - FAR)
    assert delay_queue.requeue_due(2) == 2
    assert set(queued(own)) == {"0", "1"}
    assert [delay_queue.requeue_due(2), delay_queue.requeue_due(2), delay_queue.requeue_due(2)] == [
        2,
        1,
        0,
    ]


def test_the_next_due_is_the_earliest(delay_queue: DelayQueue) -> None:
    delay_one(delay_queue, named("b"), 2 * FAR)
    first = delay_one(delay_queue, named("a"), FAR)
    assert delay_queue.next_due() == first


def test_delay_queues_of_two_integrations_are_separate(
    own: OwnIntegration, delay_queue: DelayQueue
) -> None:
    other = DelayQueue(own.redis, f"{own.name}-other", f"{own.queue}-other")
    delay_one(delay_queue, MESSAGE, DUE)
    assert (other.count(), other.requeue_due()) == (0, 0)
    assert delay_queue.count() == 1


def test_delayed_event_is_stored_as_a_celery_message(delay_queue: DelayQueue) -> None:
    delay_one(delay_queue, MESSAGE, FAR)
    [(raw, _)] = delay_queue.waiting()
    assert json.loads(raw)["headers"]["task"] == "signal.deliver"
    assert json.loads(raw)["headers"]["retries"] == 5
