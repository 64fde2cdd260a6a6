"""A producer that keeps on: it paces itself by what waits, and puts again what Redis did not take."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import redis

from tests.chaos.sessions import Sent
from worker.producer import EventQueue, message_for

if TYPE_CHECKING:
    from worker.delivery.message import Message


class Producer(threading.Thread):
    """Puts events on the queue, keeping a backlog there, and puts them again where Redis did not take them."""

    def __init__(self, queue: EventQueue, waiting: Callable[[], int], sent: list[Sent]) -> None:
        super().__init__(daemon=True)
        self._queue = queue
        self._waiting = waiting
        self._sent = sent
        self._stopped = threading.Event()
        self.put = 0
        self.backlog = 250  # events that may wait before more are put
        self.batch = 25
        self.pause = 0.0  # seconds between two batches

    @property
    def share(self) -> float:
        """How much of everything has been put."""
        return self.put / len(self._sent)

    def run(self) -> None:
        while self.put < len(self._sent) and not self._stopped.is_set():
            with suppress(redis.RedisError):
                self._put_some()
            self._stopped.wait(self.pause or 0.005)

    def _put_some(self) -> None:
        if self._waiting() < self.backlog:
            batch = self._sent[self.put : self.put + self.batch]
            self._queue.put([message_of(each) for each in batch])
            self.put += len(batch)

    @contextmanager
    def trickling(self) -> Iterator[None]:
        """Some forty events a second, so that it does not run out of them while one waits."""
        before = self.batch, self.pause
        self.batch, self.pause = 2, 0.05
        yield
        self.batch, self.pause = before

    def stop(self) -> None:
        """No more is put."""
        self._stopped.set()
        self.join(30)


def message_of(sent: Sent) -> "Message":
    """The message that carries the event, as a producer makes it."""
    message = message_for(sent.event)
    assert message.id == sent.id
    return message
