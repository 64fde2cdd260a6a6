"""What follows from an outcome: done, delayed until a time, or a dead letter. Carrying it out is the handling's work."""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.queue.dead_letter_reasons import DeadLetterReason

HELD_SECONDS = 1.0


@dataclass(frozen=True)
class Done:
    """Nothing is left to do; `result` is what Flower shows."""

    result: str


@dataclass(frozen=True)
class Retry:
    """Try again `delay` seconds from now; this attempt counts towards the limit."""

    delay: float


@dataclass(frozen=True)
class Snooze:
    """Try again `delay` seconds from now; this attempt costs nothing."""

    delay: float


@dataclass(frozen=True)
class Bury:
    """A dead letter, for `reason`."""

    reason: DeadLetterReason


Decision = Done | Retry | Snooze | Bury


@dataclass(frozen=True)
class RetryPolicy:
    """How long an event is tried: RETRY_* in seconds and attempts."""

    base_seconds: float = 4
    max_delay_seconds: float = 3600
    max_attempts: int = 50
    max_age_seconds: float = 24 * 3600


@dataclass(frozen=True)
class RetryState:
    """Where an event stands when its attempt has ended."""

    attempts: int  # spent before this one
    throttled: int  # times in a row it was told to wait before this one
    age_seconds: float  # since its first attempt, while Mailgun might be asked


def retry_delay(failures: int, retry_policy: RetryPolicy, chance: float) -> float:
    """Seconds to wait after `failures` (≥ 1) failures: base · 2^(failures-1), at most the ceiling, times a random 50-100 %.

    With the defaults: 2-4 s after the first, 1800-3600 s from the eleventh on. `chance` is a random number in [0, 1).
    """
    doublings = min(failures - 1, 64)
    ceiling = min(retry_policy.max_delay_seconds, retry_policy.base_seconds * 2.0**doublings)
    return ceiling * (0.5 + chance / 2)


def decide(
    outcome: Outcome,
    retry_state: RetryState,
    retry_policy: RetryPolicy,
    *,
    now: datetime,
    chance: float,
) -> Decision:
    """What follows from `outcome`. Mailgun's hint is a floor, never shortened."""
    match outcome.kind:
        case OutcomeKind.DELIVERED | OutcomeKind.UNCHANGED | OutcomeKind.SUPERSEDED:
            return Done(outcome.kind)
        case OutcomeKind.HELD | OutcomeKind.BUSY | OutcomeKind.DOUBTFUL:
            return Snooze(_wait_free_of_charge(outcome))
        case OutcomeKind.THROTTLED | OutcomeKind.UNAVAILABLE | OutcomeKind.CRASHED:
            return _again(outcome, retry_state, retry_policy, now=now, chance=chance)
        case (
            OutcomeKind.REJECTED
            | OutcomeKind.UNAUTHORIZED
            | OutcomeKind.LIST_NOT_FOUND
            | OutcomeKind.UNEXPECTED_STATUS
        ):
            return Bury(DeadLetterReason(outcome.kind))  # they go by the same names
        case OutcomeKind.WRONG_MEMBER | OutcomeKind.UNREADABLE_MEMBER:
            return Bury(DeadLetterReason(outcome.kind))
        case _:
            assert_never(outcome.kind)


def _wait_free_of_charge(outcome: Outcome) -> float:
    match outcome.kind:
        case OutcomeKind.HELD:
            return HELD_SECONDS  # back at the front of the queue, where the hold keeps it
        case OutcomeKind.DOUBTFUL:
            return outcome.again_in
        case _:
            return 0.0  # until its member is free


def _again(
    outcome: Outcome,
    retry_state: RetryState,
    retry_policy: RetryPolicy,
    *,
    now: datetime,
    chance: float,
) -> Decision:
    told_to_wait = outcome.kind is OutcomeKind.THROTTLED
    attempts = retry_state.attempts + (not told_to_wait)
    if (
        retry_state.age_seconds >= retry_policy.max_age_seconds
        or attempts >= retry_policy.max_attempts
    ):
        return Bury(DeadLetterReason.RETRIES_EXHAUSTED)
    hint = (outcome.wait_until - now).total_seconds() if outcome.wait_until else 0.0
    if told_to_wait and hint > 0:
        return Snooze(
            HELD_SECONDS
        )  # the hold keeps to the hint, and what ends the hold ends the wait
    failures = retry_state.throttled + 1 if told_to_wait else attempts
    delay = max(retry_delay(failures, retry_policy, chance), hint)
    return Snooze(delay) if told_to_wait else Retry(delay)
