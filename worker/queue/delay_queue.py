"""Where events wait for their next try: a sorted set in Redis by due time, never a worker's memory.

    signal:<integration>:parked   sorted set   message -> due, epoch seconds by Redis's clock; an entry lives until it is due

A due message goes back to the front of its queue in one atomic step, so a crash at any moment neither loses nor doubles it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, cast

from worker.gate.gate import FREES
from worker.queue.message import Message, encoded
from worker.redis_client.keys import Keys

if TYPE_CHECKING:
    import redis

PARK = (
    FREES
    + """
local now = redis.call('TIME')
local dues = {}
for i = 1, #ARGV, 2 do
    dues[#dues + 1] = string.format('%.3f', now[1] + now[2] / 1000000 + ARGV[i])
    redis.call('ZADD', KEYS[1], dues[#dues], ARGV[i + 1])
end
return dues
"""
)

RETURN_DUE = (
    FREES
    + """
local now = redis.call('TIME')
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now[1] + now[2] / 1000000, 'LIMIT', 0, ARGV[1])
for _, message in ipairs(due) do
    redis.call('RPUSH', KEYS[2], message)
    redis.call('ZREM', KEYS[1], message)
end
return #due
"""
)

REPLACE = (
    FREES
    + """
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('ZADD', KEYS[1], due, ARGV[2]) end
return 1
"""
)


@dataclass(frozen=True)
class Parking:
    """The parked events of one integration."""

    redis: "redis.Redis"
    integration: str
    queue: str

    @property
    def key(self) -> str:
        """The sorted set of parked messages."""
        return Keys(self.integration).delayed

    def park(self, message: Message, delay: float) -> float:
        """Keep `message` for `delay` seconds; gives its due time, epoch seconds by Redis's clock."""
        return self.park_many([(message, delay)])[0]

    def park_many(self, messages: Sequence[tuple[Message, float]]) -> list[float]:
        """Keep each message for so many seconds, all in one step; gives their due times."""
        parts = chain.from_iterable((str(delay), encoded(message, self.queue)) for message, delay in messages)
        return [float(due) for due in cast("list[str]", self.redis.eval(PARK, 1, self.key, *parts))]

    def return_due(self, limit: int = 500) -> int:
        """Put at most `limit` due messages back at the front of the queue; gives how many."""
        return int(cast("int", self.redis.eval(RETURN_DUE, 2, self.key, self.queue, str(limit))))

    def replace(self, raw: str, by: str) -> int:
        """Put the message `by` in the place of a parked one, for nothing where it is empty; 0 when that is not parked."""
        return int(cast("int", self.redis.eval(REPLACE, 1, self.key, raw, by)))

    def count(self) -> int:
        """How many events are parked."""
        return self.redis.zcard(self.key)

    def next_due(self) -> float | None:
        """When the next one is due, epoch seconds; None when none is parked."""
        first = cast("list[tuple[str, float]]", self.redis.zrange(self.key, 0, 0, withscores=True))
        return first[0][1] if first else None

    def waiting(self) -> Iterator[tuple[str, float]]:
        """Every parked message with its due time, in no order, a page at a time."""
        return cast("Iterator[tuple[str, float]]", self.redis.zscan_iter(self.key))
