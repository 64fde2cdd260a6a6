"""A replay or purge that was asked for in Flower: counted, confirmed, done in steps, cancelled.

A job lives in Flower's memory and works in a thread of its own. Each of its steps is atomic in
Redis. So if Flower ends, what was done is done, and the rest stays as it is.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from secrets import token_urlsafe

import redis

from worker.dashboard.dead_letters.integration import Integration
from worker.ops.dead_letter_pages import LetterKey, matching
from worker.ops.dead_letter_survey import Survey
from worker.ops.paced import act_on, batch_size
from worker.ops.redis_check.errors import describe_redis_error
from worker.ops.replay_preview import ReplayEffect, effect_of
from worker.privacy import whereabouts
from worker.queue.dead_letter_filter import DeadLetterFilter, batches
from worker.queue.dead_letters import AT_ONCE_BYTES, DeadLetter

MOST_JOBS, MOST_AT_WORK = 20, 3


class Action(StrEnum):
    """What is done with the letters."""

    REPLAY = "replay"
    PURGE = "purge"


class State(StrEnum):
    """The state of a job: counting → ready → running → done; it may be cancelled or fail."""

    COUNTING = "counting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


AT_WORK = (State.COUNTING, State.RUNNING)


class TooManyJobs(Exception):
    """So many jobs are at work that no other may begin; the text is one line."""


class JobCancelled(Exception):
    """The job was cancelled; its thread ends."""


@dataclass(frozen=True)
class Meant:
    """The letters of a job: those of `keys`, or if there is none those that match `wanted`.

    Attributes:
        keys: The letters that were ticked.
        wanted: The filter.
        text: Which letters these are, in words.
    """

    keys: tuple[LetterKey, ...]
    wanted: DeadLetterFilter
    text: str


@dataclass(eq=False)
class Job:
    """One replay or purge. Its own thread changes it; others read it, and may cancel it.

    Attributes:
        integration: The integration.
        action: What is done.
        meant: With which letters.
        id: The job's id, which cannot be guessed.
        state: The state.
        read: Letters read while counting.
        queued: Letters on the queue when counting began.
        survey: The count and the sample.
        done: Letters replayed or purged.
        gone: Letters of the count that another command had removed.
        rate: Letters a second at most.
        trouble: Why the job failed, or why its sample tells no effects, in one line; or "".
    """

    integration: Integration
    action: Action
    meant: Meant
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
        self.survey = Survey(self._effect if self.action == Action.REPLAY else lambda _: None)

    @property
    def is_at_work(self) -> bool:
        """True if its thread works."""
        return self.state in AT_WORK

    def count(self) -> None:
        """Count the letters, in a thread of its own."""
        self._work(self._count)

    def start(self, rate: int) -> bool:
        """Begin if the job is ready, in a thread of its own; return False if it is not.

        Args:
            rate: Letters a second at most.
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

    def _work(self, work: Callable[[], State]) -> None:
        threading.Thread(target=self._do, args=(work,), name="dead-letter job", daemon=True).start()

    def _do(self, work: Callable[[], State]) -> None:
        try:
            self._end_in(work())
        except JobCancelled:
            self.state = State.CANCELLED
        except redis.RedisError as error:
            url = self.integration.settings.redis_url
            trouble = describe_redis_error(error, url)
            self.trouble = f"Redis at {trouble.found}; {trouble.fix.rstrip('.')}"
            self.state = State.FAILED
        except Exception as error:  # noqa: BLE001  the text of an error may quote an event
            self.trouble = f"a bug, please report it: {whereabouts(error)}"
            self.state = State.FAILED

    def _end_in(self, state: State) -> None:
        with self._lock:
            # A cancel that came while the state was still COUNTING has only set the event.
            came_late = state == State.READY and self._cancelled.is_set()
            self.state = State.CANCELLED if came_late else state

    def _count(self) -> State:
        self.queued = self.integration.letters.count()
        for buried in self._letters():
            self.survey.add(buried)
            self._wait(0)
        self._wait(0)
        return State.READY if self.survey.total else State.DONE

    def _letters(self) -> Iterator[DeadLetter]:
        if self.meant.keys:
            return self.integration.letters_with(self.meant.keys, self._on_read)
        return matching(self.integration.letters, self.meant.wanted, self._on_read)

    def _on_read(self, number: int) -> None:
        self.read = number
        self._wait(0)

    def _run(self) -> State:
        letters, size = self.integration.letters, batch_size(self.rate)
        of_these = (
            self._ticked(size)
            if self.meant.keys
            else batches(
                letters,
                self.meant.wanted.not_after(self.survey.latest),
                self.survey.total,
                at_once=size,
            )
        )
        act_on(of_these, self.rate, self._act, self._on_batch, self._wait)
        self.gone += max(0, self.survey.total - self.done - self.gone)
        return State.DONE

    def _act(self, batch: list[DeadLetter]) -> int:
        letters = self.integration.letters
        if self.action == Action.REPLAY:
            return letters.replay(batch, time.time())
        return letters.purge(batch)

    def _on_batch(self, acted: int, offered: int) -> None:
        self.done += acted
        self.gone += offered - acted

    def _ticked(self, size: int) -> Iterator[list[DeadLetter]]:
        """Yield the letters ticked, the oldest first, in lists limited in number and bytes."""
        batch: list[DeadLetter] = []
        for key in self.integration.located(self.meant.keys, lambda _: self._wait(0)):
            self._wait(0)
            if buried := self.integration.letter(key, self.done):
                batch.append(buried)
            if len(batch) == size or sum(len(each.raw) for each in batch) > AT_ONCE_BYTES:
                yield batch
                batch = []
        if batch:
            yield batch

    def _wait(self, seconds: float) -> None:
        if self._cancelled.wait(seconds):
            raise JobCancelled

    def _effect(self, buried: DeadLetter) -> ReplayEffect | None:
        request = self.integration.request(buried.message)
        if "unknown" in request:
            self.trouble = request["unknown"]
            return None
        return effect_of(request)[0]


class Jobs:
    """The latest jobs."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def add(self, job: Job) -> None:
        """Keep the job and begin to count its letters.

        Raises:
            TooManyJobs: Too many others are at work.
        """
        self._check_room()
        self._jobs[job.id] = job
        idle = [each.id for each in self._jobs.values() if not each.is_at_work]
        for each in idle[: max(0, len(self._jobs) - MOST_JOBS)]:
            del self._jobs[each]
        job.count()

    def start(self, job: Job, rate: int) -> bool:
        """Begin the job; see `Job.start`.

        Raises:
            TooManyJobs: Too many others are at work.
        """
        if job.state == State.READY:
            self._check_room()
        return job.start(rate)

    def with_id(self, id: str) -> Job | None:
        """Return the job, or None if there is none."""
        return self._jobs.get(id)

    def at_work(self) -> list[Job]:
        """Return the jobs that count or run."""
        return [each for each in self._jobs.values() if each.is_at_work]

    def _check_room(self) -> None:
        if len(self.at_work()) >= MOST_AT_WORK:
            raise TooManyJobs(
                f"{MOST_AT_WORK} replays or purges are at work; "
                "wait until one is done, or cancel one"
            )
