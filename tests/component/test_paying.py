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
from worker.gate.gate import Flow
from worker.mailgun.outcome import Kind, Outcome

HOLDS: dict[str, Any] = {
    "throttled": lambda flow: answered(flow, Kind.THROTTLED, hint=1000),
    "unavailable": hold_for_unavailability,
    "incident": hold_for_incident,
    "paused": Flow.pause,
}


def reported_reading(flow: Flow, kind: Kind, *, times: int = 1) -> list[str]:
    """Report so many pages that ended so; gives what each began or ended."""
    return [flow.report_reading(Outcome(kind, requests=1), str(kind), NOW) for _ in range(times)]


def test_where_nothing_limits_a_request_may_be_made_at_once_and_again_and_leaves_no_trace(own: OwnIntegration) -> None:
    before = own.now()
    for _ in range(10):
        wait, at = own.flow().pay()
        assert wait == 0
        assert before <= at <= own.now()
    assert own.pace() == {}


@pytest.mark.parametrize("hold", HOLDS)
def test_while_held_none_may_be_made(own: OwnIntegration, hold: str) -> None:
    HOLDS[hold](own.flow())
    assert own.flow().pay()[0] > 0


def test_it_is_charged_so_events_get_less(own: OwnIntegration) -> None:
    rules = rules_with(rate_limit=60)
    flow = own.flow(rate_limit=60)
    own.fill(1)
    assert flow.pay()[0] == 0
    assert own.take(rules=rules).messages == []
    own.later(2)
    assert own.take(rules=rules).messages == ["1"]


def test_it_needs_no_whole_token_so_workers_that_take_whatever_there_is_leave_it_its_turn(own: OwnIntegration) -> None:
    flow, rules = own.flow(rate_limit=6), rules_with(rate_limit=6)
    own.fill(3)
    for _ in range(3):
        own.take(rules=rules)
        assert flow.pay()[0] == 0
        own.later(20)


def test_a_debt_is_waited_for(own: OwnIntegration) -> None:
    flow = own.flow(rate_limit=60)
    own.fill(1)
    own.take(rules=rules_with(rate_limit=60))
    own.redis.hincrbyfloat(f"signal:{own.name}:pace", "tokens", -1000)
    assert 900 < flow.pay()[0] <= 1000
    own.later(1000)
    assert flow.pay()[0] == 0


def test_it_takes_every_other_request_at_most_so_events_have_the_rest(own: OwnIntegration) -> None:
    flow = own.flow(rate_limit=6)
    assert flow.pay()[0] == 0
    assert 10 < flow.pay()[0] <= 20
    own.later(10)
    assert 0 < flow.pay()[0] <= 10
    own.later(10)
    assert flow.pay()[0] == 0


def test_where_no_worker_reads_the_list_a_page_is_asked_for_and_ends_the_hold(own: OwnIntegration) -> None:
    flow = own.flow()
    hold_for_unavailability(flow)
    own.later(flow.rules.base)
    assert flow.pay()[0] > 0
    own.later(2 * LONGEST_UNAVAILABLE_SECONDS)
    assert flow.pay()[0] == 0
    assert reported_reading(flow, Kind.UNAVAILABLE) == [""]
    assert flow.state().kind == "unavailable"
    assert reported_reading(flow, Kind.UNCHANGED) == ["available"]


def test_a_page_that_is_told_to_wait_holds_everybody(own: OwnIntegration) -> None:
    assert [flow_change(own, hint=60)] == ["throttled"]
    assert own.flow().state().kind == "throttled"


def flow_change(own: OwnIntegration, *, hint: float) -> str:
    """What a page that is answered 429 with a hint begins."""
    outcome = Outcome(Kind.THROTTLED, 429, wait_until=NOW + timedelta(seconds=hint), requests=1)
    return own.flow().report_reading(outcome, "throttled", NOW)


@pytest.mark.parametrize("kind", [Kind.UNAVAILABLE, Kind.UNAUTHORIZED, Kind.UNEXPECTED_STATUS])
def test_pages_that_fail_are_no_members_and_hold_nobody(own: OwnIntegration, kind: Kind) -> None:
    assert not any(reported_reading(own.flow(), kind, times=100))
    assert own.flow().state().kind is None


def test_a_page_that_was_read_ends_a_run_of_reads_without_an_answer(own: OwnIntegration) -> None:
    for _ in range(3):
        answered(own.flow(), Kind.UNAVAILABLE, times=9, written=False)
        reported_reading(own.flow(), Kind.UNCHANGED)
    assert own.flow().state().kind is None


@pytest.mark.parametrize("kind", [Kind.UNCHANGED, Kind.REJECTED, Kind.THROTTLED, Kind.UNAVAILABLE])
def test_pages_that_can_be_read_do_not_hide_that_members_cannot_be_written(own: OwnIntegration, kind: Kind) -> None:
    flow = own.flow(chance=NEARLY_ONE)
    answered(flow, Kind.UNAUTHORIZED, times=2)
    reported_reading(flow, kind)
    assert answered(flow, Kind.UNAUTHORIZED) == ["incident"]


def test_pages_that_are_read_count_as_let_through(own: OwnIntegration) -> None:
    reported_reading(own.flow(), Kind.UNCHANGED, times=3)
    assert own.pace()["count"] == "3"
