"""How a worker takes messages from Redis so that none can be lost on the way, whenever it dies.

    mailgun.<integration>                    list         messages, oldest at the right; until taken
    signal:<integration>:unacked             hash         delivery tag -> message taken and not acknowledged
    signal:<integration>:unacked_index       sorted set   delivery tag -> when it was taken, epoch seconds
    signal:<integration>:unacked_mutex       string       held by the worker that puts overdue ones back

Kombu's own Redis transport pops a message (BRPOP) and notes it as unacknowledged afterwards, from the client: a worker killed
between the two loses it, and under load the reply may lie unread for many milliseconds. Here the worker waits until there is
something to take, leaving it where it is, then takes and notes as many as it has room for in one script.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import Empty
from time import monotonic, time
from typing import Any
from uuid import uuid4

import redis
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from worker.delivery.flow import FREES, LIBRARY
from worker.delivery.intake import admitted
from worker.delivery.message import REPLAY_TASK, Message, envelope

TAKEN = "signal_message"  # the property under which kombu carries the message as it was read
EVENTS = "signal_events"  # and how many events it has
LOOK_AGAIN_SECONDS = 0.5  # while held, at the latest

# Takes messages with as many events as there is room for, the last one perhaps with more, and as many bytes as a reply should
# have. Gives the seconds after which to look again where nothing may be taken, the messages, and how many events of each were
# paid for.
TAKE = (
    LIBRARY
    + FREES
    + """
local allowed, wait = allowance(tonumber(ARGV[3]))
local taken, counts, events, bytes = {}, {}, 0, 0
while events < allowed and bytes < tonumber(ARGV[5]) do
    local message = redis.call('RPOP', KEYS[3])
    if not message then break end
    local tag = ARGV[4] .. '.' .. #taken
    redis.call('ZADD', KEYS[4], ARGV[2], tag)
    redis.call('HSET', KEYS[5], tag, message)
    taken[#taken + 1] = message
    counts[#taken] = tonumber(string.match(message, '"events":%s*(%d+)')) or 1
    events = events + counts[#taken]
    bytes = bytes + #message
end
-- What the last one has beyond what was allowed is not paid for yet.
if events > allowed then counts[#taken] = counts[#taken] - (events - allowed) end
charge(math.min(events, allowed) * rules.event_cost)
return {tostring(wait), taken, counts}
"""
)
REPLY_BYTES = 8 * 1024 * 1024

PUT_BACK = """
local message = redis.call('HGET', KEYS[3], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('HDEL', KEYS[3], ARGV[2])
if message then redis.call(ARGV[1], KEYS[1], message) end
"""


def acknowledge(client: "redis.Redis", keys: tuple[str, str], tags: Sequence[str]) -> None:
    """What these tags stand for has ended; `keys` are those of the index and of the messages. Raises `redis.RedisError`."""
    with client.pipeline(transaction=True) as at_once:
        at_once.zrem(keys[0], *tags)
        at_once.hdel(keys[1], *tags)
        at_once.execute()


def keep(client: "redis.Redis", index: str, tags: Sequence[str]) -> None:
    """What these tags stand for is still under way: nobody puts it back for another visibility time-out."""
    client.zadd(index, dict.fromkeys(tags, time()), xx=True)


def put_back(client: "redis.Redis", queue: str, keys: tuple[str, str], tag: str, *, to_the_back: bool) -> None:
    """Put a message back on its queue, in one step; nothing happens if it was acknowledged."""
    client.eval(PUT_BACK, 3, queue, *keys, "LPUSH" if to_the_back else "RPUSH", tag)


class Unacked(kombu_redis.QoS):
    """The messages that this worker took and has not acknowledged. They were noted in Redis when they were taken.

    There is room for more as long as they hold fewer events than the prefetch count.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._events: dict[str, int] = {}  # delivery tag -> events in the message

    def append(self, message: Any, delivery_tag: str) -> None:
        """Remember a message that was taken; one that came another way is noted as kombu does it."""
        if delivery_tag in self.channel.noted:
            self.channel.noted.remove(delivery_tag)
            self._events[delivery_tag] = message.properties.get(EVENTS, 1)
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """The message has ended."""
        self._events.pop(delivery_tag, None)
        super().ack(delivery_tag)

    def drop(self, delivery_tag: str) -> None:
        """The message is this worker's no more; Redis knows it already."""
        self._events.pop(delivery_tag, None)
        self._delivered.pop(delivery_tag, None)

    def can_consume(self) -> bool:
        """Is there room for another message?"""
        return not self.prefetch_count or self._room() > 0

    def can_consume_max_estimate(self) -> int:
        """For how many events there is room."""
        return max(0, self._room())

    def _room(self) -> int:
        return int(self.prefetch_count) - sum(self._events.values())

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002  kombu's
        """Put a message back on its queue, at the back if `leftmost`, in one step; nothing happens if it was acknowledged."""
        channel = self.channel
        with channel.conn_or_acquire(client) as connected:
            put_back(connected, channel.queue, channel.unacked_keys, tag, to_the_back=leftmost)

    def restore_unacked(self, client: Any = None) -> None:
        """Put back what this worker holds. While Redis is away nothing needs doing: all of it is noted there already."""
        with (
            suppress(redis.ConnectionError, redis.TimeoutError, OSError),
            self.channel.conn_or_acquire(client) as connected,
        ):
            for tag in list(self._delivered):  # other threads acknowledge meanwhile
                self.restore_by_tag(tag, client=connected)
        self._delivered.clear()


class TakesAtomically:
    """A kombu channel that takes messages from the queue of events, several at once, in one step with noting them.

    It alternates on kombu's polling connection: wait until the queue has something (BLMOVE onto itself), take until it is empty.
    Other queues, such as those on which Celery's remote control is answered, are read as kombu does it.
    """

    QoS = Unacked
    from_transport_options = (*kombu_redis.Channel.from_transport_options, "queue", "flow_keys", "flow_rules")
    queue: str
    flow_keys: tuple[str, str]
    flow_rules: str
    _waiting = False  # for the queue to have something
    _taking: str | None = None  # what the delivery tags of the script that was sent begin with
    _queue_has_some = False
    _look_again_at = 0.0  # monotonic seconds

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        self.noted: set[str] = set()
        super().__init__(*args, **kwargs)

    @property
    def unacked_keys(self: Any) -> tuple[str, str]:
        return self.unacked_index_key, self.unacked_key

    @contextmanager
    def conn_or_acquire(self: Any, client: Any = None) -> Iterator[Any]:
        """A client, `client` where given. Raises `redis.ConnectionError` on a channel that was closed.

        Kombu's own raises AttributeError there: a channel that is closed for the second time while Redis is away, or a message
        put back after the connection was lost, would end the worker. What the channel held is noted, and comes back.
        """
        if not client and (self.connection is None or self.connection.client is None):
            raise redis.ConnectionError("the channel is closed")
        with super().conn_or_acquire(client) as connected:  # type: ignore[misc]
            yield connected

    def _brpop_start(self: Any, timeout: float | None = None) -> None:
        if self.active_queues != [self.queue]:
            super()._brpop_start(timeout)  # type: ignore[misc]
            return
        if monotonic() < self._look_again_at:
            return
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_command(*self._next_command(timeout))

    def _next_command(self: Any, timeout: float | None) -> tuple[Any, ...]:
        if not self._queue_has_some:
            self._waiting = True
            return ("BLMOVE", self.queue, self.queue, "RIGHT", "RIGHT", timeout or self.brpop_timeout)
        self._taking = uuid4().hex
        room = self.qos.can_consume_max_estimate() or 1
        script_keys = (*self.flow_keys, self.queue, *self.unacked_keys)
        return ("EVAL", TAKE, len(script_keys), *script_keys, self.flow_rules, time(), room, self._taking, REPLY_BYTES)

    def _brpop_read(self: Any, **options: Any) -> bool:
        if not (self._waiting or self._taking):
            return bool(super()._brpop_read(**options))  # type: ignore[misc]
        taking, self._taking, self._waiting = self._taking, None, False
        try:
            reply = self.client.parse_response(self.client.connection, "EVAL" if taking else "BLMOVE", **options)
        except redis.OutOfMemoryError:
            # BLMOVE is refused where memory is full; the script is not, and what it takes will free some.
            self._queue_has_some = True
            self._look_again_at = monotonic() + LOOK_AGAIN_SECONDS
            raise Empty from None
        except self.connection_errors:
            self._queue_has_some = False
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if not taking:
            self._queue_has_some = reply is not None
            raise Empty
        wait, messages, paid = reply
        self._queue_has_some = bool(messages)
        if float(wait) > 0:
            self._look_again_at = monotonic() + min(float(wait), LOOK_AGAIN_SECONDS)
        if not messages:
            raise Empty
        for number, message in enumerate(messages):
            tag = f"{taking}.{number}"
            self.noted.add(tag)
            self.connection._deliver(self._payload(message, tag, paid[number]), self.queue)
        return True

    def _payload(self: Any, raw: bytes, tag: str, paid: int) -> dict[str, Any]:
        message = admitted(raw.decode("utf-8", "replace"), lambda: str(uuid4()))
        message = replace(message, unpaid=max(0, message.events - paid))
        payload = envelope(message, self.queue) if message.task == REPLAY_TASK else bare_envelope(message)
        payload["properties"] |= {"delivery_tag": tag, TAKEN: message, EVENTS: message.events}
        return payload


def bare_envelope(message: Message) -> dict[str, Any]:
    """What kombu and Celery need to hand the message on; its events go beside it, as they were read."""
    return {
        "body": "",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": message.task, "id": message.id},
        "properties": {"delivery_info": {}},
    }


class Channel(TakesAtomically, kombu_redis.Channel):
    """A channel on one Redis."""


class Transport(kombu_redis.Transport):
    """The transport for redis:// and rediss://."""

    Channel = Channel


class SentinelChannel(TakesAtomically, kombu_redis.SentinelChannel):
    """A channel on the master that Sentinel names."""


class SentinelTransport(kombu_redis.SentinelTransport):
    """The transport for sentinel://."""

    Channel = SentinelChannel
