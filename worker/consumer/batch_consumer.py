"""Batch consumer: gathers fetched messages, handles them in greenlets, acknowledges them together.

Celery runs a task for each message, which costs about a millisecond of Python each. The transport
of this program hands the messages of events to a batch consumer instead, all of a fetch at once. It
handles a batch of events at once and sends Flower the same events for each message as Celery would.
It acknowledges a message only once each of the message's events is safe: at Mailgun, delayed, or on
the dead-letter queue.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import redis

from worker.consumer.batch_processing import process_batch
from worker.consumer.fetched_message import FetchedMessage, adopted_batches
from worker.consumer.gathering import Gathering
from worker.consumer.in_hand import InHand
from worker.consumer.load import Load
from worker.consumer.room import Room
from worker.consumer.task_events import is_watched, send_endings, send_received
from worker.consumer.worker_state import is_stopping, takes_events
from worker.delivery.event_delivery import Result
from worker.delivery.processor import EventProcessor
from worker.delivery.worker_registry import WorkerState
from worker.greenlets import hub, sleep
from worker.privacy import whereabouts
from worker.queue.in_flight import acknowledge, keep, put_back
from worker.redis_client.repeats import Repeats
from worker.settings import MOST_IN_HAND

logger = logging.getLogger("signal_mailgun.worker")

# The longest wait of `drain` before it extends the visibility timeout again.
LOOK_SECONDS = 1.0
# The wait before messages go back to the queue after an error; without it they would come back at
# once.
REDIS_PAUSE_SECONDS = 1.0
# Celery events in one message to Flower. Celery's own 24 cost more than all else that Celery does
# for an event.
EVENTS_AT_ONCE = 500
KEEPS_PER_TIMEOUT = 5  # extensions within one visibility timeout
# While so many batches are under way, more events gather until a batch is full: each batch may have
# a connection to Mailgun and one to Redis.
MOST_BATCHES = MOST_IN_HAND


class BatchConsumer:
    """The messages that one worker process has in hand.

    Celery's loop adds messages; greenlets of the hub handle them, one a batch.

    Attributes:
        in_hand: The messages.
        repeats: What Redis did not take back; housekeeping tries it again each second.
    """

    def __init__(
        self,
        processor: EventProcessor,
        queue: str,
        keys: tuple[str, str],
        *,
        load: Load,
        room: Room,
        most_bytes: int,
        visibility_seconds: float,
    ) -> None:
        """Start with nothing in hand.

        Args:
            processor: Handles the events.
            queue: The name of the queue that the messages come from.
            keys: The Redis keys of the unacknowledged messages: of their index, and of the
                messages.
            load: Counts the messages that the kombu channel does not count.
            room: How many events this worker may have in hand. Events that waited for members are
                adopted while there is room.
            most_bytes: And while all messages in hand together are no larger.
            visibility_seconds: The visibility timeout of a message in hand.
        """
        self._most_bytes = most_bytes
        self._load = load
        self._room = room
        self._processor = processor
        self._redis = processor.delay_queue.redis
        self._trips = processor.delivery.gate.trips
        self._queue = queue
        self._keys = keys
        self._batch_size = processor.delivery.batch_policy.size
        self._keep_seconds = visibility_seconds / KEEPS_PER_TIMEOUT
        self._kept_at = time.monotonic()
        self._consumer: Any = None
        self.in_hand = InHand()
        self._gathered = Gathering(
            processor.delivery.batch_policy,
            self._submit,
            lambda: self.in_hand.batches < MOST_BATCHES,
        )
        self.repeats = Repeats()

    def bind(self, consumer: Any) -> None:
        """Use this Celery consumer from now on.

        The worker calls it each time it has connected.
        """
        self._consumer = consumer
        if consumer.event_dispatcher:
            consumer.event_dispatcher.buffer_limit = EVENTS_AT_ONCE
        # The new channel does not count what an earlier one fetched.
        self._count(self.in_hand.messages())
        self._load.remove(self.in_hand.ended_tags())

    def add(self, fetched: Sequence[FetchedMessage]) -> None:
        """Gather these messages, to be handled in batches soon."""
        self.in_hand.add(fetched)
        self._send_received(fetched)
        self._gathered.add(fetched, self._consumer.timer)

    def descriptions(self) -> list[dict[str, Any]]:
        """Return the messages in hand, the oldest first, described as Celery describes tasks."""
        return [each.description(self._queue) for each in self.in_hand.messages()]

    def flush(self) -> None:
        """Handle the gathered messages without waiting for more."""
        self._gathered.flush()

    def extend_visibility(self) -> None:
        """Extend the visibility timeout of the messages in hand, if it is time to.

        Housekeeping calls it each second, so that a message stays this worker's however long its
        delivery takes.

        Raises:
            redis.RedisError: Redis did not extend it; the next call tries again.
        """
        messages = self.in_hand.messages()
        if time.monotonic() - self._kept_at >= self._keep_seconds and messages:
            keep(self._redis, self._keys[0], [each.tag for each in messages])
            self._kept_at = time.monotonic()

    def adopt(self) -> None:
        """Adopt events whose members were locked and are free; housekeeping calls it each second.

        Raises:
            redis.RedisError: Redis did not answer, or refused.
        """
        self._adopt(self._processor.waiting.adopt)

    def state(self) -> WorkerState:
        """Return what this worker does now: consuming, cancelled or stopping."""
        if is_stopping():
            return "stopping"
        consumer = self._consumer
        # Without a task consumer the worker is connecting again, and then goes on as before.
        if consumer is None or not consumer.task_consumer or takes_events(consumer, self._queue):
            return "consuming"
        return "cancelled"

    @property
    def node(self) -> str:
        """Celery's name of this worker; empty before the worker has connected."""
        return str(self._consumer.hostname) if self._consumer else ""

    def drain(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until all messages in hand have ended.

        Args:
            seconds: The longest wait.
            meanwhile: Called about once a second; its Redis errors are ignored.
        """
        self.flush()
        ends = time.monotonic() + seconds
        while not self.in_hand.have_ended() and time.monotonic() < ends:
            self.in_hand.wait(LOOK_SECONDS)
            with suppress(redis.RedisError):
                self.extend_visibility()
                meanwhile()
        self._release_ended()

    def has_ended(self) -> bool:
        """Return True if all batches that were under way have ended.

        Any thread may call it.
        """
        return len(self.in_hand.ended_tags()) + len(self._gathered) >= len(self.in_hand)

    def _count(self, batch: Sequence[FetchedMessage]) -> None:
        self._load.add({each.tag: each.weight for each in batch})

    def _submit(self, batch: Sequence[FetchedMessage]) -> None:
        self.in_hand.begin()
        try:
            hub().spawn(partial(self._handle, batch))
        except RuntimeError as error:  # the process is ending, or the system has no thread left
            text = "no thread takes a batch of events: they are back on the queue"
            logger.error(text, extra={"messages": len(batch), "error": type(error).__name__})
            self._put_back([each.tag for each in batch])
            self._end(batch, ())
            sleep(REDIS_PAUSE_SECONDS)  # else this worker might fetch them at once

    def _end(self, batch: Sequence[FetchedMessage], results: Sequence[list[Result]]) -> None:
        self.in_hand.end(batch, results)
        # After the batch has ended: else `bind`, called in between, would count it for good.
        self._load.remove(each.tag for each in batch)
        self._consumer.call_soon(self._release_ended)

    # Methods that run in a greenlet.

    def _handle(self, batch: Sequence[FetchedMessage]) -> None:
        results: Sequence[list[Result]] = ()
        try:
            results = process_batch(self._processor, batch)
            acknowledge(self._trips, self._keys, [each.tag for each in batch])
        except redis.RedisError as error:
            self._requeue(
                batch, "Redis did not take an event; it stays on the queue", type(error).__name__
            )
        except BaseException as error:  # noqa: BLE001  a bug must cost no event and no greenlet
            why = "a bug: an event stays on the queue, please report it"
            self._requeue(batch, why, whereabouts(error), failed=True)
        finally:
            self._end(batch, results)
        with suppress(redis.RedisError):  # then housekeeping adopts them
            self._adopt(self._processor.waiting.adopt_awaited)

    def _adopt(self, adopt: Callable[..., list[list[tuple[str, str]]]]) -> None:
        if not self._is_consuming() or self.in_hand.events_under_way >= self._room.events:
            return  # a worker with more room adopts them
        weights = [each.weight for each in self.in_hand.messages()]
        room = self._most_bytes - sum(each.bytes for each in weights)
        if room <= 0 or any(each.alone for each in weights):
            return
        adopted = adopt(room, idle=not weights)
        try:
            batches = list(adopted_batches(adopted, self._batch_size))
        except Exception:
            self._put_back([tag for found in adopted for _, tag in found], failed=True)
            raise
        for batch in batches:
            self.in_hand.add(batch)
            self._count(batch)
            self._consumer.call_soon(partial(self._send_received, batch))
            self._submit(batch)

    def _is_consuming(self) -> bool:
        consumer = self._consumer
        return consumer is not None and not is_stopping() and takes_events(consumer, self._queue)

    def _requeue(
        self, batch: Sequence[FetchedMessage], why: str, error: str, *, failed: bool = False
    ) -> None:
        for each in batch:
            logger.error(why, extra={"event": each.message.id, "error": error})
        sleep(REDIS_PAUSE_SECONDS)
        self._put_back([each.tag for each in batch], failed=failed)

    def _put_back(self, tags: Sequence[str], *, failed: bool = False) -> None:
        with suppress(redis.RedisError):  # then `repeats` tries it again
            self.repeats.attempt(
                partial(put_back, self._redis, self._queue, self._keys, tags, failed=failed)
            )

    # Methods that run in Celery's loop.

    def _release_ended(self) -> None:
        """Send Flower how the ended messages ended, and make room for others."""
        for batch, results in self.in_hand.release():
            if is_watched(dispatcher := self._consumer.event_dispatcher):
                for each, its_results in zip(batch, results, strict=False):
                    seconds = time.monotonic() - each.at
                    send_endings(dispatcher, each.message, its_results, seconds)

    def _send_received(self, batch: Sequence[FetchedMessage]) -> None:
        if is_watched(dispatcher := self._consumer.event_dispatcher):
            for each in batch:
                send_received(dispatcher, each.message)
