"""Task events: what Flower is sent when a message is fetched, and when it ends."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

from worker.delivery.event_delivery import Buried, Rescheduled, Result
from worker.delivery.retry_policy import Done
from worker.printable import printable
from worker.privacy import redacted
from worker.queue.message import Message


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
    fields: dict[str, Any]

    def after(self, seconds: float) -> "TaskEvent":
        """Return the event with the seconds since the fetch, which Celery sends of a success."""
        if self.event != "task-succeeded":
            return self
        return replace(self, fields={**self.fields, "runtime": seconds})


def received(message: Message) -> TaskEvent:
    """Return the task event of a message that was fetched."""
    fields = {
        "name": message.task,
        "args": printable(redacted(message.kind)),
        "kwargs": "{}",
        "root_id": message.id,
        "parent_id": None,
        "retries": message.requeues,
        "eta": None,
        "expires": None,
    }
    return TaskEvent("task-received", fields)


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
    counts = Counter(map(_result_label, handled)).most_common()
    result = ", ".join(f"{label} {count}" for label, count in counts) or "no events"
    return TaskEvent("task-succeeded", {"result": repr(result)})


def is_watched(dispatcher: Any) -> bool:
    """Return True if Flower, or another program, watches this worker.

    Args:
        dispatcher: Celery's event dispatcher; None if the worker has none.
    """
    if not dispatcher or not dispatcher.enabled:
        return False
    return not dispatcher.groups or "task" in dispatcher.groups


def send(dispatcher: Any, event: TaskEvent, id: str) -> None:
    """Send a task event of the message with this id."""
    dispatcher.send(event.event, uuid=id, **event.fields)


def _result_label(handled: Result) -> str:
    match handled:
        case Done(result):
            return str(result)
        case Rescheduled():
            return "delayed"
        case Buried(why):
            return f"dead letter: {why.partition(' ')[0].rstrip(':')}"
        case _:
            assert_never(handled)
