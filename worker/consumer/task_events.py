"""How a message's end is told in Celery's terms, for Flower: the state of the task, and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from worker.delivery.event_delivery import Buried, Rescheduled, Result
from worker.delivery.retry_policy import Done


class DeadLettered(Exception):
    """The event is on the dead-letter queue; the text says why."""


class RetryScheduled(Exception):
    """The event is delayed; the text says why and until when."""


@dataclass(frozen=True)
class TaskEvent:
    """An event of Celery's, and its fields: https://docs.celeryq.dev/en/stable/userguide/monitoring.html#task-events"""

    event: str
    fields: dict[str, str]


def ending_of(handled: Result) -> TaskEvent:
    """The end of a message whose event ended so."""
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
    """The end of a bundle: how many of its events ended how. Each goes on by itself where it has not ended."""
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
