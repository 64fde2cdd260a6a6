"""What rows of all lists show of a message: short, on one line each, without personal data."""

from dataclasses import dataclass

from worker.printable import printable
from worker.privacy import redacted, shortened
from worker.queue.dead_letter_filter import addresses_in
from worker.queue.intake import shown_id
from worker.queue.message import Message
from worker.signal.preset import Preset


@dataclass(frozen=True)
class Row:
    """What every list shows of a message. `key` finds it again; `member` is shortened."""

    key: str
    id: str
    kind: str
    member: str


def shown_of(message: Message, key: object, preset: Preset | None) -> Row:
    """Return what every list shows of a message.

    Args:
        message: The message.
        key: Its key, which is written as text.
        preset: The preset by which addresses are read; None: the default preset.
    """
    member = shortened(next(iter(addresses_in(message, preset)), ""))
    return Row(str(key), shown_id(message.id), fit(message.kind), printable(member))


def fit(text: str) -> str:
    """Return a text that another program may have written as one visible line without addresses."""
    return printable(redacted(text))
