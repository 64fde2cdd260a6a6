"""Bootsteps that this program adds to Celery's worker: housekeeping, and a drain on shutdown."""

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
    """The step that runs `run_housekeeping` once a second while the worker is connected."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._ended = Event()
        self._thread: Thread | None = None

    def start(self, consumer: Any) -> None:
        """Start a thread for housekeeping.

        Celery's loop must not wait for a Redis that does not answer.
        """
        self._ended = Event()
        self._thread = Thread(
            target=_repeat,
            args=(partial(run_housekeeping, consumer.app.runtime), self._ended),
            name="housekeeping",
            daemon=True,
        )
        self._thread.start()

    def stop(self, consumer: Any) -> None:  # noqa: ARG002  Celery's
        """Stop the thread, and wait for it at most a second."""
        self._ended.set()
        if self._thread:
            self._thread.join(KEEP_HOUSE_EVERY_SECONDS)
            self._thread = None


def _repeat(act: Callable[[], None], ended: Event) -> None:
    while not ended.wait(KEEP_HOUSE_EVERY_SECONDS):
        act()


class DrainOnShutdown(bootsteps.StartStopStep):
    """The step that ends what is in hand before the worker stops.

    After a lost connection the worker does not stop, and its threads go on.
    """

    requires = (Tasks,)

    def stop(self, consumer: Any) -> None:
        """Wait until what is in hand has ended, if the worker ends."""
        if is_stopping() or consumer.controller.exitcode is not None:
            finish(consumer.app.runtime)
