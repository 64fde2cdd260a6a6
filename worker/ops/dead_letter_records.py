"""A dead letter as values for people and programs, without what the event holds."""

from dataclasses import asdict
from typing import Any

from worker.ops.attempts import attempt_history_of
from worker.queue.dead_letter import DeadLetter
from worker.queue.intake import events_read


def as_record(buried: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as JSON values.

    Leaves out the event, and shortens Mailgun's answer to its summary, since the answer may quote
    the event.
    """
    message = buried.message
    letter = {**asdict(buried.letter), "answer": buried.letter.summary}
    return {
        "id": message.id,
        "kind": message.kind,
        **letter,
        "attempt_history": attempt_history_of(message),
    }


def events_of(buried: DeadLetter) -> list[Any]:
    """Return the events of a dead letter that can be read, as they were sent."""
    return [argument for each in events_read(buried.message) for argument in each.args]
