"""Where events lie in Redis, to explain or to erase them: the queue, in flight, parked, dead letters, the ledger."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

from worker.delivery.dead_letters import Buried, DeadLetters
from worker.delivery.ledger import Entry, Ledger
from worker.delivery.message import Message, UnreadableMessage, decoded
from worker.delivery.parking import Parking

if TYPE_CHECKING:
    import redis

PAGE = 1000
Wanted = Callable[[Message], bool]


@dataclass(frozen=True)
class Places:
    """Every place of one integration where an event can lie."""

    redis: "redis.Redis"
    integration: str
    queue: str
    ledger: Ledger

    @cached_property
    def parking(self) -> Parking:
        """The parked events."""
        return Parking(self.redis, self.integration, self.queue)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """The dead letters."""
        return DeadLetters(self.redis, self.integration, self.queue)

    @property
    def unacked_key(self) -> str:
        """What workers have taken and not acknowledged."""
        return f"signal:{self.integration}:unacked"

    def queued(self, wanted: Wanted) -> Iterator[tuple[int, str]]:
        """The wanted messages on the queue: how many are before each, and its text. Seen once while others take and put."""
        length = self.redis.llen(self.queue)
        for start in range(0, length, PAGE):
            page = cast("list[str]", self.redis.lrange(self.queue, -start - PAGE, -start - 1))
            yield from ((start + place, raw) for place, raw in enumerate(reversed(page)) if holds(raw, wanted))

    def in_flight(self, wanted: Wanted) -> int:
        """How many of the wanted messages a worker has now."""
        taken = cast("Iterator[tuple[str, str]]", self.redis.hscan_iter(self.unacked_key))
        return sum(1 for _, raw in taken if holds(raw, wanted))

    def parked(self, wanted: Wanted) -> Iterator[tuple[str, float]]:
        """The wanted messages that are parked, with their due times."""
        return ((raw, due) for raw, due in self.parking.waiting() if holds(raw, wanted))

    def dead(self, wanted: Wanted) -> Iterator[Buried]:
        """The wanted dead letters, oldest first."""
        return (buried for buried in self.dead_letters.oldest_first() if wanted(buried.message))

    def known(self, address: str) -> Entry | None:
        """What the ledger holds of a member."""
        return self.ledger.look_up(address)

    def forget(self, address: str, wanted: Wanted) -> dict[str, int]:
        """Erase a person everywhere; gives what was found where. What a worker has in flight is not touched, only counted.

        The places are gone through in the order in which an event moves, twice, so that one that moves meanwhile is met.
        """
        found = dict.fromkeys(("queue", "parked", "dead letters", "ledger"), 0)
        for _ in range(2):
            found["queue"] += sum(self.redis.lrem(self.queue, 0, raw) for _, raw in list(self.queued(wanted)))
            found["parked"] += sum(self.parking.remove(raw) for raw, _ in list(self.parked(wanted)))
            found["dead letters"] += self.dead_letters.purge(list(self.dead(wanted)))
            found["ledger"] += self.ledger.forget(address)
        return {**found, "in flight": self.in_flight(wanted)}


def holds(raw: str, wanted: Wanted) -> bool:
    """Is the message in `raw` wanted? What cannot be read is not."""
    try:
        return wanted(decoded(raw)[0])
    except UnreadableMessage:
        return False
