"""Requests that no event was taken for, such as pages of members: they keep to hold and pace, and events keep their share."""

from datetime import timedelta
from typing import Any

import pytest

from tests.integrations import (
    NEARLY_ONE,
    NOW,
    OwnIntegration,
    answered,
    hold_for_incident,
    hold_for_unavailability,
    rules_with,
)
from worker.gate.config import LONGEST_UNAVAILABLE_SECONDS
from worker.gate.gate import Gate
from worker.mailgun.outcome import Outcome, OutcomeKind

HOLDS: dict[str, Any] = {
    "throttled": lambda gate: answered(gate, OutcomeKind.THROTTLED, hint=1000),
    "unavailable": hold_for_unavailability,
    "incident": hold_for_incident,
    "paused": Gate.pause,
}


def report_reads(gate: Gate, kind: OutcomeKind, *, times: int = 1) -> list[str]:
    """Report so many pages that ended so; gives what each began or ended."""
    return [gate.record_page(Outcome(kind, requests=1), str(kind), NOW) for _ in range(times)]


def test_background_request_without_a_limit_is_allowed_and_counted(
    own: OwnIntegration,
) -> None:
    before = own.now()
    for _ in range(10):
        wait, at = own.gate().acquire_background()
        assert wait == 0
        assert before <= at <= own.now()
    assert own.pace()["permitted"] == "10"


@pytest.mark.parametrize("hold", HOLDS)
def test_background_request_is_denied_while_on_hold(own: OwnIntegration, hold: str) -> None:
    HOLDS[hold](own.gate())
    assert own.gate().acquire_background()[0] > 0


def test_background_request_is_charged_and_leaves_less_for_events(own: OwnIntegration) -> None:
    rules = rules_with(rate_limit=60)
    gate = own.gate(rate_limit=60)
    own.fill(1)
    assert gate.acquire_background()[0] == 0
    assert own.take(rules=rules).messages == []
    own.later(2)
    assert own.take(rules=rules).messages == ["1"]


def test_background_request_needs_no_whole_token_and_gets_its_turn(
    own: OwnIntegration,
) -> None:
    gate, rules = own.gate(rate_limit=6), rules_with(rate_limit=6)
    own.fill(3)
    for _ in range(3):
        own.take(rules=rules)
        assert gate.acquire_background()[0] == 0
        own.later(20)


def test_background_request_waits_for_a_debt(own: OwnIntegration) -> None:
    gate = own.gate(rate_limit=60)
    own.fill(1)
    own.take(rules=rules_with(rate_limit=60))
    own.redis.hincrbyfloat(f"signal:{own.name}:pace", "tokens", -1000)
    assert 900 < gate.acquire_background()[0] <= 1000
    own.later(1000)
    assert gate.acquire_background()[0] == 0


def test_background_requests_are_at_most_every_other_request(own: OwnIntegration) -> None:
    gate = own.gate(rate_limit=6)
    assert gate.acquire_background()[0] == 0
    assert 10 < gate.acquire_background()[0] <= 20
    own.later(10)
    assert 0 < gate.acquire_background()[0] <= 10
    own.later(10)
    assert gate.acquire_background()[0] == 0


def test_page_request_ends_the_hold_when_no_worker_checks_the_list(
    own: OwnIntegration,
) -> None:
    gate = own.gate()
    hold_for_unavailability(gate)
    own.later(gate.rules.base)
    assert gate.acquire_background()[0] > 0
    own.later(2 * LONGEST_UNAVAILABLE_SECONDS)
    assert gate.acquire_background()[0] == 0
    assert report_reads(gate, OutcomeKind.UNAVAILABLE) == [""]
    assert gate.state().kind == "unavailable"
    assert report_reads(gate, OutcomeKind.UNCHANGED) == ["available"]


def test_page_answered_429_begins_a_hold(own: OwnIntegration) -> None:
    assert [hold_change_by_page(own, hint=60)] == ["throttled"]
    assert own.gate().state().kind == "throttled"


def hold_change_by_page(own: OwnIntegration, *, hint: float) -> str:
    """What a page that is answered 429 with a hint begins."""
    outcome = Outcome(
        OutcomeKind.THROTTLED, 429, wait_until=NOW + timedelta(seconds=hint), requests=1
    )
    return own.gate().record_page(outcome, "throttled", NOW)


@pytest.mark.parametrize(
    "kind", [OutcomeKind.UNAVAILABLE, OutcomeKind.UNAUTHORIZED, OutcomeKind.UNEXPECTED_STATUS]
)
def test_failing_pages_count_as_no_members_and_begin_no_hold(
    own: OwnIntegration, kind: OutcomeKind
) -> None:
    assert not any(report_reads(own.gate(), kind, times=100))
    assert own.gate().state().kind is None


def test_a_page_that_was_read_ends_a_run_of_reads_without_an_answer(own: OwnIntegration) -> None:
    for _ in range(3):
        answered(own.gate(), OutcomeKind.UNAVAILABLE, times=9, written=False)
        report_reads(own.gate(), OutcomeKind.UNCHANGED)
    assert own.gate().state().kind is None


@pytest.mark.parametrize(
    "kind",
    [OutcomeKind.UNCHANGED, OutcomeKind.REJECTED, OutcomeKind.THROTTLED, OutcomeKind.UNAVAILABLE],
)
def test_pages_that_can_be_read_do_not_hide_that_members_cannot_be_written(
    own: OwnIntegration, kind: OutcomeKind
) -> None:
    gate = own.gate(chance=NEARLY_ONE)
    answered(gate, OutcomeKind.UNAUTHORIZED, times=2)
    report_reads(gate, kind)
    assert answered(gate, OutcomeKind.UNAUTHORIZED) == ["incident"]


def test_pages_that_are_read_count_as_let_through(own: OwnIntegration) -> None:
    report_reads(own.gate(), OutcomeKind.UNCHANGED, times=3)
    assert own.pace()["since_lesson"] == "3"
