"""Load of a worker: the weights of messages in hand that its kombu channel does not count.

These are events that waited for members, and messages that an earlier channel fetched. A channel
counts the messages that it fetched itself. It fetches no more than there is room for beside both,
and a message that has to be alone waits until both have ended.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from worker.queue.message import Message
from worker.queue.poison import ALONE_AFTER

if TYPE_CHECKING:
    from worker.consumer.room import Room


class Weight(NamedTuple):
    """The share of a worker's room that one message in hand takes.

    Attributes:
        events: The number of events.
        bytes: The size of the message.
        alone: No other message is fetched while this one is in hand.
    """

    events: int = 1
    bytes: int = 0
    alone: bool = False


NO_WEIGHT = Weight(0)


def weight_of(message: Message, size: int, events: int) -> Weight:
    """Return the weight of a message.

    Args:
        message: The message as it was read.
        size: Its bytes as it lay on Redis; its body may have more once it is unpacked.
        events: The number of events that it takes the room of.
    """
    return Weight(events, max(size, message.size), message.returns >= ALONE_AFTER)


class Weights:
    """The weights of messages by their delivery tags. Safe to share between threads.

    Attributes:
        events: The number of events of all messages together.
        bytes: Their bytes.
        loners: The number of messages beside which no other is fetched.
    """

    def __init__(self) -> None:
        """Start with no messages."""
        self.events = self.bytes = self.loners = 0
        self._by_tag: dict[str, Weight] = {}
        self._lock = Lock()

    @property
    def messages(self) -> int:
        """The number of messages."""
        return len(self._by_tag)

    def add(self, weights: Mapping[str, Weight]) -> None:
        """Count these messages, too."""
        with self._lock:
            for tag, weight in weights.items():
                self._count(self._by_tag.pop(tag, NO_WEIGHT), -1)
                self._count(weight, 1)
                self._by_tag[tag] = weight

    def remove(self, tags: Iterable[str]) -> None:
        """Stop counting these messages; tags that were not counted are ignored."""
        with self._lock:
            for tag in tags:
                self._count(self._by_tag.pop(tag, NO_WEIGHT), -1)

    def _count(self, weight: Weight, times: int) -> None:
        events, its_bytes, alone = weight
        self.events += times * events
        self.bytes += times * its_bytes
        self.loners += times * alone


class Load(Weights):
    """The weights of the messages in hand that the channel does not count.

    Attributes:
        room: How many events the worker may have in hand; None: as many as its prefetch count.
    """

    def __init__(self) -> None:
        """Start with no messages."""
        super().__init__()
        self.room: Room | None = None

    def most_events(self, prefetch_count: int) -> int:
        """Return how many events the worker may have in hand.

        Args:
            prefetch_count: The prefetch count of the channel. If an option of the command line or
                an operator has set it to something else than the least room, it counts.
        """
        room = self.room
        return room.events if room and room.least == prefetch_count else prefetch_count


@lru_cache(maxsize=1)
def load() -> Load:
    """Return the load of this process."""
    return Load()
