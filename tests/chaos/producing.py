"""A producer that keeps a backlog on the queue and repeats what Redis did not accept."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import redis

from tests.chaos.sessions import Sent
from worker.queue.producer import EventQueue, SerializedEvent, message_for
from worker.signal.json_value import event_text

if TYPE_CHECKING:
    from worker.queue.message import Message

# Puts all events on the queue; raises `RedisError` if it is not sure that it did.
Put = Callable[[list[Sent]], None]


def bundles(queue: EventQueue) -> Put:
    """Return a function that puts many events in a message, as `enqueue_many` does."""

    def put(events: list[Sent]) -> None:
        queue.put_many([SerializedEvent(event_text(each.event), time.time()) for each in events])

    return put


def singles(queue: EventQueue) -> Put:
    """Return a function that puts each event in a message of its own."""

    def put(events: list[Sent]) -> None:
        queue.put([message_of(each) for each in events])

    return put


class Producer(threading.Thread):
    """A thread that keeps a backlog of events on the queue and repeats what Redis did not accept.

    Attributes:
        sent: The events to put.
        put_at: Event id → when it was put, in epoch seconds.
        backlog: The messages that may wait before more are put.
        burst: The events put at once.
        pause: The seconds between two bursts.
    """

    def __init__(self, put: Put, waiting: Callable[[], int], sent: list[Sent]) -> None:
        super().__init__(daemon=True)
        self._put = put
        self._waiting = waiting
        self._stopped = threading.Event()
        self.sent = sent
        self._so_far = 0
        self.put_at: dict[str, float] = {}
        self.backlog = 250
        self.burst = 25
        self.pause = 0.0

    @property
    def share(self) -> float:
        """The share of all events that has been put."""
        return self._so_far / len(self.sent)

    def run(self) -> None:
        while self._so_far < len(self.sent) and not self._stopped.is_set():
            with suppress(redis.RedisError):
                self._put_some()
            self._stopped.wait(self.pause or 0.005)

    def _put_some(self) -> None:
        if self._waiting() < self.backlog:
            burst = self.sent[self._so_far : self._so_far + self.burst]
            self.put_at |= dict.fromkeys((each.id for each in burst), time.time())
            self._put(burst)
            self._so_far += len(burst)

    @contextmanager
    def trickling(self, *, a_second: int = 20) -> Iterator[None]:
        """Put only `a_second` events a second, so that they do not run out within the block."""
        before = self.burst, self.pause
        self.burst, self.pause = 1, 1 / a_second
        yield
        self.burst, self.pause = before

    def stop(self) -> None:
        """Stop putting events."""
        self._stopped.set()
        self.join(30)


def message_of(sent: Sent) -> "Message":
    """Return the message that carries the event, as a producer makes it."""
    message = message_for(sent.event)
    assert message.id == sent.id
    return message
