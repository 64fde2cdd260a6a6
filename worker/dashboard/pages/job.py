"""An act on many messages that was asked for in Flower: counted, confirmed, done in steps.

A job lives in Flower's memory and works in a thread of its own. Each of its steps is atomic in
Redis. So if Flower ends, what was done is done, and the rest stays as it is.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from secrets import token_urlsafe
from typing import Any

import redis

from worker.dashboard.pages.shown_queue import Selection, ShownQueue
from worker.dashboard.pages.words import Act
from worker.ops.paced import act_on, batch_size
from worker.ops.replay_preview import ReplayEffect, effect_of
from worker.ops.survey import Survey
from worker.privacy import whereabouts
from worker.queue.message import Message


class State(StrEnum):
    """The state of a job: counting → ready → running → done; it may be cancelled or fail."""

    COUNTING = "counting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


AT_WORK = (State.COUNTING, State.RUNNING)
ENDED = (State.DONE, State.CANCELLED, State.FAILED)


class JobCancelled(Exception):
    """The job was cancelled; its thread ends."""


@dataclass(eq=False)
class Job:
    """One act on some messages. Its own thread changes it; others read it, and may cancel it.

    Attributes:
        queue: The queue.
        act: What is done.
        meant: With which messages.
        id: The job's id, which cannot be guessed.
        state: The state.
        read: Messages read while counting.
        queued: Messages on the queue when counting began.
        survey: The count and the sample.
        done: Messages with which it was done.
        gone: Messages of the count that a worker or another command had taken.
        rate: Messages a second at most.
        trouble: Why the job failed, or why its sample tells no effects, in one line; or "".
    """

    queue: ShownQueue[Any]
    act: Act
    meant: Selection[Any]
    id: str = field(default_factory=lambda: token_urlsafe(12))
    state: State = State.COUNTING
    read: int = 0
    queued: int = 0
    done: int = 0
    gone: int = 0
    rate: int = 0
    trouble: str = ""
    survey: Survey = field(init=False)
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Prepare the survey."""
        self.survey = Survey(self._effect if self.act.is_try else lambda _: None)

    @property
    def is_at_work(self) -> bool:
        """True if its thread works."""
        return self.state in AT_WORK

    def count(self) -> None:
        """Count the messages, in a thread of its own."""
        self._work(self._count)

    def start(self, rate: int) -> bool:
        """Begin if the job is ready, in a thread of its own; return False if it is not.

        `rate` is how many messages a second it may do at most.
        """
        with self._lock:
            if self.state != State.READY:
                return False
            self.state, self.rate = State.RUNNING, rate
        self._work(self._run)
        return True

    def cancel(self) -> None:
        """End the job after the step that it is at. A job that has ended stays as it is."""
        self._cancelled.set()
        with self._lock:
            if self.state == State.READY:
                self.state = State.CANCELLED
                self.meant.release()

    def _work(self, work: Callable[[], State]) -> None:
        threading.Thread(target=self._do, args=(work,), name="job", daemon=True).start()

    def _do(self, work: Callable[[], State]) -> None:
        try:
            self._end_in(work())
        except JobCancelled:
            self.state = State.CANCELLED
        except redis.RedisError as error:
            self.trouble = self.queue.trouble(error)
            self.state = State.FAILED
        except Exception as error:  # noqa: BLE001  the text of an error may quote an event
            self.trouble = f"a bug, please report it: {whereabouts(error)}"
            self.state = State.FAILED
        if self.state in ENDED:
            self.meant.release()

    def _end_in(self, state: State) -> None:
        with self._lock:
            # A cancel that came while the state was still COUNTING has only set the event.
            came_late = state == State.READY and self._cancelled.is_set()
            self.state = State.CANCELLED if came_late else state

    def _count(self) -> State:
        self.queued = self.queue.count()
        for item in self.meant.read(self._on_read):
            self.survey.add(item.message, *self.queue.since(item))
            self._wait(0)
        self._wait(0)
        return State.READY if self.survey.total else State.DONE

    def _on_read(self, number: int) -> None:
        self.read = number
        self._wait(0)

    def _run(self) -> State:
        size = batch_size(self.rate)
        of_these = self.meant.batches(self.survey, size, lambda: self.done, lambda: self._wait(0))
        act = partial(self.queue.act, self.act)
        act_on(of_these, self.rate, act, self._on_batch, self._wait)
        self.gone += max(0, self.survey.total - self.done - self.gone)
        return State.DONE

    def _on_batch(self, acted: int, offered: int) -> None:
        self.done += acted
        self.gone += offered - acted

    def _wait(self, seconds: float) -> None:
        if self._cancelled.wait(seconds):
            raise JobCancelled

    def _effect(self, message: Message) -> ReplayEffect | None:
        request = self.queue.request(message)
        if "unknown" in request:
            self.trouble = request["unknown"]
            return None
        return effect_of(request)[0]
