"""What follows from an outcome, and how long an event waits."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.delivery.retry_policy import (
    ON_HOLD_SECONDS,
    Bury,
    Decision,
    Done,
    Retry,
    RetryPolicy,
    RetryState,
    Snooze,
    decide,
    retry_delay,
)
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.queue.dead_letter_reasons import DeadLetterReason

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)
FRESH = RetryState(attempts=0, throttled=0, age_seconds=0)
CHANCES = st.floats(0, 1, exclude_max=True)


def decided(
    outcome: Outcome | OutcomeKind,
    retry_state: RetryState = FRESH,
    retry_policy: RetryPolicy | None = None,
    jitter: float = 0.0,
) -> Decision:
    outcome = Outcome(outcome, again_in=7.0) if isinstance(outcome, OutcomeKind) else outcome
    return decide(outcome, retry_state, retry_policy or RetryPolicy(), now=NOW, jitter=jitter)


EXPECTED: dict[OutcomeKind, Decision] = {
    OutcomeKind.DELIVERED: Done("delivered"),
    OutcomeKind.UNCHANGED: Done("unchanged"),
    OutcomeKind.SUPERSEDED: Done("superseded"),
    OutcomeKind.ON_HOLD: Snooze(1.0),
    OutcomeKind.LOCKED: Snooze(0.0),
    OutcomeKind.DOUBTFUL: Snooze(7.0),
    OutcomeKind.THROTTLED: Snooze(2.0),
    OutcomeKind.UNAVAILABLE: Retry(2.0),
    OutcomeKind.CRASHED: Retry(2.0),
    OutcomeKind.REJECTED: Bury(DeadLetterReason.REJECTED),
    OutcomeKind.UNAUTHORIZED: Bury(DeadLetterReason.UNAUTHORIZED),
    OutcomeKind.LIST_NOT_FOUND: Bury(DeadLetterReason.LIST_NOT_FOUND),
    OutcomeKind.UNEXPECTED_STATUS: Bury(DeadLetterReason.UNEXPECTED_STATUS),
    OutcomeKind.WRONG_MEMBER: Bury(DeadLetterReason.WRONG_MEMBER),
    OutcomeKind.UNREADABLE_MEMBER: Bury(DeadLetterReason.UNREADABLE_MEMBER),
}


@pytest.mark.parametrize("kind", OutcomeKind)
def test_each_outcome_has_one_decision(kind: OutcomeKind) -> None:
    assert decided(kind) == EXPECTED[kind]


@pytest.mark.parametrize(
    ("failures", "shortest", "longest"),
    [
        (1, 2, 4),
        (2, 4, 8),
        (3, 8, 16),
        (10, 1024, 2048),
        (11, 1800, 3600),
        (50, 1800, 3600),
        (10**6, 1800, 3600),
    ],
)
def test_retry_delay_doubles_from_2_to_4_seconds_up_to_30_to_60_minutes(
    failures: int, shortest: float, longest: float
) -> None:
    assert retry_delay(failures, RetryPolicy(), 0.0) == shortest
    assert retry_delay(failures, RetryPolicy(), 1.0) == longest


@given(st.integers(1, 10_000), CHANCES, st.floats(0.001, 1e6), st.floats(0.001, 1e6))
def test_retry_delay_is_half_to_all_of_the_doubled_base_and_ceiling(
    failures: int, jitter: float, base: float, ceiling: float
) -> None:
    wait = retry_delay(failures, RetryPolicy(base, ceiling), jitter)
    whole = ceiling if failures > 64 else min(ceiling, base * 2 ** (failures - 1))
    assert whole / 2 <= wait <= whole


@given(st.integers(1, 100), CHANCES)
def test_retry_delay_with_equal_jitter_never_shrinks_with_failures(
    failures: int, jitter: float
) -> None:
    assert retry_delay(failures + 1, RetryPolicy(), jitter) >= retry_delay(
        failures, RetryPolicy(), jitter
    )


def test_jitter_spreads_the_retry_delays_at_the_ceiling() -> None:
    assert len({retry_delay(50, RetryPolicy(), jitter / 10) for jitter in range(10)}) == 10


@pytest.mark.parametrize("hint", [0.5, 3, 600, 86_400])
def test_retry_hint_is_the_shortest_delay(hint: float) -> None:
    found = decided(Outcome(OutcomeKind.UNAVAILABLE, wait_until=NOW + timedelta(seconds=hint)))
    assert found == Retry(max(2.0, hint))


@pytest.mark.parametrize("hint", [0.5, 3, 600, 86_400])
def test_throttled_event_with_a_hint_goes_back_to_the_queue_on_hold(hint: float) -> None:
    found = decided(Outcome(OutcomeKind.THROTTLED, wait_until=NOW + timedelta(seconds=hint)))
    assert found == Snooze(ON_HOLD_SECONDS)


def test_retry_hint_in_the_past_shortens_no_delay() -> None:
    assert decided(Outcome(OutcomeKind.THROTTLED, wait_until=NOW - timedelta(hours=1))) == Snooze(
        2.0
    )


@pytest.mark.parametrize("kind", [OutcomeKind.UNAVAILABLE, OutcomeKind.CRASHED])
def test_the_last_attempt_that_may_fail_buries_the_event(kind: OutcomeKind) -> None:
    retry_policy = RetryPolicy(max_attempts=3)
    assert isinstance(decided(kind, RetryState(1, 0, 0), retry_policy), Retry | Snooze)
    assert decided(kind, RetryState(2, 0, 0), retry_policy) == Bury(
        DeadLetterReason.RETRIES_EXHAUSTED
    )


def test_with_one_attempt_the_first_failure_buries_the_event() -> None:
    assert decided(OutcomeKind.UNAVAILABLE, FRESH, RetryPolicy(max_attempts=1)) == Bury(
        DeadLetterReason.RETRIES_EXHAUSTED
    )


@pytest.mark.parametrize(
    "kind", [OutcomeKind.THROTTLED, OutcomeKind.UNAVAILABLE, OutcomeKind.CRASHED]
)
def test_an_event_that_is_too_old_is_given_up(kind: OutcomeKind) -> None:
    day = 24 * 3600
    assert isinstance(decided(kind, RetryState(0, 0, day - 1)), Retry | Snooze)
    assert decided(kind, RetryState(0, 0, day)) == Bury(DeadLetterReason.RETRIES_EXHAUSTED)


def test_throttled_event_loses_no_attempt_however_often() -> None:
    found = decided(
        OutcomeKind.THROTTLED,
        RetryState(attempts=0, throttled=1000, age_seconds=0),
        RetryPolicy(max_attempts=1),
    )
    assert found == Snooze(1800)


def test_throttled_and_failed_attempts_back_off_apart() -> None:
    assert decided(OutcomeKind.THROTTLED, RetryState(10, 0, 0)) == Snooze(2.0)
    assert decided(OutcomeKind.UNAVAILABLE, RetryState(0, 10, 0)) == Retry(2.0)


@pytest.mark.parametrize("kind", [OutcomeKind.ON_HOLD, OutcomeKind.LOCKED])
def test_event_that_was_not_tried_is_snoozed_however_old(
    kind: OutcomeKind,
) -> None:
    found = decided(kind, RetryState(10**6, 10**6, 1e9), RetryPolicy(max_attempts=1))
    assert found == EXPECTED[kind]


@pytest.mark.parametrize(
    "kind",
    [each for each, decision in EXPECTED.items() if not isinstance(decision, Retry | Snooze)],
)
def test_neither_age_nor_attempts_change_a_final_decision(kind: OutcomeKind) -> None:
    assert decided(kind, RetryState(10**6, 10**6, 1e9)) == EXPECTED[kind]
