"""How a message's end is told to Flower: each way of ending, and a bundle's count of them."""

from datetime import UTC, datetime

from worker.consumer.task_events import ending_of, ending_of_bundle
from worker.delivery.event_delivery import Buried, Rescheduled, Result
from worker.delivery.retry_policy import Done

DUE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_delivered_event_succeeds_with_its_result() -> None:
    ending = ending_of(Done("delivered"))
    assert (ending.event, ending.fields) == ("task-succeeded", {"result": "'delivered'"})


def test_rescheduled_event_is_a_retry_with_reason_and_due_time() -> None:
    ending = ending_of(Rescheduled("unavailable (503): no", DUE))
    assert ending.event == "task-retried"
    assert (
        ending.fields["exception"]
        == "RetryScheduled('unavailable (503): no; next try 2026-01-02 03:04:05 UTC')"
    )
    assert ending.fields["traceback"] == ""


def test_dead_letter_fails_with_its_reason() -> None:
    ending = ending_of(Buried("rejected (400): no"))
    assert (ending.event, ending.fields["exception"]) == (
        "task-failed",
        "DeadLettered('rejected (400): no')",
    )


def test_a_bundle_succeeds_and_counts_how_its_events_ended() -> None:
    handled: list[Result] = [
        Done("delivered"),
        Done("delivered"),
        Rescheduled("locked", DUE),
        Buried("rejected (400): no"),
        Buried("malformed_email: no"),
    ]
    ending = ending_of_bundle(handled)
    assert ending.event == "task-succeeded"
    assert ending.fields == {
        "result": "'delivered 2, delayed 1, dead letter: rejected 1, dead letter: malformed_email 1'"
    }


def test_empty_bundle_ends_as_a_success() -> None:
    assert ending_of_bundle([]).fields == {"result": "'no events'"}
