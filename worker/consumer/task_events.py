"""Task events: what Flower is sent when a message is fetched, and when it ends.

A message is a task. So is each event of a bundle that waits or dies, as a child of the bundle; the
events of a bundle that are done are counted in the bundle's result, and cost no task event.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, assert_never

from worker.delivery.event_delivery import Buried, Rescheduled, Result
from worker.delivery.retry_policy import Done
from worker.printable import printable
from worker.privacy import redacted, whereabouts
from worker.queue.message import Message, each_event

logger = logging.getLogger("signal_mailgun.worker")


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
        id: The id of the task.
        fields: Its fields, besides those that every task event has.
    """

    event: str
    id: str
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
        "root_id": message.bundle or message.id,
        "parent_id": message.bundle,
        "retries": message.requeues,
        "eta": None,
        "expires": None,
    }
    if message.requeues:  # what its last try said is over
        fields |= {"result": None, "exception": None}
    return TaskEvent("task-received", message.id, fields)


def endings_of(message: Message, results: Sequence[Result]) -> list[TaskEvent]:
    """Return the task events of a message that has ended: its own, then those of a bundle's events.

    Args:
        message: The message.
        results: The result of each of its events, in order.
    """
    if not message.is_bundle:
        return [ending_of(message.id, each) for each in results]
    return [_bundle_ending(message.id, results), *_children(message, results)]


def bundle_summary(results: Sequence[Result]) -> str:
    """Return the number of a bundle's events by result, the most first."""
    counts = Counter(map(_result_label, results)).most_common()
    return ", ".join(f"{count} {label}" for label, count in counts) or "no events"


def _children(bundle: Message, results: Sequence[Result]) -> Iterator[TaskEvent]:
    """Yield the task events of the bundle's events that wait or died."""
    if all(isinstance(each, Done) for each in results):
        return
    for event, result in zip(each_event(bundle), results, strict=True):
        if not isinstance(result, Done):
            yield received(event)
            yield ending_of(event.id, result)


def ending_of(id: str, result: Result) -> TaskEvent:
    """Return the task event of an event that ended with this result."""
    match result:
        case Done(text):
            return _succeeded(id, str(text))
        case Rescheduled(why, due):
            text = f"{why}; next try {due:%Y-%m-%d %H:%M:%S} UTC"
            return _unfinished("task-retried", id, RetryScheduled(text), due)
        case Buried(why):
            return _unfinished("task-failed", id, DeadLettered(why))
        case _:
            assert_never(result)


def _bundle_ending(id: str, results: Sequence[Result]) -> TaskEvent:
    """Return the task event of a bundle itself.

    It is a failure if an event of it died, else a retry until the first due time if one waits.
    """
    text = bundle_summary(results)
    if any(isinstance(each, Buried) for each in results):
        return _unfinished("task-failed", id, DeadLettered(text))
    if dues := [each.due for each in results if isinstance(each, Rescheduled)]:
        return _unfinished("task-retried", id, RetryScheduled(text), min(dues))
    return _succeeded(id, text)


def _succeeded(id: str, text: str) -> TaskEvent:
    """Return the task event of a task that succeeded, perhaps after a replay."""
    # Celery's state keeps what a failure said, unless it is told otherwise.
    return TaskEvent("task-succeeded", id, {"result": repr(text), "exception": None})


def _unfinished(event: str, id: str, error: Exception, due: datetime | None = None) -> TaskEvent:
    """Return the task event of a task that did not succeed.

    Flower searches results, and no exceptions; so the text is both.
    """
    text = str(error)
    fields = {"exception": repr(error), "traceback": "", "result": repr(text)}
    if due:
        fields["eta"] = due.astimezone(UTC).isoformat(timespec="seconds")
    return TaskEvent(event, id, fields)


def is_watched(dispatcher: Any) -> bool:
    """Return True if Flower, or another program, watches this worker.

    Args:
        dispatcher: Celery's event dispatcher; None if the worker has none.
    """
    if not dispatcher or not dispatcher.enabled:
        return False
    return not dispatcher.groups or "task" in dispatcher.groups


def send_received(dispatcher: Any, message: Message) -> None:
    """Send the task event of a message that was fetched."""
    _send(dispatcher, message, lambda: [received(message)])


def send_endings(
    dispatcher: Any, message: Message, results: Sequence[Result], seconds: float
) -> None:
    """Send the task events of a message that has ended, so many seconds after its fetch."""
    _send(
        dispatcher, message, lambda: [each.after(seconds) for each in endings_of(message, results)]
    )


def _send(dispatcher: Any, message: Message, events: Callable[[], Sequence[TaskEvent]]) -> None:
    """Send task events of a message. An error is logged, because Celery's loop must go on."""
    try:
        for each in events():
            dispatcher.send(each.event, uuid=each.id, **each.fields)
    except Exception as error:  # noqa: BLE001  it may be any
        logger.error(
            "a bug: Flower was not told of an event, please report it",
            extra={"event": message.id, "error": whereabouts(error)},
        )


def _result_label(result: Result) -> str:
    match result:
        case Done(text):
            return str(text)
        case Rescheduled():
            return "delayed"
        case Buried(why):
            return f"dead letter: {why.partition(' ')[0].rstrip(':')}"
        case _:
            assert_never(result)
