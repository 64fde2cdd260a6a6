"""Where events lie in Redis, to explain or to erase them: the queue, in flight, delayed, dead letters, the ledger."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

from worker.gate.gate import ALLOW_WHEN_FULL
from worker.members.ledger import Ledger, LedgerEntry
from worker.queue.dead_letters import DeadLetter, DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.intake import events_read, parse_raw, without
from worker.queue.message import Message
from worker.queue.priority_lists import PriorityLists
from worker.redis_client.keys import Keys
from worker.redis_client.lua import script

if TYPE_CHECKING:
    import redis

PAGE = 100  # messages read at a time; a bundle may take a third of a megabyte
Wanted = Callable[[Message], bool]

REPLACE_QUEUED = ALLOW_WHEN_FULL + script("worker.ops", "replace_queued")


@dataclass(frozen=True)
class Match:
    """A message in which wanted events lie."""

    raw: str
    events: list[Message]  # the wanted ones


@dataclass(frozen=True)
class EventSearch:
    """Every place of one integration where an event can lie."""

    redis: "redis.Redis"
    integration: str
    queue: str
    ledger: Ledger

    @cached_property
    def delay_queue(self) -> DelayQueue:
        """The delayed events."""
        return DelayQueue(self.redis, self.integration, self.queue)

    @cached_property
    def dead_letters(self) -> DeadLetterQueue:
        """The dead letters."""
        return DeadLetterQueue(self.redis, self.integration, self.queue)

    @cached_property
    def priorities(self) -> PriorityLists:
        """What was sent with a priority and is not on the queue itself yet."""
        return PriorityLists(self.redis, self.integration, self.queue)

    @property
    def unacked_key(self) -> str:
        """What workers have taken and not acknowledged."""
        return Keys(self.integration).in_flight

    def queued(self, wanted: Wanted) -> Iterator[tuple[int, Match]]:
        """The wanted events on the queue, and how many messages are before theirs. Seen once while others take and put."""
        before = 0
        for name in (self.queue, *self.priorities.counts()):
            length = self.redis.llen(name)
            for start in range(0, length, PAGE):
                page = cast("list[str]", self.redis.lrange(name, -start - PAGE, -start - 1))
                for place, raw in enumerate(reversed(page), start):
                    yield from ((before + place, found) for found in found_in(raw, wanted))
            before += length

    def in_flight(self, wanted: Wanted) -> int:
        """How many of the wanted events a worker has now."""
        taken = cast("Iterator[tuple[str, str]]", self.redis.hscan_iter(self.unacked_key))
        return sum(len(found.events) for _, raw in taken for found in found_in(raw, wanted))

    def delayed(self, wanted: Wanted) -> Iterator[tuple[Match, float]]:
        """The wanted events that are delayed, with the due times of their messages."""
        return (
            (found, due)
            for raw, due in self.delay_queue.waiting()
            for found in found_in(raw, wanted)
        )

    def waits(self, address: str, raw: str) -> bool:
        """Return whether this delayed message waits only for another delivery of its member to end."""
        return (
            self.redis.zscore(self.ledger.keys.waiting_for(self.ledger.digest_of(address)), raw)
            is not None
        )

    def dead(self, wanted: Wanted) -> Iterator[DeadLetter]:
        """The wanted dead letters, oldest first."""
        return (
            buried
            for buried in self.dead_letters.oldest_first()
            if wanted_in(buried.message, wanted)
        )

    def known(self, address: str) -> LedgerEntry | None:
        """What the ledger holds of a member."""
        return self.ledger.look_up(address)

    def forget(self, address: str, wanted: Wanted) -> dict[str, int]:
        """Erase a person everywhere; gives how many events, and records, were found where. Others' events stay where they are.

        What a worker has in flight is not touched, only counted. The places are gone through in the order in which an event
        moves, twice, so that one that moves meanwhile is met.
        """
        found = dict.fromkeys(("queue", "delayed", "dead letters", "ledger"), 0)
        for _ in range(2):
            self.priorities.drain(sum(self.priorities.counts().values()))
            found["queue"] += sum(
                self._erase_queued(*each, wanted) for each in list(self.queued(wanted))
            )
            found["delayed"] += sum(
                self._erase_delayed(each, wanted) for each, _ in list(self.delayed(wanted))
            )
            found["dead letters"] += self._erase_dead(list(self.dead(wanted)), wanted)
            found["ledger"] += self.ledger.forget(address)
        return {**found, "in flight": self.in_flight(wanted)}

    def unread(self) -> dict[str, int]:
        """How many messages there are, and where, of which no event can be read: nothing is known of whose data they hold."""
        counts = {
            "queue": sum(1 for _ in self.queued(is_unread)),
            "delayed": sum(1 for _ in self.delayed(is_unread)),
            "dead letters": sum(1 for _ in self.dead(is_unread)),
            "in flight": self.in_flight(is_unread),
        }
        return {place: count for place, count in counts.items() if count}

    def _erase_queued(self, before: int, found: Match, unwanted: Wanted) -> int:
        replaced = self.redis.eval(
            REPLACE_QUEUED, 1, self.queue, found.raw, str(before), without(found.raw, unwanted)
        )
        return len(found.events) * int(cast("int", replaced))

    def _erase_dead(self, found: list[DeadLetter], unwanted: Wanted) -> int:
        """Take these away; where one holds others' events, too, what is left of it is buried before."""
        for each in found:
            rest = rest_of(each, unwanted)
            if rest:
                self.dead_letters.bury(rest, each.letter)
        return self.dead_letters.purge(found)

    def _erase_delayed(self, found: Match, unwanted: Wanted) -> int:
        return len(found.events) * self.delay_queue.replace(found.raw, without(found.raw, unwanted))


def is_unread(message: Message) -> bool:
    """Return True if no event can be read from what came."""
    return message.original is not None and not events_read(message)


def found_in(raw: str, wanted: Wanted) -> list[Match]:
    """The message in `raw` with its wanted events, or nothing; a bundle, or what cannot be read, may be wanted whole."""
    events = wanted_in(parse_raw(raw, str), wanted)
    return [Match(raw, events)] if events else []


def rest_of(buried: DeadLetter, unwanted: Wanted) -> Message | None:
    """What is left of a dead letter without its unwanted events; a bundle there is one that could not be read, or foreign."""
    message = buried.message
    left = without(buried.raw if message.original is None else message.original, unwanted)
    if not left:
        return None
    return (
        parse_raw(left, lambda: message.id)
        if message.original is None
        else replace(message, original=left)
    )


def wanted_in(message: Message, wanted: Wanted) -> list[Message]:
    """The wanted events of `message`, all where it is wanted as a whole; of one that could not be read those that can be."""
    whole = wanted(message)
    return [each for each in events_read(message) if whole or wanted(each)] or [message] * whole
