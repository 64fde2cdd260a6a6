"""What rows of all lists show of a message: short, on one line each, without personal data."""

from worker.printable import printable
from worker.privacy import redacted, shortened
from worker.queue.dead_letter_filter import addresses_in
from worker.queue.message import Message
from worker.signal.preset import Preset


def fit(text: str) -> str:
    """Return a text that another program may have written as one visible line without addresses."""
    return printable(redacted(text))


def member_in(message: Message, preset: Preset | None) -> str:
    """Return the address of the message's first event, shortened.

    Args:
        message: The message.
        preset: The preset by which addresses are read; None: the default preset.
    """
    return printable(shortened(next(iter(addresses_in(message, preset)), "")))
