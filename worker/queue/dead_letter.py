"""A dead letter: a message with the header `dead_letter`, which says why and how it died."""

from dataclasses import asdict, dataclass
from typing import Any

from worker.mailgun.texts import ANSWER_LIMIT, shown
from worker.queue.codec import LATEST, DecodeError, decode, encode
from worker.queue.dead_letter_reasons import ADVICE, DeadLetterReason
from worker.queue.intake import parse_raw
from worker.queue.message import Message

UNKNOWN = "unknown"  # the reason of what another program put on the queue


@dataclass(frozen=True)
class DeadLetterInfo:
    """The `dead_letter` header: why and how an event became a dead letter.

    Attributes:
        reason: A `DeadLetterReason`, or what another program wrote.
        status: Mailgun's last HTTP status; None if there was none.
        answer: Mailgun's last answer, cut to 2 KiB, or if `status` is None this program's own text.
            May hold the address.
        cause: The likely cause.
        fix: What the operator can do.
        attempts: Attempts spent.
        first_seen: When the event was enqueued, in epoch seconds; None if the producer did not say.
        died_at: When the event became a dead letter, in epoch seconds.
        integration: The integration of the queue.
    """

    reason: str
    status: int | None
    answer: str
    cause: str
    fix: str
    attempts: int
    first_seen: float | None
    died_at: float
    integration: str

    @property
    def summary(self) -> str:
        """The answer without personal data, to be shown elsewhere than beside the letter."""
        return self.answer if self.status is None else shown(self.answer)


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter as it was read from the queue.

    Attributes:
        message: The message.
        letter: Why it became a dead letter.
        raw: The entry's text in Redis, by which it is found again.
        place: Its index when it was read, counted from the end of the queue: -1 is the oldest. A
            hint: the entry may have moved since.
    """

    message: Message
    letter: DeadLetterInfo
    raw: str
    place: int = 0


def dead_letter(
    reason: DeadLetterReason,
    message: Message,
    *,
    status: int | None,
    answer: str,
    died_at: float,
    integration: str,
) -> DeadLetterInfo:
    """Return the `dead_letter` header for `message`, with the likely cause and the fix of `reason`.

    Args:
        reason: Why the event cannot be delivered.
        message: The message to be buried.
        status: Mailgun's last HTTP status; None if there was none.
        answer: Mailgun's last answer, or this program's own text; cut to `ANSWER_LIMIT`.
        died_at: The moment of the burial, in epoch seconds.
        integration: The integration of the queue.
    """
    cause, fix = ADVICE[reason]
    return DeadLetterInfo(
        reason,
        status,
        answer[:ANSWER_LIMIT],
        cause,
        fix,
        message.attempts,
        message.enqueued_at,
        died_at,
        integration,
    )


def again(message: Message, queue: str, now: float) -> str:
    """Return the text of `message` for a replay; if it could not be read, its original text."""
    return (
        encode(message.reset_for_replay(now), queue)
        if message.original is None
        else message.original
    )


def letter_in(raw: str, place: int = 0) -> DeadLetter:
    """Return the dead letter in `raw`, which was read at `place`.

    An entry that another program put there is read as a message of the queue, with an empty header.
    """
    try:
        message, headers = decode(raw)
        if isinstance(headers.get("dead_letter"), dict):
            return DeadLetter(message, _letter(headers["dead_letter"]), raw, place)
    except DecodeError:
        pass
    return DeadLetter(parse_raw(raw, lambda: "?"), _letter(None), raw, place)


def _letter(header: Any) -> DeadLetterInfo:
    """Return the `dead_letter` header; a field that has the wrong type is ignored."""
    known = header if isinstance(header, dict) else {}
    empty: dict[str, Any] = asdict(DeadLetterInfo(UNKNOWN, None, "", "", "", 0, None, 0.0, ""))
    return DeadLetterInfo(
        **{
            name: known[name] if _fits(name, known.get(name)) else each
            for name, each in empty.items()
        }
    )


def _fits(field: str, value: object) -> bool:
    if field in {"status", "attempts", "first_seen", "died_at"}:
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST
        )
    return isinstance(value, str)
