"""Retry policy: decides from an outcome whether an event is done, delayed, or a dead letter.

delivered, unchanged, superseded  Done
on_hold, locked, doubtful         Snooze  as long as it takes
throttled                         Snooze  until RETRY_MAX_AGE_HOURS
unavailable, crashed              Retry   until RETRY_MAX_ATTEMPTS or RETRY_MAX_AGE_HOURS
any other                         Bury    another try would end the same

An event that reaches a limit is buried. `processor.py` carries the decision out.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, assert_never

from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.queue.dead_letter_reasons import DeadLetterReason

# An event on hold is back at the front of the queue after so long, and the hold keeps it there.
ON_HOLD_SECONDS = 1.0


@dataclass(frozen=True)
class Done:
    """The event is done; Flower shows `result`."""

    result: str


@dataclass(frozen=True)
class Retry:
    """Another try, `delay` seconds from now; this attempt counts towards the limit."""

    delay: float


@dataclass(frozen=True)
class Snooze:
    """Another try, `delay` seconds from now; this attempt does not count.

    However often an event is snoozed, it never reaches RETRY_MAX_ATTEMPTS by that.
    """

    delay: float


@dataclass(frozen=True)
class Bury:
    """The event becomes a dead letter, for `reason`."""

    reason: DeadLetterReason


Decision = Done | Retry | Snooze | Bury
AGAIN = (Retry, Snooze)  # decisions for another try; a tuple is asked faster than a union


@dataclass(frozen=True)
class RetryPolicy:
    """The limits within which an event is tried.

    Attributes:
        base_seconds: RETRY_BASE_SECONDS, the longest delay after the first failure.
        max_delay_seconds: RETRY_MAX_DELAY_SECONDS, the longest delay without a hint.
        max_attempts: RETRY_MAX_ATTEMPTS.
        max_age_seconds: RETRY_MAX_AGE_HOURS in seconds, by the integration's own clock.
    """

    base_seconds: float = 4
    max_delay_seconds: float = 3600
    max_attempts: int = 50
    max_age_seconds: float = 24 * 3600


class RetryState(NamedTuple):
    """What the earlier attempts of an event have used up, once another attempt has ended.

    Attributes:
        attempts: The attempts that counted, before this one.
        throttled: How many attempts in a row before this one Mailgun answered by 429.
        age_seconds: Seconds since the first attempt by the integration's own clock, which stands
            still during a hold.
    """

    attempts: int
    throttled: int
    age_seconds: float


def retry_delay(failures: int, retry_policy: RetryPolicy, jitter: float) -> float:
    """Return the seconds to wait: base · 2^(failures-1), at most the ceiling, times 50-100 %.

    With the defaults: 2-4 s after the first failure, 1800-3600 s from the eleventh on.

    Args:
        failures: The failures in a row, at least 1.
        retry_policy: The base and the ceiling.
        jitter: A random number in [0, 1).
    """
    doublings = min(failures - 1, 64)
    ceiling = min(retry_policy.max_delay_seconds, retry_policy.base_seconds * 2.0**doublings)
    return ceiling * (0.5 + jitter / 2)


def decide(
    outcome: Outcome,
    retry_state: RetryState,
    retry_policy: RetryPolicy,
    *,
    now: datetime,
    jitter: float,
) -> Decision:
    """Return the decision that follows from `outcome`.

    No delay is shorter than Mailgun's hint. If a 429 came with a hint, the delay is short, because
    the hold keeps the event on the queue until the hint is over.

    Args:
        outcome: The outcome of the attempt.
        retry_state: What the earlier attempts have used up.
        retry_policy: The limits.
        now: The current time, UTC.
        jitter: A random number in [0, 1).
    """
    match outcome.kind:
        case OutcomeKind.DELIVERED | OutcomeKind.UNCHANGED | OutcomeKind.SUPERSEDED:
            return Done(outcome.kind)
        case OutcomeKind.ON_HOLD:
            return Snooze(ON_HOLD_SECONDS)
        case OutcomeKind.LOCKED:
            return Snooze(0.0)  # not used: the event waits until the locked member is free
        case OutcomeKind.DOUBTFUL:
            return Snooze(outcome.again_in)
        case OutcomeKind.THROTTLED | OutcomeKind.UNAVAILABLE | OutcomeKind.CRASHED:
            return _try_again(outcome, retry_state, retry_policy, now=now, jitter=jitter)
        case (
            OutcomeKind.REJECTED
            | OutcomeKind.UNAUTHORIZED
            | OutcomeKind.LIST_NOT_FOUND
            | OutcomeKind.UNEXPECTED_STATUS
            | OutcomeKind.WRONG_MEMBER
            | OutcomeKind.UNREADABLE_MEMBER
        ):
            return Bury(DeadLetterReason(outcome.kind))  # they go by the same names
        case _:
            assert_never(outcome.kind)


def _try_again(
    outcome: Outcome,
    retry_state: RetryState,
    retry_policy: RetryPolicy,
    *,
    now: datetime,
    jitter: float,
) -> Decision:
    throttled = outcome.kind is OutcomeKind.THROTTLED
    attempts = retry_state.attempts + (not throttled)
    if (
        retry_state.age_seconds >= retry_policy.max_age_seconds
        or attempts >= retry_policy.max_attempts
    ):
        return Bury(DeadLetterReason.RETRIES_EXHAUSTED)
    hint = (outcome.wait_until - now).total_seconds() if outcome.wait_until else 0.0
    if throttled and hint > 0:
        # The hold keeps to the hint. If something ends the hold, it ends this wait, too.
        return Snooze(ON_HOLD_SECONDS)
    failures = retry_state.throttled + 1 if throttled else attempts
    delay = max(retry_delay(failures, retry_policy, jitter), hint)
    return Snooze(delay) if throttled else Retry(delay)
