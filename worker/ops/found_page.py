"""What one bounded step of a search through a queue finds."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")
Place = TypeVar("Place")

STEP = 500  # messages read at a time
# A step of a search ends at the first of these.
MOST_READ, MOST_SECONDS = 20_000, 1.0


@dataclass(frozen=True)
class FoundPage(Generic[Row, Place]):
    """One page of messages, or the part of it that one step of a search found.

    Attributes:
        rows: The messages that match, in the order of the search.
        read: Messages from the queue's first one to the last one that was read.
        total: Messages on the queue.
        next: The place at which the next step or page begins; None after the last message.
        is_full: It has as many rows as were asked for. If not, and `next` is not None, the search
            is not at its end.
    """

    rows: list[Row]
    read: int
    total: int
    next: Place | None
    is_full: bool
