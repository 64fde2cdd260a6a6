"""Atomic fetch of messages, so that a worker that dies loses none.

Kombu's own Redis transport pops a message (BRPOP), and then its client notes the message as
unacknowledged. A worker that is killed between the two loses the message, and under load the reply
may stay unread for many milliseconds. The worker of this program waits until the queue has
something, without removing it. Then one script (fetch.lua) removes as many messages as there is
room for, and notes them as in flight.

The script uses `Keys.queue`, `Keys.in_flight`, `Keys.in_flight_index` and `Keys.fetched_at`; if
there are limits, also `Keys.dead_letters` and `Keys.dead_letter_counts`.
"""

import logging
from collections.abc import Callable, Sequence
from queue import Empty
from time import monotonic
from typing import Any

import redis
from kombu.asynchronous import get_event_loop
from kombu.transport import redis as kombu_redis

from worker.consumer.event_qos import EventQoS
from worker.consumer.fetched_message import FetchedMessage, fetched_message
from worker.consumer.lost_fetches import lost_fetches
from worker.gate.gate import LIBRARY
from worker.privacy import whereabouts
from worker.queue.codec import celery_message
from worker.queue.message import NO_LIMITS, REPLAY_TASK, Limits
from worker.queue.poison import LIBRARY as PUTS_ASIDE
from worker.queue.poison import limits_for_script
from worker.redis_client.keys import Keys
from worker.redis_client.lua import ALLOW_WHEN_FULL, script

logger = logging.getLogger("signal_mailgun.worker")

# The longest wait for the next fetch while the gate lets none through, or Redis refuses.
LOOK_AGAIN_SECONDS = 0.5
LOG_AGAIN_SECONDS = 60.0  # between two log lines that Redis refuses

FETCH = LIBRARY + ALLOW_WHEN_FULL + PUTS_ASIDE + script("worker.consumer", "fetch")


class AtomicFetchMixin:
    """Atomic fetch for a kombu channel: one script fetches messages of events and notes them.

    On kombu's polling connection it waits until the queue has something (BLMOVE of its oldest
    message onto its own place), then fetches until the queue is empty. Other queues, such as those
    for replies of Celery's remote control, are read as kombu does it.

    Attributes:
        queue: The queue of events.
        signal_keys: The keys of the integration.
        limits: The limits of messages; None: there are none.
        on_events: Called with the messages of each fetch that carry events.
        on_put_aside: Called with the id and the reason of each message that was put aside unread.
        on_unused: Called with the number of events that the gate charged and that were put back.
        gate_config: The settings of the gate, as JSON.
    """

    QoS = EventQoS
    from_transport_options = (
        *kombu_redis.Channel.from_transport_options,
        "queue",
        "gate_config",
        "signal_keys",
        "limits",
        "on_events",
        "on_put_aside",
        "on_unused",
    )
    queue: str
    signal_keys: Keys
    limits: Limits | None = None
    on_events: Callable[[Sequence[FetchedMessage]], None]
    on_put_aside: Callable[[str, str], None] | None = None
    on_unused: Callable[[int], None] | None = None
    gate_config: str
    # BLMOVE was sent and has no reply yet.
    _waiting = False
    # The mark of the fetch that was sent and has no reply yet; its delivery tags contain it.
    _fetch_mark: str | None = None
    _queue_has_some = False
    # If there are other queues, polls alternate between them and the queue of events.
    _others_next = False
    # Both in monotonic seconds.
    _look_again_at = 0.0
    _log_again_at = 0.0

    @property
    def unacked_keys(self: Any) -> tuple[str, str]:
        """The keys of the unacknowledged messages: of their index, and of the messages."""
        return self.unacked_index_key, self.unacked_key

    def _brpop_start(self: Any, timeout: float | None = None) -> None:
        if self.queue not in self.active_queues or self._polls_others_now():
            super()._brpop_start(timeout)  # type: ignore[misc]
            return
        if monotonic() < self._look_again_at:
            return
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_command(*self._next_command(timeout))

    def _polls_others_now(self: Any) -> bool:
        self._others_next = len(self.active_queues) > 1 and not self._others_next
        return bool(self._others_next)

    def _update_queue_cycle(self: Any) -> None:
        """Leave the queue of events out of what kombu reads.

        Kombu would pop a message before it notes it, so a worker that dies could lose it.
        """
        self._queue_cycle.update([each for each in self.active_queues if each != self.queue])

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
        self._fetch_mark = lost_fetches().begin()
        room = self.qos.can_consume_max_estimate() or 1
        its: Keys = self.signal_keys
        keys: tuple[str, ...] = (its.hold, its.pace, self.queue, *self.unacked_keys, its.fetched_at)
        arguments: tuple[Any, ...] = (
            self.gate_config,
            room,
            self._fetch_mark,
            max(1, self.qos.bytes_left),
        )
        if self.limits:
            keys += (its.dead_letters, its.dead_letter_counts)
            arguments += (
                limits_for_script(self.limits, its.integration, its.dead_letters),
                self.qos.in_hand,
            )
        return ("EVAL", FETCH, len(keys), *keys, *arguments)

    def _reply_of_redis(self: Any, mark: str | None, **options: Any) -> Any:
        """Return the reply to the command that was sent.

        Args:
            mark: The mark of the fetch; None: the command was BLMOVE.
            options: Kombu's options for reading the reply.

        Raises:
            Empty: Redis refused the command. The next one waits a little.
            redis.ReadOnlyError: Redis has become a replica; a new connection finds the master.
            redis.ConnectionError: The connection is lost, and perhaps the reply to a fetch with it.
        """
        try:
            return self.client.parse_response(
                self.client.connection, "EVAL" if mark else "BLMOVE", **options
            )
        except redis.ResponseError as error:
            lost_fetches().answer(mark or "")
            if isinstance(error, redis.ReadOnlyError) or str(error).startswith("UNBLOCKED"):
                raise
            # If its memory is full, Redis refuses BLMOVE, but not the script. Messages that the
            # script fetches free memory once they are delivered.
            self._queue_has_some = isinstance(error, redis.OutOfMemoryError)
            self._look_again_at = monotonic() + LOOK_AGAIN_SECONDS
            self._log_refusal(error)
            raise Empty from None
        except self.connection_errors:
            lost_fetches().lose(mark or "")
            self._queue_has_some = False
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _brpop_read(self: Any, **options: Any) -> bool:
        if not (self._waiting or self._fetch_mark):
            return bool(super()._brpop_read(**options))  # type: ignore[misc]
        mark, self._fetch_mark, self._waiting = self._fetch_mark, None, False
        reply = self._reply_of_redis(mark, **options)
        if not mark:
            self._queue_has_some = reply is not None
            raise Empty
        wait, messages, charged, tags, *aside = reply
        if not lost_fetches().answer(mark):
            self._refund(charged)
            raise Empty  # the reply is so late that the fetch counts as lost
        self._report_put_aside(*aside)
        self._queue_has_some = bool(messages)
        if float(wait) > 0:
            seconds = min(float(wait), LOOK_AGAIN_SECONDS)
            self._look_again_at = monotonic() + seconds
            _wake_loop_after(seconds)
        if not messages:
            raise Empty
        self._hand_over(self._read_while_room(messages, tags, charged))
        return True

    def _read_while_room(
        self: Any, messages: Sequence[bytes], tags: Sequence[bytes], charged: Sequence[int]
    ) -> list[FetchedMessage]:
        """Read messages while there is room for their events and bytes, and put the rest back.

        Args:
            messages: Messages as they lay on the queue.
            tags: Their delivery tags.
            charged: The number of events that the gate charged for each.

        Returns:
            The messages that were read. One at which this program failed is left out.
        """
        fetched: list[FetchedMessage] = []
        limits, drop = self.limits or NO_LIMITS, self.qos.drop
        events, size = max(1, self.qos.can_consume_max_estimate()), max(1, self.qos.bytes_left)
        for place, each in enumerate(zip(messages, tags, charged, strict=True)):
            if events <= 0 or size <= 0:
                self.qos._put_back([tag.decode() for tag in tags[place:]])
                self._refund(charged[place:])
                break
            try:
                fetched.append(fetched_message(*each, limits=limits, drop=drop))
            # Memory has run out, or this program has a bug. The message stays unacknowledged, and
            # its return is counted.
            except Exception as error:  # noqa: BLE001  no event may be lost by it
                _log_unread(error)
                continue
            weight = fetched[-1].weight
            events, size = events - weight.events, size - weight.bytes
        return fetched

    def _report_put_aside(self: Any, aside: Sequence[bytes] = ()) -> None:
        texts = [each.decode() for each in aside]
        for reason, its_id in zip(texts[::2], texts[1::2], strict=True):
            logger.error(
                "a message was put aside unread", extra={"event": its_id, "reason": reason}
            )
            if self.on_put_aside:
                self.on_put_aside(its_id, reason)

    def _log_refusal(self: Any, error: "redis.ResponseError") -> None:
        if monotonic() >= self._log_again_at:
            self._log_again_at = monotonic() + LOG_AGAIN_SECONDS
            text = (
                "Redis refuses to hand out events, nothing is lost; "
                "`signal-mailgun check` says more"
            )
            logger.error(
                text, extra={"error": type(error).__name__, "code": str(error).partition(" ")[0]}
            )

    def _hand_over(self: Any, fetched: Sequence[FetchedMessage]) -> None:
        # The consumer was cancelled meanwhile, or the worker is connecting again.
        if self._closing or self.queue not in self.connection._callbacks:
            self.qos._put_back([each.tag for each in fetched])
            self._refund([each.charged for each in fetched])
            return
        self.qos.take(fetched)
        self.on_events([each for each in fetched if each.message.task != REPLAY_TASK])
        for each in fetched:
            if each.message.task == REPLAY_TASK:
                self._hand_to_kombu(each)

    def _hand_to_kombu(self: Any, fetched: FetchedMessage) -> None:
        """Let Celery run the message as any task of its own."""
        try:
            payload = celery_message(fetched.message, self.queue)
        except Exception as error:  # noqa: BLE001  as above
            _log_unread(error)
            self.qos.drop(fetched.tag)
            return
        payload["properties"]["delivery_tag"] = fetched.tag
        self.connection._deliver(payload, self.queue)

    def _refund(self: Any, charged: Sequence[int]) -> None:
        """Tell how many events of messages that are put back the gate has charged."""
        if self.on_unused:
            self.on_unused(sum(charged))


def _log_unread(error: Exception) -> None:
    text = "a message could not be read; it comes back after the visibility timeout"
    logger.error(text, extra={"error": whereabouts(error)})


def _wake_loop_after(seconds: float) -> None:
    """Let Celery's loop run again by then: while nothing happens, it sleeps for a second."""
    if loop := get_event_loop():
        loop.call_later(seconds, lambda: None)
