"""Messages in flight: taken from the queue by a worker and not acknowledged yet, each with a visibility timeout.

    signal:<integration>:unacked         hash         delivery tag -> message taken and not acknowledged
    signal:<integration>:unacked_index   sorted set   delivery tag -> when it was taken or last kept, epoch seconds

All moments are by Redis's clock; a worker's own may be wrong. A delivery tag begins with the moment of the taking, so
that tags sort as their messages were taken. Each script writes first where the message is to be, then removes it where
it was: a script that fails in between repeats a message and loses none.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from worker.gate.gate import FREES
from worker.redis_client.keys import Keys

if TYPE_CHECKING:
    import redis

RESTORE_AT_ONCE = 1000  # messages in one turn: Redis does nothing else meanwhile

KEEP = (
    FREES
    + """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for _, tag in ipairs(ARGV) do redis.call('ZADD', KEYS[1], 'XX', now, tag) end
"""
)

# KEYS: the queue, the index, the messages.
PUTS_BACK = (
    FREES
    + """
-- A message that came back from a worker that did not end it says in its text how often that was; put_aside.lua reads it.
local function counted(message)
    local before, returns, rest = string.match(message, '^(%s*){"signal_returns":(%d+),(.*)$')
    if not rest then before, rest = string.match(message, '^(%s*){(%s*".*)$') end
    if not rest then return message end
    return before .. string.format('{"signal_returns":%d,', (tonumber(returns) or 0) + 1) .. rest
end

local function put_back(tag, push, counts)
    local message = redis.call('HGET', KEYS[3], tag)
    local queue = KEYS[1]
    -- Kombu's tags have hyphens. They are of messages that came from other queues, noted as [message, exchange, queue].
    if message and string.find(tag, '-', 1, true) then
        local raw, origin = string.match(message, '^%[(.*), "[^"]*", "([^"]+)"%]$')
        if raw then message, queue = raw, origin end
    elseif message and counts then
        message = counted(message)
    end
    if message then redis.call(push, queue, message) end
    redis.call('ZREM', KEYS[2], tag)
    redis.call('HDEL', KEYS[3], tag)
    return message
end
"""
)
PUT_BACK = PUTS_BACK + "put_back(ARGV[2], ARGV[1], ARGV[3] == '1')"
# The newest are put at the front first, so that in the end the oldest is at the front.
RESTORE = (
    PUTS_BACK
    + """
local time = redis.call('TIME')
local until_then = time[1] + time[2] / 1000000 - tonumber(ARGV[1])
local tags = redis.call('ZRANGE', KEYS[2], until_then, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[2])
table.sort(tags, function(one, other) return one > other end)
local restored = 0
for _, tag in ipairs(tags) do
    if put_back(tag, 'RPUSH', true) then restored = restored + 1 end
end
return restored
"""
)

# ARGV: marks of takings, each part of their tags.
PUT_BACK_TAKINGS = (
    PUTS_BACK
    + """
local tags = {}
for _, tag in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    for _, taking in ipairs(ARGV) do
        if string.find(tag, '.' .. taking .. '.', 1, true) then tags[#tags + 1] = tag end
    end
end
table.sort(tags, function(one, other) return one > other end)
for _, tag in ipairs(tags) do put_back(tag, 'RPUSH', false) end
return #tags
"""
)


def in_flight_keys(integration: str) -> tuple[str, str]:
    """Return the keys of what workers have taken and not acknowledged: of the index, and of the messages."""
    keys = Keys(integration)
    return keys.in_flight_index, keys.in_flight


def acknowledge(client: "redis.Redis", keys: tuple[str, str], tags: Sequence[str]) -> None:
    """Remove the messages of these tags for good: they have ended. Raises `redis.RedisError`."""
    with client.pipeline(transaction=True) as at_once:
        at_once.zrem(keys[0], *tags)
        at_once.hdel(keys[1], *tags)
        at_once.execute()


def keep(client: "redis.Redis", index: str, tags: Sequence[str]) -> None:
    """Extend the visibility timeout of these tags: it begins anew. Raises `redis.RedisError`."""
    client.eval(KEEP, 1, index, *tags)


def put_back(
    client: "redis.Redis",
    queue: str,
    keys: tuple[str, str],
    tags: Iterable[str],
    *,
    to_the_back: bool = False,
    failed: bool = False,
) -> None:
    """Put messages back on their queue, in the order of `tags`; those acknowledged meanwhile are left out.

    At the front the first of `tags` is the next to be taken. `failed`: this counts as a return from a worker that did not end
    them; nothing else that is put back here does. Raises `redis.RedisError`.
    """
    push = "LPUSH" if to_the_back else "RPUSH"
    for tag in tags if to_the_back else reversed(list(tags)):
        client.eval(PUT_BACK, 3, queue, *keys, push, tag, str(int(failed)))


def put_back_takings(client: "redis.Redis", queue: str, keys: tuple[str, str], takings: Sequence[str]) -> int:
    """Put back at the front what these takings took, none of which has reached its worker. That counts as no return.

    Returns how many messages. Raises `redis.RedisError`.
    """
    return cast("int", client.eval(PUT_BACK_TAKINGS, 3, queue, *keys, *takings)) if takings else 0


def restore_overdue(client: "redis.Redis", queue: str, keys: tuple[str, str], visibility_seconds: float) -> int:
    """Put back at the front what no worker acknowledged or kept for so long, in the order in which it was taken.

    Each counts one more return. Returns how many messages, `RESTORE_AT_ONCE` at most. Raises `redis.RedisError`.
    """
    return cast("int", client.eval(RESTORE, 3, queue, *keys, str(visibility_seconds), str(RESTORE_AT_ONCE)))
