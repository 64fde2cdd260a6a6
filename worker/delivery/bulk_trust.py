"""Trust in bulk calls: what Mailgun's answers to `members.json` are worth on this account.

Such an answer names no member, and comes in several forms. Whatever it looks like, a call counts
only if its members are there. So a sample is read back after each call, until FIRST_CALLS samples
in a row have held for answers of that form; from then on after one call in LATER_CALLS, and if no
sample was read for SAMPLE_SECONDS. If Mailgun stores the members after its answer, each call is
sampled: a member is released once its call was seen, so that no job is applied over a newer write.

If a sample is missing, all trust is lost, and members are written alone for a while: ALONE_SECONDS,
and twice as long each time until trust is earned again.

`Keys.bulk` holds the state for all workers of the integration: per form the samples that held, the
seconds until the members of a background call were there, and until when members are written alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from worker.greenlets import sleep
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.redis_client.clock import redis_now
from worker.redis_client.keys import Keys
from worker.redis_client.lua import ALLOW_WHEN_FULL, script

if TYPE_CHECKING:
    import redis

FIRST_CALLS = 10  # samples in a row that earn trust
LATER_CALLS = 100  # one of which is sampled
ODD_CALLS = 5  # odd answers in a row that count as failures; the next one is sampled
SAMPLE_SECONDS = 30.0  # after which the next call of any worker is sampled
# Members that are read back as long as no sample has held, if a job may store the members.
FIRST_SAMPLE = 3
TRIAL_SIZE = 10  # members of a call at most, as long as no sample has held after a missing one
ALONE_SECONDS = 60.0  # how long members are written alone after the first missing sample
LONGEST_ALONE_SECONDS = 3600.0
# How long a sample is waited for: if the answer may mean a background job, and else.
BACKGROUND_SECONDS = 10.0
STORED_SECONDS = 0.5
EARLIER = 0.9  # of the last delay, after which the first look is due
FIRST_PAUSE_SECONDS = 0.1  # between two looks; each further pause is twice as long
LIVES_SECONDS = 30 * 86_400
CACHED_SECONDS = 1.0  # how old the state may be that a decision uses

TRUST = ALLOW_WHEN_FULL + script("worker.delivery", "bulk_trust")


class Form(StrEnum):
    """The form of a 200 to a bulk call.

    Attributes:
        LIST: It shows the list, and no job. Mailgun docs: up to 100 members are stored by then.
        TASK: It has a `task-id`: the members are stored, or a background job stores them later.
        OTHER: It shows neither.
    """

    LIST = "list"
    TASK = "task"
    OTHER = "other"

    @property
    def may_come_later(self) -> bool:
        """Return whether Mailgun may store the members after such an answer."""
        return self is not Form.LIST


@dataclass(frozen=True)
class BulkState:
    """What the samples have shown so far.

    Attributes:
        alone_for: Seconds for which members are written alone; 0: they share calls.
        why: Why they are, or lately were, written alone.
        held: Form -> samples that held in a row.
        form: The form of the latest answer that was looked into; None if there was none.
        delay: The seconds until the members of background calls were there; 0.0: at once.
        missed: The missing samples since trust was last earned.
        sampled_ago: The seconds since a sample held; None if none did.
    """

    alone_for: float = 0.0
    why: str = ""
    held: Mapping[str, int] = field(default_factory=dict)
    form: str | None = None
    delay: float = 0.0
    missed: int = 0
    sampled_ago: float | None = None


class BulkTrust:
    """The trust of one integration. Safe to share between threads.

    Each method that reads or notes raises `redis.RedisError` if Redis does not answer.
    """

    def __init__(
        self,
        redis: "redis.Redis",
        integration: str,
        *,
        longest_look: float = BACKGROUND_SECONDS,
        sleep: Callable[[float], None] = sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use the state of `integration` in Redis.

        Args:
            redis: The client of the Redis that holds the state.
            integration: The value of SIGNAL_INTEGRATION.
            longest_look: Seconds for which a sample of a background call is waited for.
            sleep: Waits for a number of seconds.
            clock: Returns seconds that never go back.
        """
        self.sleep = sleep
        self.clock = clock
        self._redis = redis
        self._key = Keys(integration).bulk
        self.longest_look = longest_look
        self._calls = count(1)
        # Answers of no known form in a row, as this process got them.
        self._others = 0
        self._read_at = float("-inf")
        self._state = BulkState()
        self._lock = Lock()

    def state(self) -> BulkState:
        """Return the state, at most CACHED_SECONDS old."""
        with self._lock:
            if self.clock() - self._read_at < CACHED_SECONDS:
                return self._state
        return self._run("")

    def shares(self) -> bool:
        """Return whether members share calls now."""
        return self.state().alone_for == 0

    def call_size(self, most: int) -> int:
        """Return how many members a call has at most: `most`, or fewer while it is on trial."""
        state = self.state()
        return min(most, TRIAL_SIZE) if state.missed and not any(state.held.values()) else most

    def note_answer(self, form: Form) -> None:
        """Note the form of a 200, before `is_odd` is asked of it."""
        with self._lock:
            self._others = self._others + 1 if form is Form.OTHER else 0

    def is_odd(self, form: Form) -> bool:
        """Return whether samples have held for answers of another form, and none for this one.

        Then the account answers otherwise, and the cause may be one member of the call. But after
        ODD_CALLS such answers in a row they are the account's form by now.

        Like `is_late`, it reads the state as it was before the call was sent: if Redis failed now,
        it would not be known what becomes of the members.
        """
        with self._lock:
            held, others = self._state.held, self._others
        is_new = form is Form.OTHER and not held.get(form)
        return is_new and any(held.values()) and others <= ODD_CALLS

    def is_late(self) -> bool:
        """Return whether background jobs of this account store members after the answer."""
        with self._lock:
            return self._state.delay > 0

    def believes(self, form: Form) -> bool:
        """Return whether a call that was answered so counts if its sample could not be read."""
        return not form.may_come_later or _first_samples(form, self.state()) == 0

    def sample_size(self, form: Form) -> int:
        """Count a call that was answered so, and return how many members are to be read back."""
        number, state = next(self._calls), self.state()
        ago = state.sampled_ago
        is_long_ago = ago is None or ago + self.clock() - self._read_at > SAMPLE_SECONDS
        return _first_samples(form, state) or int(number % LATER_CALLS == 0 or is_long_ago)

    def longest(self, form: Form) -> float:
        """Return the seconds for which a sample is waited for at most."""
        return self.longest_look if form.may_come_later else STORED_SECONDS

    def pauses(self, form: Form, left: float) -> Iterator[float]:
        """Yield the seconds to wait before each look at a sample, `left` in all.

        The first look is due a little before the members were there the last time, so that a
        shorter delay is noticed.
        """
        first = min(EARLIER * self.state().delay, left) if form.may_come_later else 0.0
        yield first
        pause = FIRST_PAUSE_SECONDS
        left -= first
        while left > 0:
            yield min(pause, left)
            left, pause = left - pause, 2 * pause

    def note_held(self, form: Form, seconds: float) -> None:
        """Note a sample that was there, `seconds` after the answer."""
        self._run("held", form, seconds)

    def note_missing(self, form: Form, why: str) -> bool:
        """Note a sample that was missing, and return whether members shared calls until now.

        Args:
            form: The form of the answer.
            why: What was seen, in one line without a person's data.
        """
        shared = self.shares()
        self._run("missing", form, 0.0, why)
        return shared

    def _run(self, noted: str, form: str = "", seconds: float = 0.0, why: str = "") -> BulkState:
        rules = FIRST_CALLS, ALONE_SECONDS, LONGEST_ALONE_SECONDS, LIVES_SECONDS
        answer = self._trust(keys=[self._key], args=[noted, form, f"{seconds:.3f}", why, *rules])
        alone_for, sampled_ago, *pairs = answer
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        state = state_of(float(alone_for), float(sampled_ago), fields)
        with self._lock:
            self._read_at, self._state = self.clock(), state
        return state

    @cached_property
    def _trust(self) -> Any:
        return self._redis.register_script(TRUST)


def _first_samples(form: Form, state: BulkState) -> int:
    """Return the members of a sample, 0 if trust is earned and no job stores members late."""
    held = state.held.get(form, 0)
    if held >= FIRST_CALLS and not (form.may_come_later and state.delay):
        return 0
    return FIRST_SAMPLE if form.may_come_later and not held else 1


def state_of(alone_for: float, sampled_ago: float, fields: Mapping[str, str]) -> BulkState:
    """Return the state that the fields of `Keys.bulk` describe.

    Args:
        alone_for: Seconds for which members are written alone.
        sampled_ago: The seconds since a sample held; negative if none did.
        fields: The fields of the hash.
    """
    return BulkState(
        alone_for,
        fields.get("why", ""),
        {form: int(fields.get(f"held:{form}", 0)) for form in Form},
        fields.get("form"),
        float(fields.get("delay", 0)),
        int(fields.get("missed", 0)),
        sampled_ago if sampled_ago >= 0 else None,
    )


def read_state(redis: "redis.Redis", integration: str) -> BulkState:
    """Return the state of the trust. Changes nothing.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    fields = cast("dict[str, str]", redis.hgetall(Keys(integration).bulk))
    now = redis_now(redis)
    left = float(fields.get("alone_until", 0)) - now
    alone_for = left if 0 < left <= LONGEST_ALONE_SECONDS else 0.0
    return state_of(alone_for, now - float(fields.get("held_at", now + 1)), fields)


def form_of(outcome: Outcome) -> Form:
    """Return the form of the answer to a bulk call with this outcome, whose status is 200."""
    if outcome.kind is not OutcomeKind.DELIVERED:
        return Form.OTHER
    return Form.TASK if outcome.unsettled else Form.LIST
