"""The steps that this program adds to Celery's worker: housekeeping, and the end of what is in hand."""

from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from typing import Any

from celery import bootsteps
from celery.worker.consumer import Tasks

from worker.consumer.housekeeping import finish, run_housekeeping
from worker.consumer.worker_state import is_stopping

KEEP_HOUSE_EVERY_SECONDS = 1.0


class Housekeeping(bootsteps.StartStopStep):
    """Every worker puts delayed events that are due back on the queue and stores its counts, once a second."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._ended = Event()
        self._thread: Thread | None = None

    def start(self, consumer: Any) -> None:
        """Keep house from now on, in a thread of its own: Celery's loop must not wait for a Redis that does not answer."""
        self._ended = Event()
        self._thread = Thread(
            target=_repeat,
            args=(partial(run_housekeeping, consumer.app.runtime), self._ended),
            name="housekeeping",
            daemon=True,
        )
        self._thread.start()

    def stop(self, consumer: Any) -> None:  # noqa: ARG002  Celery's
        """Keep house no more."""
        self._ended.set()
        if self._thread:
            self._thread.join(KEEP_HOUSE_EVERY_SECONDS)
            self._thread = None


def _repeat(act: Callable[[], None], ended: Event) -> None:
    while not ended.wait(KEEP_HOUSE_EVERY_SECONDS):
        act()


class DrainOnShutdown(bootsteps.StartStopStep):
    """A worker that is told to stop ends what it has in hand first; after a lost connection that goes on by itself."""

    requires = (Tasks,)

    def stop(self, consumer: Any) -> None:
        """Handle what is in hand to its end, if the worker ends."""
        if is_stopping() or consumer.controller.exitcode is not None:
            finish(consumer.app.runtime)
