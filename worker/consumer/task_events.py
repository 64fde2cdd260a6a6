"""Task events: what Flower is sent when a message ends, in Celery's terms."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from worker.delivery.event_delivery import Buried, Rescheduled, Result
from worker.delivery.retry_policy import Done


class DeadLettered(Exception):
    """The exception that Flower shows for an event on the dead-letter queue; its text says why."""


class RetryScheduled(Exception):
    """The exception that Flower shows for a delayed event; its text says why and until when."""


@dataclass(frozen=True)
class TaskEvent:
    """One of Celery's task events.

    https://docs.celeryq.dev/en/stable/userguide/monitoring.html#task-events

    Attributes:
        event: The type of the event, such as `task-succeeded`.
        fields: Its fields, besides those that every task event has.
    """

    event: str
    fields: dict[str, str]


def ending_of(handled: Result) -> TaskEvent:
    """Return the task event of a message whose one event ended with this result."""
    match handled:
        case Done(result):
            return TaskEvent("task-succeeded", {"result": repr(str(result))})
        case Rescheduled(why, due):
            text = f"{why}; next try {due:%Y-%m-%d %H:%M:%S} UTC"
            return TaskEvent(
                "task-retried", {"exception": repr(RetryScheduled(text)), "traceback": ""}
            )
        case Buried(why):
            return TaskEvent("task-failed", {"exception": repr(DeadLettered(why)), "traceback": ""})
        case _:
            assert_never(handled)


def ending_of_bundle(handled: Sequence[Result]) -> TaskEvent:
    """Return the task event of a bundle: the number of its events by result.

    The bundle has succeeded; a delayed event of it goes on as a message of its own.
    """
    counts = Counter(map(_said, handled)).most_common()
    return TaskEvent(
        "task-succeeded",
        {"result": repr(", ".join(f"{said} {count}" for said, count in counts) or "no events")},
    )


def _said(handled: Result) -> str:
    match handled:
        case Done(result):
            return str(result)
        case Rescheduled():
            return "delayed"
        case Buried(why):
            return f"dead letter: {why.partition(' ')[0].rstrip(':')}"
        case _:
            assert_never(handled)
