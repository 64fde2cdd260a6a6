"""A producer that keeps on: it paces itself by what waits, and puts again what Redis did not take."""

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

Put = Callable[
    [list[Sent]], None
]  # all of them are on the queue when it returns; raises `RedisError` where that is not sure


def bundles(queue: EventQueue) -> Put:
    """Many events a message, as `enqueue_many` puts them."""

    def put(events: list[Sent]) -> None:
        queue.put_many([SerializedEvent(event_text(each.event), time.time()) for each in events])

    return put


def singles(queue: EventQueue) -> Put:
    """Each event in a message of its own."""

    def put(events: list[Sent]) -> None:
        queue.put([message_of(each) for each in events])

    return put


class Producer(threading.Thread):
    """Puts events on the queue, keeping a backlog there, and puts them again where Redis did not take them."""

    def __init__(self, put: Put, waiting: Callable[[], int], sent: list[Sent]) -> None:
        super().__init__(daemon=True)
        self._put = put
        self._waiting = waiting
        self._stopped = threading.Event()
        self.sent = sent
        self._so_far = 0
        self.put_at: dict[str, float] = {}  # event id -> when it was put, epoch seconds
        self.backlog = 250  # messages that may wait before more are put
        self.burst = 25  # events put at once
        self.pause = 0.0  # seconds between two bursts

    @property
    def share(self) -> float:
        """How much of everything has been put."""
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
        """So few events, so that it does not run out of them while one waits."""
        before = self.burst, self.pause
        self.burst, self.pause = 1, 1 / a_second
        yield
        self.burst, self.pause = before

    def stop(self) -> None:
        """No more is put."""
        self._stopped.set()
        self.join(30)


def message_of(sent: Sent) -> "Message":
    """The message that carries the event, as a producer makes it."""
    message = message_for(sent.event)
    assert message.id == sent.id
    return message
