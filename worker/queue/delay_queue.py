"""The delay queue: events wait for their next try in Redis, not in a worker's memory.

The sorted set `Keys.delayed` holds each message with its due time, in epoch seconds by Redis's
clock. A due message returns to the front of its queue in one atomic step, so a crash neither loses
nor doubles it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, cast

from worker.gate.gate import ALLOW_WHEN_FULL
from worker.queue.codec import encode
from worker.queue.message import Message
from worker.redis_client.keys import Keys
from worker.redis_client.lua import script

if TYPE_CHECKING:
    import redis

PARK = ALLOW_WHEN_FULL + script("worker.queue", "delay")
RETURN_DUE = ALLOW_WHEN_FULL + script("worker.queue", "requeue_due")
REPLACE = ALLOW_WHEN_FULL + script("worker.queue", "replace_delayed")


@dataclass(frozen=True)
class DelayQueue:
    """The delay queue of one integration."""

    redis: "redis.Redis"
    integration: str
    queue: str

    @property
    def key(self) -> str:
        """The key of the sorted set of delayed messages."""
        return Keys(self.integration).delayed

    def delay(self, message: Message, delay: float) -> float:
        """Delay `message`.

        Args:
            message: The message.
            delay: Seconds until it is due.

        Returns:
            When it is due, in epoch seconds by Redis's clock.
        """
        return self.add([(message, delay)])[0]

    def add(self, messages: Sequence[tuple[Message, float]]) -> list[float]:
        """Delay each message by its own number of seconds, all in one step.

        Returns:
            When each is due, in epoch seconds by Redis's clock.
        """
        parts = chain.from_iterable(
            (str(delay), encode(message, self.queue)) for message, delay in messages
        )
        return [float(due) for due in cast("list[str]", self.redis.eval(PARK, 1, self.key, *parts))]

    def requeue_due(self, limit: int = 500) -> int:
        """Put at most `limit` due messages back at the front of the queue; return how many."""
        return int(cast("int", self.redis.eval(RETURN_DUE, 2, self.key, self.queue, str(limit))))

    def replace(self, raw: str, by: str) -> int:
        """Replace a delayed message by another that is due at the same moment, or remove it.

        Args:
            raw: The text of the delayed message.
            by: The text of its replacement; empty: remove the message.

        Returns:
            1, or 0 if the message is not delayed.
        """
        return int(cast("int", self.redis.eval(REPLACE, 1, self.key, raw, by)))

    def count(self) -> int:
        """Return the number of delayed messages."""
        return self.redis.zcard(self.key)

    def next_due(self) -> float | None:
        """Return when the next message is due, in epoch seconds; None if none is delayed."""
        first = cast("list[tuple[str, float]]", self.redis.zrange(self.key, 0, 0, withscores=True))
        return first[0][1] if first else None

    def waiting(self) -> Iterator[tuple[str, float]]:
        """Yield every delayed message with its due time, in no order, read a page at a time."""
        return cast("Iterator[tuple[str, float]]", self.redis.zscan_iter(self.key))
