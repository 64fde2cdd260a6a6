"""Search for events in Redis, to explain or to erase them.

It goes through the queue, the delay queue, the dead-letter queue, the messages in flight, and the
ledger.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

from worker.members.entry import forget
from worker.members.ledger import Ledger
from worker.queue.dead_letter import DeadLetter
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.intake import events_read, parse_raw, without
from worker.queue.message import Message
from worker.queue.priority_lists import PriorityLists
from worker.redis_client.keys import Keys
from worker.redis_client.lua import ALLOW_WHEN_FULL, script

if TYPE_CHECKING:
    import redis

# Messages read at a time; a bundle may take a third of a megabyte.
PAGE = 100
Predicate = Callable[[Message], bool]

REPLACE_QUEUED = ALLOW_WHEN_FULL + script("worker.ops", "replace_queued")


@dataclass(frozen=True)
class Match:
    """A message with wanted events.

    Attributes:
        raw: The message as it lies in Redis.
        events: Its wanted events.
    """

    raw: str
    events: list[Message]


@dataclass(frozen=True)
class EventSearch:
    """The places of one integration where an event can lie.

    A predicate tells whether an event, or a message as a whole, is looked for.
    """

    redis: "redis.Redis"
    integration: str
    queue: str
    ledger: Ledger

    @cached_property
    def delay_queue(self) -> DelayQueue:
        """Return the delay queue."""
        return DelayQueue(self.redis, self.integration, self.queue)

    @cached_property
    def dead_letters(self) -> DeadLetterQueue:
        """Return the dead-letter queue."""
        return DeadLetterQueue(self.redis, self.integration, self.queue)

    @cached_property
    def priorities(self) -> PriorityLists:
        """Return the lists of messages with a priority that are not on the queue yet."""
        return PriorityLists(self.redis, self.integration, self.queue)

    def queued(self, predicate: Predicate) -> Iterator[tuple[int, Match]]:
        """Yield the wanted events on the queue.

        It reads the queue once, while workers and producers change it.

        Yields:
            The number of messages before a match, and the match.
        """
        before = 0
        for name in (self.queue, *self.priorities.counts()):
            length = self.redis.llen(name)
            for start in range(0, length, PAGE):
                page = cast("list[str]", self.redis.lrange(name, -start - PAGE, -start - 1))
                for place, raw in enumerate(reversed(page), start):
                    yield from ((before + place, found) for found in matches_in(raw, predicate))
            before += length

    def in_flight(self, predicate: Predicate) -> int:
        """Return how many of the wanted events workers have in hand now."""
        key = Keys(self.integration).in_flight
        in_flight = cast("Iterator[tuple[str, str]]", self.redis.hscan_iter(key))
        return sum(
            len(found.events) for _, raw in in_flight for found in matches_in(raw, predicate)
        )

    def delayed(self, predicate: Predicate) -> Iterator[tuple[Match, float]]:
        """Return the wanted events that are delayed, each with its due time in epoch seconds."""
        return (
            (found, due)
            for raw, due in self.delay_queue.waiting()
            for found in matches_in(raw, predicate)
        )

    def waits(self, address: str, raw: str) -> bool:
        """Return True if this message waits only for another delivery of its member to end."""
        key = self.ledger.keys.waiting_for(self.ledger.digest_of(address))
        return self.redis.zscore(key, raw) is not None

    def dead(self, predicate: Predicate) -> Iterator[DeadLetter]:
        """Return the wanted dead letters, the oldest first."""
        return (
            buried
            for buried in self.dead_letters.oldest_first()
            if matching_events(buried.message, predicate)
        )

    def forget(self, address: str, predicate: Predicate) -> dict[str, int]:
        """Erase the events and the ledger entry of one person; other persons' events stay in place.

        Events that a worker has in flight are only counted. The search goes through the places
        twice, in the order in which an event moves, so that it meets one that moves meanwhile.

        Returns:
            The place → how many events were erased there; for `ledger`, how many records; for
            `in flight`, how many events workers have in hand.
        """
        found = dict.fromkeys(("queue", "delayed", "dead letters", "ledger"), 0)
        for _ in range(2):
            self.priorities.drain(sum(self.priorities.counts().values()))
            found["queue"] += sum(
                self._erase_queued(*each, predicate) for each in list(self.queued(predicate))
            )
            found["delayed"] += sum(
                self._erase_delayed(each, predicate) for each, _ in list(self.delayed(predicate))
            )
            found["dead letters"] += self._erase_dead(list(self.dead(predicate)), predicate)
            found["ledger"] += forget(self.ledger, address)
        return {**found, "in flight": self.in_flight(predicate)}

    def unread(self) -> dict[str, int]:
        """Return the place → how many messages lie there of which no event can be read.

        The search cannot tell whose data such a message holds. Places without one are left out.
        """
        counts = {
            "queue": sum(1 for _ in self.queued(is_unread)),
            "delayed": sum(1 for _ in self.delayed(is_unread)),
            "dead letters": sum(1 for _ in self.dead(is_unread)),
            "in flight": self.in_flight(is_unread),
        }
        return {place: count for place, count in counts.items() if count}

    def _erase_queued(self, before: int, found: Match, predicate: Predicate) -> int:
        replaced = self.redis.eval(
            REPLACE_QUEUED, 1, self.queue, found.raw, str(before), without(found.raw, predicate)
        )
        return len(found.events) * int(cast("int", replaced))

    def _erase_dead(self, found: list[DeadLetter], predicate: Predicate) -> int:
        """Purge these dead letters; if one holds other persons' events, too, bury these first."""
        for each in found:
            rest = rest_of(each, predicate)
            if rest:
                self.dead_letters.bury([(rest, each.letter)])
        return self.dead_letters.purge(found)

    def _erase_delayed(self, found: Match, predicate: Predicate) -> int:
        return len(found.events) * self.delay_queue.replace(
            found.raw, without(found.raw, predicate)
        )


def is_unread(message: Message) -> bool:
    """Return True if the message could not be read, and no event of it can be."""
    return message.original is not None and not events_read(message)


def matches_in(raw: str, predicate: Predicate) -> list[Match]:
    """Return the message in `raw` with its wanted events, or an empty list if it has none.

    A bundle, or a message that cannot be read, may be wanted as a whole.
    """
    events = matching_events(parse_raw(raw, str), predicate)
    return [Match(raw, events)] if events else []


def rest_of(buried: DeadLetter, predicate: Predicate) -> Message | None:
    """Return a dead letter without its unwanted events, or None if nothing is left.

    A bundle on the dead-letter queue is one that could not be read, or that another program put
    there.
    """
    message = buried.message
    left = without(buried.raw if message.original is None else message.original, predicate)
    if not left:
        return None
    if message.original is None:
        return parse_raw(left, lambda: message.id)
    return replace(message, original=left)


def matching_events(message: Message, predicate: Predicate) -> list[Message]:
    """Return the wanted events of `message`, or all if it is wanted as a whole.

    Of a message that could not be read, they are the events that can be read, or the message itself
    if there are none.
    """
    whole = predicate(message)
    return [each for each in events_read(message) if whole or predicate(each)] or [message] * whole
