"""How a message's end is told to Flower: each way of ending, a bundle's count, and rows for its events."""

from datetime import UTC, datetime, timedelta

import pytest
from celery.events.state import Task

from worker.consumer.task_events import TaskEvent, ending_of, endings_of, received
from worker.delivery.event_delivery import Buried, Rescheduled, Result
from worker.delivery.retry_policy import Done
from worker.queue.message import DELIVER_MANY, Message

DUE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DELIVERED = Done("delivered")
WAITS = Rescheduled("unavailable (503): no", DUE)
DIED = Buried("rejected (400): no")


def bundle_endings(*results: Result) -> list[TaskEvent]:
    """The task events of a bundle whose events ended so; the second event has an id of its own."""
    events = [{"type": "identify"}, {"type": "page", "messageId": "own"}, 5, {"type": "page"}]
    bundle = Message(id="b", args=(events[: len(results)],), kind="4 events", task=DELIVER_MANY)
    return endings_of(bundle, results)


def test_delivered_event_succeeds_with_its_result() -> None:
    ending = ending_of("m", DELIVERED)
    assert (ending.event, ending.id, ending.fields) == (
        "task-succeeded",
        "m",
        {"result": "'delivered'", "exception": None},
    )


def test_replayed_dead_letter_that_was_delivered_shows_no_exception() -> None:
    row = Task(uuid="m")
    message = Message(id="m", args=({"type": "page"},))
    for clock, each in enumerate(
        [received(message), ending_of("m", DIED), received(message), ending_of("m", DELIVERED)]
    ):
        row.event(each.event.removeprefix("task-"), clock, clock, each.fields)
    assert (row.state, row.result, row.exception) == ("SUCCESS", "'delivered'", None)


def test_rescheduled_event_is_a_retry_with_reason_and_due_time() -> None:
    ending = ending_of("m", WAITS)
    text = "unavailable (503): no; next try 2026-01-02 03:04:05 UTC"
    assert (ending.event, ending.id) == ("task-retried", "m")
    assert ending.fields == {
        "exception": f"RetryScheduled('{text}')",
        "traceback": "",
        "result": f"'{text}'",
        "eta": "2026-01-02T03:04:05+00:00",
    }


def test_dead_letter_fails_with_its_reason_in_what_flower_searches() -> None:
    ending = ending_of("m", DIED)
    assert (ending.event, ending.fields["exception"], ending.fields["result"]) == (
        "task-failed",
        "DeadLettered('rejected (400): no')",
        "'rejected (400): no'",
    )


def test_bundle_whose_events_are_all_done_is_one_task_event() -> None:
    [ending] = bundle_endings(DELIVERED, Done("skipped: no_email"), DELIVERED)
    assert (ending.event, ending.id, ending.fields) == (
        "task-succeeded",
        "b",
        {"result": "'2 delivered, 1 skipped: no_email'", "exception": None},
    )


def test_bundle_with_a_dead_letter_fails_and_says_how_many_ended_how() -> None:
    ending = bundle_endings(DELIVERED, DELIVERED, WAITS, DIED)[0]
    text = "2 delivered, 1 delayed, 1 dead letter: rejected"
    assert (ending.event, ending.id) == ("task-failed", "b")
    assert ending.fields == {
        "exception": f"DeadLettered('{text}')",
        "traceback": "",
        "result": f"'{text}'",
    }


def test_bundle_with_waiting_events_is_a_retry_until_the_first_is_due() -> None:
    later = Rescheduled("locked", DUE + timedelta(hours=1))
    ending = bundle_endings(later, WAITS, DELIVERED)[0]
    assert (ending.event, ending.fields["result"], ending.fields["eta"]) == (
        "task-retried",
        "'2 delayed, 1 delivered'",
        "2026-01-02T03:04:05+00:00",
    )


def test_each_event_of_a_bundle_that_waits_or_died_is_a_child_task() -> None:
    _, *children = bundle_endings(DELIVERED, WAITS, DIED, DELIVERED)
    assert [(each.event, each.id) for each in children] == [
        ("task-received", "own"),
        ("task-retried", "own"),
        ("task-received", "b.2"),
        ("task-failed", "b.2"),
    ]
    assert children[1:4:2] == [ending_of("own", WAITS), ending_of("b.2", DIED)]
    for each, kind in ((children[0], "page"), (children[2], "not an event")):
        assert (each.fields["name"], each.fields["args"]) == ("signal.deliver", kind)
        assert (each.fields["parent_id"], each.fields["root_id"]) == ("b", "b")


def test_empty_bundle_ends_as_a_success() -> None:
    [ending] = bundle_endings()
    fields = {"result": "'no events'", "exception": None}
    assert (ending.event, ending.fields) == ("task-succeeded", fields)


@pytest.mark.parametrize(("requeues", "cleared"), [(0, False), (2, True)])
def test_next_try_clears_what_the_last_try_said(
    requeues: int,
    cleared: bool,  # noqa: FBT001
) -> None:
    fields = received(Message(id="m", args=(), requeues=requeues, bundle="b")).fields
    assert fields["parent_id"] == "b"
    assert ({"result", "exception"} <= set(fields)) is cleared
    assert fields["eta"] is None
