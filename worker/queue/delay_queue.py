"""Where events wait for their next try: a sorted set in Redis by due time, never a worker's memory.

    signal:<integration>:delayed   sorted set   message -> due, epoch seconds by Redis's clock; an entry lives until it is due

A due message goes back to the front of its queue in one atomic step, so a crash at any moment neither loses nor doubles it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, cast

from worker.gate.gate import ALLOW_WHEN_FULL
from worker.queue.message import Message, encode
from worker.redis_client.keys import Keys
from worker.redis_client.lua import script

if TYPE_CHECKING:
    import redis

PARK = ALLOW_WHEN_FULL + script("worker.queue", "delay")
RETURN_DUE = ALLOW_WHEN_FULL + script("worker.queue", "requeue_due")
REPLACE = ALLOW_WHEN_FULL + script("worker.queue", "replace_delayed")


@dataclass(frozen=True)
class DelayQueue:
    """The delayed events of one integration."""

    redis: "redis.Redis"
    integration: str
    queue: str

    @property
    def key(self) -> str:
        """The sorted set of delayed messages."""
        return Keys(self.integration).delayed

    def delay(self, message: Message, delay: float) -> float:
        """Keep `message` for `delay` seconds; gives its due time, epoch seconds by Redis's clock."""
        return self.add([(message, delay)])[0]

    def add(self, messages: Sequence[tuple[Message, float]]) -> list[float]:
        """Keep each message for so many seconds, all in one step; gives their due times."""
        parts = chain.from_iterable(
            (str(delay), encode(message, self.queue)) for message, delay in messages
        )
        return [float(due) for due in cast("list[str]", self.redis.eval(PARK, 1, self.key, *parts))]

    def requeue_due(self, limit: int = 500) -> int:
        """Put at most `limit` due messages back at the front of the queue; gives how many."""
        return int(cast("int", self.redis.eval(RETURN_DUE, 2, self.key, self.queue, str(limit))))

    def replace(self, raw: str, by: str) -> int:
        """Put the message `by` in the place of a delayed one, for nothing where it is empty; 0 when that is not delayed."""
        return int(cast("int", self.redis.eval(REPLACE, 1, self.key, raw, by)))

    def count(self) -> int:
        """How many events are delayed."""
        return self.redis.zcard(self.key)

    def next_due(self) -> float | None:
        """When the next one is due, epoch seconds; None when none is delayed."""
        first = cast("list[tuple[str, float]]", self.redis.zrange(self.key, 0, 0, withscores=True))
        return first[0][1] if first else None

    def waiting(self) -> Iterator[tuple[str, float]]:
        """Every delayed message with its due time, in no order, a page at a time."""
        return cast("Iterator[tuple[str, float]]", self.redis.zscan_iter(self.key))
