"""Waiting events: those of a locked member, fetched together once the member's lease is released.

Each of them lies in `Keys.delayed`, due when it goes on in any case. `Keys.waiting_for` and
`Keys.waiting` only tell which member an event waits for, and when to look whether that member is
free. If Redis loses them, the events start later.

The release of a lease marks the member, so that a worker looks at it at once (release.lua). A lease
that ends by time, because its worker died, is noticed about a second later. One script takes an
event from where it waited and notes it as in hand. `Keys.adopted` keeps the script's reply for a
minute, in case the reply is lost.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from uuid import uuid4

import redis

from worker.members.ledger import Ledger
from worker.queue.codec import encode
from worker.queue.delay_queue import DelayQueue
from worker.queue.message import Message
from worker.queue.poison import ALONE_AFTER
from worker.redis_client.lua import ALLOW_WHEN_FULL, script

MEMBERS_AT_ONCE = 20
EVENTS_AT_ONCE = 500  # of one member
REPLY_BYTES = 8 * 1024 * 1024
# After the longest lease, so that an event goes on by itself only if it was overlooked.
MARGIN_SECONDS = 10.0

WAIT = ALLOW_WHEN_FULL + script("worker.delivery", "wait")
ADOPT = ALLOW_WHEN_FULL + script("worker.delivery", "adopt")


@dataclass(frozen=True)
class Waiting:
    """The events of one integration that wait for locked members.

    Attributes:
        ledger: The ledger that leases the members.
        delay_queue: The delay queue of the integration.
        in_flight: The keys of the messages in hand: of the index, and of the messages.
        unanswered: The tokens of fetches whose reply was lost.
    """

    ledger: Ledger
    delay_queue: DelayQueue
    in_flight: tuple[str, str]
    unanswered: deque[str] = field(default_factory=deque)

    def wait(self, events: Sequence[tuple[str, Message]]) -> float:
        """Keep each message until the member of its address is free.

        Args:
            events: Pairs of the member's address and the message.

        Returns:
            When the events go on in any case, epoch seconds by Redis's clock.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        of_each = (
            (self.ledger.digest_of(address), encode(message, self.delay_queue.queue))
            for address, message in events
        )
        longest = self.ledger.lease_seconds + MARGIN_SECONDS
        free, due = self._run(
            WAIT, [self.delay_queue.key], self._prefix, longest, *chain.from_iterable(of_each)
        )
        if free:
            self.ledger.awaited.set()
        return float(due)

    def adopt_awaited(
        self, room: int = REPLY_BYTES, *, idle: bool = True
    ) -> list[list[tuple[str, str]]]:
        """Do as `adopt` if this process has released a member that events wait for."""
        if not self.ledger.awaited.is_set():
            return []
        self.ledger.awaited.clear()
        return self.adopt(room, idle=idle)

    def adopt(self, room: int = REPLY_BYTES, *, idle: bool = True) -> list[list[tuple[str, str]]]:
        """Fetch the events whose members are free by now, as far as the gate allows.

        For each member, the requests of one event are charged.

        Args:
            room: The bytes that the messages may have together.
            idle: The worker has no message in hand, so the first message may have more bytes.

        Returns:
            For each member its messages as they lay in Redis, the oldest first, each with its
            delivery tag.

        Raises:
            redis.RedisError: Redis did not answer. The next call asks for the same messages.
        """
        keys = [*self.in_flight, self.delay_queue.key, self.delay_queue.queue]
        token = self.unanswered.popleft() if self.unanswered else uuid4().hex
        try:
            bounds = MEMBERS_AT_ONCE, EVENTS_AT_ONCE, min(room, REPLY_BYTES), ALONE_AFTER, int(idle)
            found = self._run(ADOPT, keys, self._prefix, token, *bounds)
        except redis.RedisError:
            self.unanswered.append(token)
            raise
        if len(found) >= MEMBERS_AT_ONCE:
            self.ledger.awaited.set()  # there may be more
        of_each = [[(str(raw), str(tag)) for raw, tag in events if raw] for events in found]
        return [events for events in of_each if events]

    @property
    def _prefix(self) -> str:
        return self.ledger.keys.prefix

    def _run(self, body: str, keys: Sequence[str], *args: Any) -> Any:
        return self.ledger.gate.run(body, [*keys, self.ledger.keys.waiting], *args)
