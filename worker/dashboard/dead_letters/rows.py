"""A dead letter as a row of the list."""

from dataclasses import dataclass

from worker.dashboard.pages.rows import fit, member_in
from worker.ops.dead_letter_pages import key_of
from worker.queue.dead_letter import DeadLetter
from worker.queue.intake import shown_id
from worker.signal.preset import Preset


@dataclass(frozen=True)
class Row:
    """What the list shows of a letter. `key` finds the letter again; `member` is shortened."""

    key: str
    id: str
    kind: str
    member: str
    died_at: float
    reason: str
    status: int | None
    attempts: int
    answer: str


def row_of(buried: DeadLetter, secret: bytes, preset: Preset | None) -> Row:
    """Return the row of a letter.

    Args:
        buried: The letter, read with its place.
        secret: The key of the digest in the letter's key.
        preset: The preset by which addresses are read; None: the default preset.
    """
    letter, message = buried.letter, buried.message
    return Row(
        key=str(key_of(buried, secret)),
        id=shown_id(message.id),
        kind=fit(message.kind),
        member=member_in(message, preset),
        died_at=letter.died_at,
        reason=fit(letter.reason),
        status=int(letter.status) if letter.status else None,
        attempts=int(letter.attempts),
        answer=fit(letter.summary),
    )
