"""Events whose members other deliveries have: they wait aside, and go on together once their member is free.

    signal:<integration>:delayed             sorted set   each of these events, due when it goes on in any case (delay_queue.py)
    signal:<integration>:waiting:<digest>   sorted set   message -> when it began to wait for this member, epoch seconds
    signal:<integration>:waiting            sorted set   digest -> when to look whether that member is free, epoch seconds
    signal:<integration>:adopted:<token>    string       what was taken on, should the reply be lost; a minute

The delayed events are what counts; the other two only say for which member each waits, so losing them costs time alone. Whoever
releases a member marks it to be looked at at once (close.lua). What a worker takes on is noted as in hand in the same step that
takes it from where it waited. A lease that ends by time, because its worker died, is noticed about a second later.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any
from uuid import uuid4

import redis

from worker.gate.gate import ALLOW_WHEN_FULL
from worker.members.ledger import Ledger
from worker.queue.delay_queue import DelayQueue
from worker.queue.message import Message, encode
from worker.queue.poison import ALONE_AFTER
from worker.redis_client.lua import script

MEMBERS_AT_ONCE = 20
EVENTS_AT_ONCE = 500  # of one member
REPLY_BYTES = 8 * 1024 * 1024
MARGIN_SECONDS = (
    10.0  # after the longest lease, so that an event goes on by itself only where it was overlooked
)

WAIT = ALLOW_WHEN_FULL + script("worker.delivery", "wait")
ADOPT = ALLOW_WHEN_FULL + script("worker.delivery", "adopt")


@dataclass(frozen=True)
class Waiting:
    """The events of one integration that wait for busy members."""

    ledger: Ledger
    delay_queue: DelayQueue
    in_flight: tuple[
        str, str
    ]  # the keys of what workers have in hand: of the index, and of the messages
    unanswered: deque[str] = field(
        default_factory=deque
    )  # tokens of what may have been taken on, its reply lost

    def wait(self, events: Sequence[tuple[str, Message]]) -> float:
        """Keep each message until the member of its address is free.

        Returns when they go on in any case, epoch seconds by Redis's clock. Raises `redis.RedisError`.
        """
        of_each = (
            (self.ledger.digest_of(address), encode(message, self.delay_queue.queue))
            for address, message in events
        )
        longest = self.ledger.lease_seconds + MARGIN_SECONDS
        free, due = self._run(
            self._wait, [self.delay_queue.key], self._prefix, longest, *chain.from_iterable(of_each)
        )
        if free:
            self.ledger.awaited.set()
        return float(due)

    def adopt_awaited(
        self, room: int = REPLY_BYTES, *, idle: bool = True
    ) -> list[list[tuple[str, str]]]:
        """Do as `adopt`, where this process released a member that is waited for since it last did."""
        if not self.ledger.awaited.is_set():
            return []
        self.ledger.awaited.clear()
        return self.adopt(room, idle=idle)

    def adopt(self, room: int = REPLY_BYTES, *, idle: bool = True) -> list[list[tuple[str, str]]]:
        """Take on what waited for members that are free by now, as far as Mailgun may be asked.

        They have at most `room` bytes; with `idle`, where nothing is in hand, the first may have more.

        Returns of each member its messages as they lay on Redis, the oldest first, each with its delivery tag. One event's
        requests were paid for each member. Raises `redis.RedisError`.
        """
        keys = [*self.in_flight, self.delay_queue.key, self.delay_queue.queue]
        token = self.unanswered.popleft() if self.unanswered else uuid4().hex
        try:
            bounds = MEMBERS_AT_ONCE, EVENTS_AT_ONCE, min(room, REPLY_BYTES), ALONE_AFTER, int(idle)
            found = self._run(self._adopt, keys, self._prefix, token, *bounds)
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

    def _run(self, script: Any, keys: Sequence[str], *args: Any) -> Any:
        gate = self.ledger.gate
        return script(
            keys=[*gate.keys, *keys, self.ledger.keys.waiting], args=[*gate.first_args(), *args]
        )

    @cached_property
    def _wait(self) -> Any:
        return self.ledger.gate.script(WAIT)

    @cached_property
    def _adopt(self) -> Any:
        return self.ledger.gate.script(ADOPT)
