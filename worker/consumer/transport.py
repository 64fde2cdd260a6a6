"""How a worker takes messages from Redis so that none can be lost on the way, whenever it dies.

    mailgun.<integration>                    list         messages, oldest at the right; until taken, or put aside unread
                                                          (queue/poison.py)
    signal:<integration>:unacked, …_index                 what was taken and not acknowledged: queue/in_flight.py
    signal:<integration>:taken_at            string       the latest stamp, epoch seconds by Redis's clock; a day

Kombu's own Redis transport pops a message (BRPOP) and notes it as unacknowledged afterwards, from the client: a worker killed
between the two loses it, and under load the reply may lie unread for many milliseconds. Here the worker waits until there is
something to take, leaving it where it is, then takes and notes as many as it has room for in one script.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import redis
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.consumer.broadcasts import CHANNEL, command_in
from worker.consumer.load import Weight, load, weight_of
from worker.consumer.lost_fetches import lost_fetches
from worker.consumer.switched_off import PURGE, SwitchedOff
from worker.gate.gate import ALLOW_WHEN_FULL, LIBRARY
from worker.privacy import whereabouts
from worker.queue.dead_letters import dead_letter_counts, dead_letter_queue
from worker.queue.in_flight import put_back
from worker.queue.intake import parse_raw
from worker.queue.message import NO_LIMITS, REPLAY_TASK, Limits, Message, envelope
from worker.queue.poison import LIBRARY as PUTS_ASIDE
from worker.queue.poison import limits_for_script
from worker.redis_client.address import RedisAddress
from worker.redis_client.client import TIMEOUTS, pool_for
from worker.redis_client.keys import NEVER
from worker.redis_client.lua import script

logger = logging.getLogger("signal_mailgun.worker")

TAKEN = "signal_message"  # the property under which kombu carries the message as it was read
WEIGHT = "signal_weight"  # and what it takes of the room
LOOK_AGAIN_SECONDS = 0.5  # while held, at the latest
READ_ONLY_PAUSE_SECONDS = 2.0  # between two tries to find the master; Celery's own first pause
TELL_AGAIN_SECONDS = 60.0  # that Redis refuses

TAKE = LIBRARY + ALLOW_WHEN_FULL + PUTS_ASIDE + script("worker.consumer", "fetch")
REPLY_BYTES = 8 * 1024 * 1024

# Of the connections over which a worker waits for messages; seconds. What REDIS_URL says wins.
CONNECTION: dict[str, Any] = {
    **TIMEOUTS,
    "socket_keepalive": True,
}


class EventQoS(kombu_redis.QoS):
    """The messages that this worker took and has not acknowledged. They were noted in Redis when they were taken.

    There is room for more as long as they hold fewer events than the prefetch count, and fewer bytes than a worker may have; what
    else the worker has in hand (consumer/load.py) takes of both.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._weights: dict[str, Weight] = {}  # by delivery tag

    def append(self, message: Any, delivery_tag: str) -> None:
        """Remember a message that was taken; one that came another way is noted as kombu does it."""
        if delivery_tag in self.channel.noted:
            self.channel.noted.remove(delivery_tag)
            self._weights[delivery_tag] = message.properties.get(WEIGHT, Weight())
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """The message has ended."""
        self._weights.pop(delivery_tag, None)
        super().ack(delivery_tag)

    def drop(self, delivery_tag: str) -> None:
        """The message is this worker's no more; Redis knows it already."""
        self._weights.pop(delivery_tag, None)
        self._delivered.pop(delivery_tag, None)

    def can_consume(self) -> bool:
        """Is there room for another message?"""
        return not self.prefetch_count or (self._room() > 0 and self.bytes_left > 0)

    def can_consume_max_estimate(self) -> int:
        """For how many events there is room."""
        return max(0, self._room())

    @property
    def in_hand(self) -> int:
        """How many messages there are."""
        return len(self._all())

    @property
    def bytes_left(self) -> int:
        """For how many bytes there is room."""
        limits = self.channel.limits
        return (limits.bytes if limits else REPLY_BYTES) - sum(each.bytes for each in self._all())

    def _room(self) -> int:
        weights = self._all()
        if any(each.alone for each in weights):
            return 0
        return int(self.prefetch_count) - sum(each.events for each in weights)

    def _all(self) -> list[Weight]:
        return [*self._weights.values(), *load().weights()]

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002  kombu's
        """Put a message back on its queue, at the back if `leftmost`, in one step; nothing happens if it was acknowledged."""
        self._put_back([tag], client, to_the_back=leftmost)

    def _put_back(
        self, tags: Sequence[str], client: Any = None, *, to_the_back: bool = False
    ) -> None:
        channel = self.channel
        with channel.conn_or_acquire(client) as connected:
            put_back(connected, channel.queue, channel.unacked_keys, tags, to_the_back=to_the_back)

    def restore_visible(self, *_: Any, **__: Any) -> None:
        """Do nothing: a worker's housekeeping puts back what is overdue, by Redis's clock."""

    def restore_unacked(self, client: Any = None) -> None:
        """Put back what this worker holds. While Redis is away nothing needs doing: all of it is noted there already."""
        with suppress(redis.ConnectionError, redis.TimeoutError, OSError):
            self._put_back(list(self._delivered), client)  # other threads acknowledge meanwhile
        self._delivered.clear()


class AtomicFetchMixin:
    """A kombu channel that takes messages from the queue of events, several at once, in one step with noting them.

    It alternates on kombu's polling connection: wait until the queue has something (BLMOVE onto itself), take until it is empty.
    Other queues, such as those on which Celery's remote control is answered, are read as kombu does it.
    """

    QoS = EventQoS
    from_transport_options = (
        *kombu_redis.Channel.from_transport_options,
        "queue",
        "gate_keys",
        "gate_config",
        "taken_at_key",
        "limits",
        "integration",
        "put_aside_told",
    )
    queue: str
    taken_at_key: str
    integration: str = ""
    limits: Limits | None = None
    put_aside_told: Callable[[str, str], None] | None = None  # a message's id, and the reason
    gate_keys: tuple[str, str]
    gate_config: str
    _waiting = False  # for the queue to have something
    _taking: str | None = None  # what the delivery tags of the script that was sent begin with
    _queue_has_some = False
    _others_next = (
        False  # of several queues, those of other programs are read alternately with ours
    )
    _look_again_at = 0.0  # monotonic seconds
    _tell_again_at = 0.0

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
        if self.queue not in self.active_queues or self._is_turn_of_others():
            super()._brpop_start(timeout)  # type: ignore[misc]
            return
        if monotonic() < self._look_again_at:
            return
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_command(*self._next_command(timeout))

    def _is_turn_of_others(self: Any) -> bool:
        self._others_next = len(self.active_queues) > 1 and not self._others_next
        return bool(self._others_next)

    def _update_queue_cycle(self: Any) -> None:
        """Leave our queue out of what kombu reads by itself: a message popped without a note could be lost."""
        self._queue_cycle.update([each for each in self.active_queues if each != self.queue])

    def queue_purge(self, queue: str, **_: Any) -> int:
        """Raise `SwitchedOff`: it would erase events."""
        raise SwitchedOff(f"purging {queue} is {PURGE}")

    def _handle_message(self: Any, client: Any, response: Any) -> dict[str, Any]:
        """Read what was published on a channel; what is no command on the workers' own is dropped, with a line."""
        published: dict[str, Any] = super()._handle_message(client, response)  # type: ignore[misc]
        channel, data = bytes_to_str(published["channel"]), published["data"]
        if (
            channel.endswith(f".{CHANNEL}")
            and isinstance(data, bytes | str)
            and not command_in(data)
        ):
            logger.warning(
                "a message on the remote control's channel was no command of Celery's: it was dropped"
            )
            published["data"] = None
        return published

    def _next_command(self: Any, timeout: float | None) -> tuple[Any, ...]:
        if not self._queue_has_some:
            self._waiting = True
            return (
                "BLMOVE",
                self.queue,
                self.queue,
                "RIGHT",
                "RIGHT",
                timeout or self.brpop_timeout,
            )
        self._taking = lost_fetches().begin()
        room = self.qos.can_consume_max_estimate() or 1
        keys: tuple[str, ...] = (*self.gate_keys, self.queue, *self.unacked_keys, self.taken_at_key)
        arguments: tuple[Any, ...] = (
            self.gate_config,
            room,
            self._taking,
            max(1, self.qos.bytes_left),
        )
        if self.limits:
            letters = dead_letter_queue(self.queue)
            keys += (letters, dead_letter_counts(self.integration))
            arguments += (
                limits_for_script(self.limits, self.integration, letters),
                self.qos.in_hand,
            )
        return ("EVAL", TAKE, len(keys), *keys, *arguments)

    def _brpop_read(self: Any, **options: Any) -> bool:
        if not (self._waiting or self._taking):
            return bool(super()._brpop_read(**options))  # type: ignore[misc]
        taking, self._taking, self._waiting = self._taking, None, False
        try:
            reply = self.client.parse_response(
                self.client.connection, "EVAL" if taking else "BLMOVE", **options
            )
        except redis.ResponseError as error:
            lost_fetches().answer(taking or "")
            if isinstance(error, redis.ReadOnlyError) or str(error).startswith("UNBLOCKED"):
                raise  # it has become a replica: to connect again finds the new master
            # BLMOVE is refused where memory is full; the script is not, and what it takes will free some.
            self._queue_has_some = isinstance(error, redis.OutOfMemoryError)
            self._look_again_at = monotonic() + LOOK_AGAIN_SECONDS
            self._tell_of_refusal(error)
            raise Empty from None
        except self.connection_errors:
            lost_fetches().lose(taking or "")
            self._queue_has_some = False
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if not taking:
            self._queue_has_some = reply is not None
            raise Empty
        if not lost_fetches().answer(taking):
            raise Empty  # so late that the messages are back on the queue
        wait, messages, paid, tags, *aside = reply
        self._tell_of_put_aside(*aside)
        self._queue_has_some = bool(messages)
        if float(wait) > 0:
            self._look_again_at = monotonic() + min(float(wait), LOOK_AGAIN_SECONDS)
        if not messages:
            raise Empty
        self._hand_over(self._read(messages, tags, paid))
        return True

    def _read(
        self: Any, messages: Sequence[bytes], tags: Sequence[bytes], paid: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Read messages as far as there is room for what they turn out to hold, and put the rest back."""
        payloads: list[dict[str, Any]] = []
        events, size = max(1, self.qos.can_consume_max_estimate()), max(1, self.qos.bytes_left)
        for place, each in enumerate(zip(messages, tags, paid, strict=True)):
            if events <= 0 or size <= 0:
                self.qos._put_back([tag.decode() for tag in tags[place:]])
                break
            try:
                payloads.append(self._payload(*each))
            except Exception as error:  # noqa: BLE001  no memory, or our own bug: it stays noted, and comes back as one more return
                text = "a message could not be read; it comes back after the visibility timeout"
                logger.error(text, extra={"error": whereabouts(error)})
                continue
            weight = payloads[-1]["properties"][WEIGHT]
            events, size = events - weight.events, size - weight.bytes
        return payloads

    def _tell_of_put_aside(self: Any, aside: Sequence[bytes] = ()) -> None:
        texts = [each.decode() for each in aside]
        for reason, its_id in zip(texts[::2], texts[1::2], strict=True):
            logger.error(
                "a message was put aside unread", extra={"event": its_id, "reason": reason}
            )
            if self.put_aside_told:
                self.put_aside_told(its_id, reason)

    def _tell_of_refusal(self: Any, error: "redis.ResponseError") -> None:
        if monotonic() >= self._tell_again_at:
            self._tell_again_at = monotonic() + TELL_AGAIN_SECONDS
            text = "Redis refuses to hand out events, nothing is lost; `signal-mailgun check` says more"
            logger.error(
                text, extra={"error": type(error).__name__, "code": str(error).partition(" ")[0]}
            )

    def _hand_over(self: Any, payloads: Sequence[dict[str, Any]]) -> None:
        tags = [each["properties"]["delivery_tag"] for each in payloads]
        if self.queue not in self.connection._callbacks:  # its consumer was cancelled meanwhile
            self.qos._put_back(tags)
            return
        self.noted.update(tags)
        for payload in payloads:
            self.connection._deliver(payload, self.queue)

    def _payload(self: Any, raw: bytes, tag: bytes, paid: int) -> dict[str, Any]:
        message = parse_raw(raw, lambda: str(uuid4()), self.limits or NO_LIMITS).charged(paid)
        payload = (
            envelope(message, self.queue) if message.task == REPLAY_TASK else bare_envelope(message)
        )
        weight = weight_of(message, len(raw), max(1, message.events))
        payload["properties"] |= {"delivery_tag": tag.decode(), TAKEN: message, WEIGHT: weight}
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


class Channel(AtomicFetchMixin, kombu_redis.Channel):
    """A channel to Redis, whose connections are made as everywhere else; kombu's reading of its URL plays no part."""

    from_transport_options = (*AtomicFetchMixin.from_transport_options, "address")
    address: RedisAddress | None = None

    def _get_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002  kombu's
        if self.address is None:  # another Celery application in this process
            return super()._get_pool(asynchronous)
        self.keyprefix_fanout = kombu_redis.Channel.keyprefix_fanout.format(db=self.address.db)
        if not asynchronous:
            pool: Any = pool_for(self.address, max_connections=self.max_connections, **CONNECTION)
            self._sentinel_manager = getattr(
                pool, "sentinel_manager", None
            )  # kombu closes it with the channel
            return pool
        once = Retry(
            NoBackoff(), 0
        )  # the loop must be told of an end: to read again on a new connection would wait for ever
        pool = pool_for(
            self.address,
            self._watched,
            max_connections=self.max_connections,
            retry=once,
            **CONNECTION,
        )
        self._async_sentinel_manager = getattr(pool, "sentinel_manager", None)
        pool.connection_kwargs["socket_timeout"] += (
            self.brpop_timeout
        )  # for which Redis itself is asked to wait
        return pool

    def _watched(self, kind: type[Any]) -> type[Any]:
        channel = self

        class Watched(kind):
            """A connection whose end is told to the worker's loop."""

            def disconnect(self, *args: Any, **kwargs: Any) -> None:
                super().disconnect(*args, **kwargs)
                if channel._registered:
                    channel._on_connection_disconnect(self)

        return Watched


class Transport(kombu_redis.Transport):
    """The transport for every kind of address."""

    Channel = Channel

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Take part in a worker's loop. Raises `redis.RedisError` if Redis takes no writes: then Celery's log says why."""
        try:
            with self.channels[0].conn_or_acquire() as client:
                client.delete(NEVER)
        except redis.ReadOnlyError:
            sleep(READ_ONLY_PAUSE_SECONDS)  # to connect succeeds, so Celery would try again at once
            raise
        super().register_with_event_loop(connection, loop)
