"""What a worker has in hand beside what its channel counts: events that waited for members, and what an earlier channel took.

A channel counts the messages that it took itself. It takes no more than there is room for beside these, and a message that is to
be alone waits for them, too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from worker.queue.message import Message
from worker.queue.poison import ALONE_AFTER


@dataclass(frozen=True, slots=True)
class Weight:
    """What a message in hand takes of the room that a worker has."""

    events: int = 1
    bytes: int = 0
    # No other is taken meanwhile.
    alone: bool = False


def weight_of(message: Message, size: int, events: int) -> Weight:
    """Return the weight of a message of `size` bytes that takes the room of so many events."""
    return Weight(events, max(size, message.size), message.returns >= ALONE_AFTER)


class Load:
    """The weights of messages by their delivery tags. Safe to share between threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._weights: dict[str, Weight] = {}

    def add(self, weights: Mapping[str, Weight]) -> None:
        """Count these, too."""
        self._weights.update(weights)

    def remove(self, tags: Iterable[str]) -> None:
        """Count these no more, as far as they were."""
        for tag in tags:
            self._weights.pop(tag, None)

    def weights(self) -> list[Weight]:
        """Return all of them."""
        return list(self._weights.values())


@lru_cache(maxsize=1)
def load() -> Load:
    """Return that of this process."""
    return Load()
