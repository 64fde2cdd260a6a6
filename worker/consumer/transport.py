"""Kombu transport that fetches messages atomically, so that a worker that dies loses none.

Kombu's own Redis transport pops a message (BRPOP), and then its client notes the message as
unacknowledged. A worker that is killed between the two loses the message, and under load the reply
may stay unread for many milliseconds. The worker of this program waits until the queue has
something, without removing it. Then one script (fetch.lua) removes as many messages as there is
room for, and notes them as in flight.

The script uses `Keys.queue`, `Keys.in_flight`, `Keys.in_flight_index` and `Keys.fetched_at`; if
there are limits, also `Keys.dead_letters` and `Keys.dead_letter_counts`.
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
from worker.queue.in_flight import put_back
from worker.queue.intake import parse_raw
from worker.queue.message import NO_LIMITS, REPLAY_TASK, Limits, Message, envelope
from worker.queue.poison import LIBRARY as PUTS_ASIDE
from worker.queue.poison import limits_for_script
from worker.redis_client.address import RedisAddress
from worker.redis_client.client import TIMEOUTS, pool_for
from worker.redis_client.keys import NEVER, Keys
from worker.redis_client.lua import script

logger = logging.getLogger("signal_mailgun.worker")

TAKEN = "signal_message"  # the property of a kombu message that holds the `Message`
WEIGHT = "signal_weight"  # the property that holds its `Weight`
CHARGED = "signal_charged"  # the property that holds how many of its events the gate charged
# The longest wait for the next fetch while the gate lets none through, or Redis refuses.
LOOK_AGAIN_SECONDS = 0.5
READ_ONLY_PAUSE_SECONDS = 2.0  # between two tries to find the master; Celery's own first pause
TELL_AGAIN_SECONDS = 60.0  # between two log lines that Redis refuses

TAKE = LIBRARY + ALLOW_WHEN_FULL + PUTS_ASIDE + script("worker.consumer", "fetch")
REPLY_BYTES = 8 * 1024 * 1024

# Options of the connections over which a worker waits for messages; times in seconds. Options in
# REDIS_URL override them.
CONNECTION: dict[str, Any] = {
    **TIMEOUTS,
    "socket_keepalive": True,
}


class EventQoS(kombu_redis.QoS):
    """The messages that this channel fetched and that are not acknowledged.

    Redis noted them as unacknowledged when they were fetched. There is room for more as long as
    they hold fewer events than the prefetch count, and fewer bytes than a worker may have in hand.
    What else the worker has in hand (consumer/load.py) takes of that room, too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By delivery tag.
        self._weights: dict[str, Weight] = {}

    def append(self, message: Any, delivery_tag: str) -> None:
        """Remember a fetched message; a message of another queue is noted as kombu does it.

        Args:
            message: The kombu message.
            delivery_tag: Its delivery tag.
        """
        if delivery_tag in self.channel.noted:
            self.channel.noted.remove(delivery_tag)
            self._weights[delivery_tag] = message.properties.get(WEIGHT, Weight())
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge the message, which makes room for another."""
        self._weights.pop(delivery_tag, None)
        super().ack(delivery_tag)

    def drop(self, delivery_tag: str) -> None:
        """Forget a message that this worker no longer has; Redis is not asked."""
        self._weights.pop(delivery_tag, None)
        self._delivered.pop(delivery_tag, None)

    def can_consume(self) -> bool:
        """Return True if there is room for another message."""
        return not self.prefetch_count or (self._room() > 0 and self.bytes_left > 0)

    def can_consume_max_estimate(self) -> int:
        """Return the number of events that there is room for."""
        return max(0, self._room())

    @property
    def in_hand(self) -> int:
        """The number of messages in hand, with those that consumer/load.py counts."""
        return len(self._all())

    @property
    def bytes_left(self) -> int:
        """The number of bytes that there is room for; negative if there are too many."""
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
        """Put a message back on its queue, in one step; do nothing if it was acknowledged.

        Args:
            tag: The delivery tag.
            client: A Redis client; None: one of the channel's.
            leftmost: Put it at the back of the queue, not at the front.
        """
        self._put_back([tag], client, to_the_back=leftmost)

    def _put_back(
        self, tags: Sequence[str], client: Any = None, *, to_the_back: bool = False
    ) -> None:
        channel = self.channel
        with channel.conn_or_acquire(client) as connected:
            put_back(connected, channel.queue, channel.unacked_keys, tags, to_the_back=to_the_back)

    def restore_visible(self, *_: Any, **__: Any) -> None:
        """Do nothing: housekeeping puts back overdue messages, by Redis's clock."""

    def restore_unacked(self, client: Any = None) -> None:
        """Put back all messages of this channel.

        While Redis is away nothing is done: Redis has all of them as unacknowledged.
        """
        with suppress(redis.ConnectionError, redis.TimeoutError, OSError):
            self._put_back(list(self._delivered), client)  # other threads acknowledge meanwhile
        self._delivered.clear()


class AtomicFetchMixin:
    """Atomic fetch for a kombu channel: one script fetches messages of events and notes them.

    On kombu's polling connection it waits until the queue has something (BLMOVE of its oldest
    message onto its own place), then fetches until the queue is empty. Other queues, such as those
    for replies of Celery's remote control, are read as kombu does it.

    Attributes:
        queue: The queue of events.
        signal_keys: The keys of the integration.
        limits: The limits of messages; None: there are none.
        put_aside_told: Called with the id and the reason of each message that was put aside unread.
        gate_config: The settings of the gate, as JSON.
        noted: Delivery tags of fetched messages that kombu has not handed to `EventQoS` yet.
    """

    QoS = EventQoS
    from_transport_options = (
        *kombu_redis.Channel.from_transport_options,
        "queue",
        "gate_config",
        "signal_keys",
        "limits",
        "put_aside_told",
    )
    queue: str
    signal_keys: Keys
    limits: Limits | None = None
    put_aside_told: Callable[[str, str], None] | None = None
    gate_config: str
    # BLMOVE was sent and has no reply yet.
    _waiting = False
    # The mark of the fetch that was sent and has no reply yet; its delivery tags contain it.
    _taking: str | None = None
    _queue_has_some = False
    # If there are other queues, polls alternate between them and the queue of events.
    _others_next = False
    # Both in monotonic seconds.
    _look_again_at = 0.0
    _tell_again_at = 0.0

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        self.noted: set[str] = set()
        super().__init__(*args, **kwargs)

    @property
    def unacked_keys(self: Any) -> tuple[str, str]:
        """The keys of the unacknowledged messages: of their index, and of the messages."""
        return self.unacked_index_key, self.unacked_key

    @contextmanager
    def conn_or_acquire(self: Any, client: Any = None) -> Iterator[Any]:
        """Yield `client`, or a client of the channel's pool if it is None.

        Raises:
            redis.ConnectionError: The channel is closed. Kombu's own method raises AttributeError
                here, which would end the worker if a channel is closed twice while Redis is away,
                or a message is put back after the connection was lost. Redis has the channel's
                messages as unacknowledged, so they come back.
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
        """Leave the queue of events out of what kombu reads.

        Kombu would pop a message before it notes it, so a worker that dies could lose it.
        """
        self._queue_cycle.update([each for each in self.active_queues if each != self.queue])

    def queue_purge(self, queue: str, **_: Any) -> int:
        """Raise `SwitchedOff`: a purge would erase events."""
        raise SwitchedOff(f"purging {queue} is {PURGE}")

    def _handle_message(self: Any, client: Any, response: Any) -> dict[str, Any]:
        """Return what was published on a channel of Redis.

        On the channel of commands to workers, data that is no command is logged and dropped.
        """
        published: dict[str, Any] = super()._handle_message(client, response)  # type: ignore[misc]
        channel, data = bytes_to_str(published["channel"]), published["data"]
        if (
            channel.endswith(f".{CHANNEL}")
            and isinstance(data, bytes | str)
            and not command_in(data)
        ):
            logger.warning(
                "a message on the remote control's channel was no command of Celery's: "
                "it was dropped"
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
        its: Keys = self.signal_keys
        keys: tuple[str, ...] = (its.hold, its.pace, self.queue, *self.unacked_keys, its.fetched_at)
        arguments: tuple[Any, ...] = (
            self.gate_config,
            room,
            self._taking,
            max(1, self.qos.bytes_left),
        )
        if self.limits:
            keys += (its.dead_letters, its.dead_letter_counts)
            arguments += (
                limits_for_script(self.limits, its.integration, its.dead_letters),
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
                raise  # Redis has become a replica; a new connection finds the new master
            # If its memory is full, Redis refuses BLMOVE, but not the script. Messages that the
            # script fetches free memory once they are delivered.
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
            raise Empty  # the reply is so late that the fetch counts as lost
        wait, messages, charged, tags, *aside = reply
        self._tell_of_put_aside(*aside)
        self._queue_has_some = bool(messages)
        if float(wait) > 0:
            self._look_again_at = monotonic() + min(float(wait), LOOK_AGAIN_SECONDS)
        if not messages:
            raise Empty
        self._hand_over(self._read(messages, tags, charged))
        return True

    def _read(
        self: Any, messages: Sequence[bytes], tags: Sequence[bytes], charged: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Read messages while there is room for their events and bytes, and put the rest back.

        Args:
            messages: Messages as they lay on the queue.
            tags: Their delivery tags.
            charged: The number of events that the gate charged for each.

        Returns:
            Payloads for kombu. A message that cannot be read is left out.
        """
        payloads: list[dict[str, Any]] = []
        events, size = max(1, self.qos.can_consume_max_estimate()), max(1, self.qos.bytes_left)
        for place, each in enumerate(zip(messages, tags, charged, strict=True)):
            if events <= 0 or size <= 0:
                self.qos._put_back([tag.decode() for tag in tags[place:]])
                break
            try:
                payloads.append(self._payload(*each))
            # Memory has run out, or this program has a bug. The message stays unacknowledged, and
            # its return is counted.
            except Exception as error:  # noqa: BLE001  no event may be lost by it
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
            text = (
                "Redis refuses to hand out events, nothing is lost; "
                "`signal-mailgun check` says more"
            )
            logger.error(
                text, extra={"error": type(error).__name__, "code": str(error).partition(" ")[0]}
            )

    def _hand_over(self: Any, payloads: Sequence[dict[str, Any]]) -> None:
        tags = [each["properties"]["delivery_tag"] for each in payloads]
        if self.queue not in self.connection._callbacks:  # the consumer was cancelled meanwhile
            self.qos._put_back(tags)
            return
        self.noted.update(tags)
        for payload in payloads:
            self.connection._deliver(payload, self.queue)

    def _payload(self: Any, raw: bytes, tag: bytes, charged: int) -> dict[str, Any]:
        message = parse_raw(raw, lambda: str(uuid4()), self.limits or NO_LIMITS)
        payload = (
            envelope(message, self.queue) if message.task == REPLAY_TASK else bare_envelope(message)
        )
        weight = weight_of(message, len(raw), max(1, message.events))
        payload["properties"] |= {
            "delivery_tag": tag.decode(),
            TAKEN: message,
            WEIGHT: weight,
            CHARGED: charged,
        }
        return payload


def bare_envelope(message: Message) -> dict[str, Any]:
    """Return the least payload with which kombu and Celery hand the message on.

    The message as it was read goes beside it, as the property `TAKEN`.
    """
    return {
        "body": "",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": message.task, "id": message.id},
        "properties": {"delivery_info": {}},
    }


class Channel(AtomicFetchMixin, kombu_redis.Channel):
    """A channel whose connections are made by `worker.redis_client`, as all others are.

    Kombu's own reading of the broker's URL is not used.

    Attributes:
        address: Where Redis is; None in another Celery application of this process.
    """

    from_transport_options = (*AtomicFetchMixin.from_transport_options, "address")
    address: RedisAddress | None = None

    def _get_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002  kombu's
        if self.address is None:
            return super()._get_pool(asynchronous)
        self.keyprefix_fanout = kombu_redis.Channel.keyprefix_fanout.format(db=self.address.db)
        if not asynchronous:
            pool: Any = pool_for(self.address, max_connections=self.max_connections, **CONNECTION)
            # Kombu closes it with the channel.
            self._sentinel_manager = getattr(pool, "sentinel_manager", None)
            return pool
        # No retries: on a new connection, which has no command, a read would wait for ever. So the
        # worker's loop must learn that the connection has ended.
        once = Retry(NoBackoff(), 0)
        pool = pool_for(
            self.address,
            self._watched,
            max_connections=self.max_connections,
            retry=once,
            **CONNECTION,
        )
        self._async_sentinel_manager = getattr(pool, "sentinel_manager", None)
        # Redis itself waits for `brpop_timeout` before it replies.
        pool.connection_kwargs["socket_timeout"] += self.brpop_timeout
        return pool

    def _watched(self, kind: type[Any]) -> type[Any]:
        channel = self

        class Watched(kind):
            """A connection that tells the worker's loop when it is disconnected."""

            def disconnect(self, *args: Any, **kwargs: Any) -> None:
                super().disconnect(*args, **kwargs)
                if channel._registered:
                    channel._on_connection_disconnect(self)

        return Watched


class Transport(kombu_redis.Transport):
    """The transport, for every kind of Redis address."""

    Channel = Channel

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Register with a worker's loop.

        Raises:
            redis.RedisError: Redis takes no writes; Celery logs why.
        """
        try:
            with self.channels[0].conn_or_acquire() as client:
                client.delete(NEVER)
        except redis.ReadOnlyError:
            # A connection succeeds, so Celery would try again at once.
            sleep(READ_ONLY_PAUSE_SECONDS)
            raise
        super().register_with_event_loop(connection, loop)
