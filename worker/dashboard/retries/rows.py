"""A delayed event as a row of the list."""

from dataclasses import dataclass

from worker.dashboard.pages.rows import fit, member_in
from worker.ops.delayed_pages import key_of
from worker.queue.delay_queue import DelayedMessage
from worker.queue.intake import shown_id
from worker.signal.preset import Preset


@dataclass(frozen=True)
class Row:
    """What the list shows of an event. `key` finds the event again; `member` is shortened."""

    key: str
    id: str
    kind: str
    member: str
    since: float | None
    due: float
    reason: str
    status: int | None
    attempts: int


def row_of(delayed: DelayedMessage, secret: bytes, preset: Preset | None) -> Row:
    """Return the row of an event.

    Args:
        delayed: The event.
        secret: The key of the digest in the event's key.
        preset: The preset by which addresses are read; None: the default preset.
    """
    message = delayed.message
    return Row(
        key=str(key_of(delayed, secret)),
        id=shown_id(message.id),
        kind=fit(message.kind),
        member=member_in(message, preset),
        since=delayed.since,
        due=delayed.due,
        reason=fit(delayed.reason),
        status=int(delayed.status) if delayed.status else None,
        attempts=message.attempts,
    )
