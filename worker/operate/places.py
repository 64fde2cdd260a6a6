"""Where events lie in Redis, to explain or to erase them: the queue, in flight, parked, dead letters, the ledger."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

from worker.delivery.dead_letters import Buried, DeadLetters
from worker.delivery.flow import FREES
from worker.delivery.ledger import Entry, Ledger
from worker.delivery.message import Message, UnreadableMessage, decoded, events_in, with_events
from worker.delivery.parking import Parking

if TYPE_CHECKING:
    import redis

PAGE = 100  # messages read at a time; a bundle may take a third of a megabyte
Wanted = Callable[[Message], bool]

# A text on the queue, how many were before it when it was read, and what is to take its place; an empty text: nothing is.
REPLACE_QUEUED = (
    FREES
    + """
if ARGV[3] == '' then return redis.call('LREM', KEYS[1], -1, ARGV[1]) end
local place = -1 - ARGV[2]
if redis.call('LINDEX', KEYS[1], place) ~= ARGV[1] then place = redis.call('LPOS', KEYS[1], ARGV[1], 'RANK', -1) end
if not place then return 0 end
redis.call('LSET', KEYS[1], place, ARGV[3])
return 1
"""
)


@dataclass(frozen=True)
class Found:
    """A message in which wanted events lie."""

    raw: str
    events: list[Message]  # the wanted ones


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

    def queued(self, wanted: Wanted) -> Iterator[tuple[int, Found]]:
        """The wanted events on the queue, and how many messages are before theirs. Seen once while others take and put."""
        length = self.redis.llen(self.queue)
        for start in range(0, length, PAGE):
            page = cast("list[str]", self.redis.lrange(self.queue, -start - PAGE, -start - 1))
            for place, raw in enumerate(reversed(page), start):
                yield from ((place, found) for found in found_in(raw, wanted))

    def in_flight(self, wanted: Wanted) -> int:
        """How many of the wanted events a worker has now."""
        taken = cast("Iterator[tuple[str, str]]", self.redis.hscan_iter(self.unacked_key))
        return sum(len(found.events) for _, raw in taken for found in found_in(raw, wanted))

    def parked(self, wanted: Wanted) -> Iterator[tuple[Found, float]]:
        """The wanted events that are parked, with the due times of their messages."""
        return ((found, due) for raw, due in self.parking.waiting() for found in found_in(raw, wanted))

    def dead(self, wanted: Wanted) -> Iterator[Buried]:
        """The wanted dead letters, oldest first."""
        return (buried for buried in self.dead_letters.oldest_first() if wanted(buried.message))

    def known(self, address: str) -> Entry | None:
        """What the ledger holds of a member."""
        return self.ledger.look_up(address)

    def forget(self, address: str, wanted: Wanted) -> dict[str, int]:
        """Erase a person everywhere; gives how many events, and records, were found where. Others' events stay where they are.

        What a worker has in flight is not touched, only counted. The places are gone through in the order in which an event
        moves, twice, so that one that moves meanwhile is met.
        """
        found = dict.fromkeys(("queue", "parked", "dead letters", "ledger"), 0)
        for _ in range(2):
            found["queue"] += sum(self._erase_queued(*each, wanted) for each in list(self.queued(wanted)))
            found["parked"] += sum(self._erase_parked(each, wanted) for each, _ in list(self.parked(wanted)))
            found["dead letters"] += self.dead_letters.purge(list(self.dead(wanted)))
            found["ledger"] += self.ledger.forget(address)
        return {**found, "in flight": self.in_flight(wanted)}

    def _erase_queued(self, before: int, found: Found, unwanted: Wanted) -> int:
        replaced = self.redis.eval(REPLACE_QUEUED, 1, self.queue, found.raw, str(before), without(found.raw, unwanted))
        return len(found.events) * int(cast("int", replaced))

    def _erase_parked(self, found: Found, unwanted: Wanted) -> int:
        return len(found.events) * self.parking.replace(found.raw, without(found.raw, unwanted))


def found_in(raw: str, wanted: Wanted) -> list[Found]:
    """The message in `raw` with its wanted events, or nothing. What cannot be read is not wanted; a bundle may be, whole."""
    try:
        message = decoded(raw)[0]
    except UnreadableMessage:
        return []
    whole = wanted(message)
    events = [each for each in events_in(message) if whole or wanted(each)]
    return [Found(raw, events)] if events else []


def without(raw: str, unwanted: Wanted) -> str:
    """The message in `raw` without its unwanted events; "" where none is left."""
    left = [each.args[0] for each in events_in(decoded(raw)[0]) if not unwanted(each)]
    return with_events(raw, left) if left else ""
