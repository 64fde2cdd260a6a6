"""When refusals are an incident, and how it ends: on a real server, as workers that share it see them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integrations import (
    OwnIntegration,
    answered,
    hold_for_incident,
    hold_for_unavailability,
    looked,
    rules_with,
)
from worker.gate.config import (
    LONGEST_PROBE_SECONDS,
    REFUSED_AGAIN,
    UNAVAILABLE_MEMBERS,
    UNTIL_LIFTED_SECONDS,
)
from worker.gate.gate import Gate
from worker.mailgun.outcome import OutcomeKind

SLACK = 40.0  # seconds that a slow machine may take between two lines of a test

REFUSED = [
    OutcomeKind.UNAUTHORIZED,
    OutcomeKind.LIST_NOT_FOUND,
    OutcomeKind.UNEXPECTED_STATUS,
    OutcomeKind.REJECTED,
]


def threshold_of(kind: OutcomeKind) -> int:
    """How many members refused so are an incident here."""
    return (
        rules_with().rejected_threshold
        if kind is OutcomeKind.REJECTED
        else rules_with().incident_threshold
    )


@pytest.mark.parametrize("kind", REFUSED)
def test_enough_members_refused_in_a_row_begin_an_incident(
    own: OwnIntegration, kind: OutcomeKind
) -> None:
    enough = threshold_of(kind)
    assert answered(own.gate(), kind, times=enough + 2) == [
        *[""] * (enough - 1),
        "incident",
        "",
        "",
    ]
    state = own.gate().state()
    assert (state.kind, state.until) == ("incident", None)
    assert state.why.startswith(str(kind))
    assert state.members == enough + 2
    assert own.gate().seconds_until_open() == UNTIL_LIFTED_SECONDS


@pytest.mark.parametrize("kind", REFUSED)
def test_one_member_refused_a_hundred_times_begins_no_incident(
    own: OwnIntegration, kind: OutcomeKind
) -> None:
    assert not any(answered(own.gate(), kind, times=100, members="bad"))
    assert own.gate().state().members == 1


def test_refusals_of_different_kinds_but_400_count_towards_one_incident(
    own: OwnIntegration,
) -> None:
    gate = own.gate(incident_threshold=3)
    kinds = (
        OutcomeKind.UNAUTHORIZED,
        OutcomeKind.REJECTED,
        OutcomeKind.UNEXPECTED_STATUS,
        OutcomeKind.LIST_NOT_FOUND,
    )
    assert [answered(gate, kind) for kind in kinds] == [[""], [""], [""], ["incident"]]


@pytest.mark.parametrize("kind", REFUSED)
def test_successful_write_ends_the_run_of_refusals(own: OwnIntegration, kind: OutcomeKind) -> None:
    enough = threshold_of(kind)
    answered(own.gate(), kind, times=enough - 1)
    answered(own.gate(), OutcomeKind.DELIVERED)
    assert answered(own.gate(), kind, times=enough)[-2:] == ["", "incident"]


def test_reads_that_succeed_do_not_hide_that_writes_are_refused(own: OwnIntegration) -> None:
    for expected in ("", "", "incident"):
        answered(own.gate(), OutcomeKind.UNCHANGED, written=False)
        assert answered(own.gate(), OutcomeKind.UNAUTHORIZED) == [expected]


@pytest.mark.parametrize("kind", REFUSED)
def test_a_threshold_of_zero_turns_incidents_off(own: OwnIntegration, kind: OutcomeKind) -> None:
    gate = own.gate(incident_threshold=0, rejected_threshold=0)
    assert not any(answered(gate, kind, times=120))
    assert gate.state().kind is None


def test_a_refusal_shows_that_mailgun_is_available(own: OwnIntegration) -> None:
    hold_for_unavailability(own.gate())
    assert answered(own.gate(), OutcomeKind.UNAUTHORIZED) == ["available"]
    assert own.gate().state().kind is None


def test_incident_ends_neither_by_time_nor_by_running_requests(own: OwnIntegration) -> None:
    own.fill(5)
    hold_for_incident(own.gate())
    own.later(1e6)
    answered(own.gate(), OutcomeKind.DELIVERED)
    answered(own.gate(), OutcomeKind.UNAVAILABLE, times=UNAVAILABLE_MEMBERS)
    assert own.gate().state().kind == "incident"
    assert own.take().messages == []


def test_incident_check_is_due_once_per_interval_over_all_workers(
    own: OwnIntegration,
) -> None:
    assert own.gate().claim_incident_check() == ""
    hold_for_incident(own.gate())
    assert own.gate().claim_incident_check() == ""
    for _ in range(2):
        own.later(600)
        with ThreadPoolExecutor(16) as threads:
            assert (
                "".join(threads.map(lambda _: own.gate().claim_incident_check(), range(32)))
                == "incident"
            )
        assert looked(own.gate(), OutcomeKind.UNAUTHORIZED) == ""


@pytest.mark.parametrize(
    "hold", [lambda gate: answered(gate, OutcomeKind.THROTTLED, hint=3000), Gate.pause]
)
def test_incident_check_is_not_due_while_another_hold_lasts(own: OwnIntegration, hold: Any) -> None:
    hold_for_incident(own.gate())
    hold(own.gate())
    own.later(600)
    assert own.gate().claim_incident_check() == ""
    own.later(2400)
    own.redis.hdel(f"signal:{own.name}:hold", "paused")
    assert own.gate().claim_incident_check() == "incident"


@pytest.mark.parametrize("kind", REFUSED)
def test_incident_begins_again_after_few_refusals_once_it_is_over(
    own: OwnIntegration, kind: OutcomeKind
) -> None:
    own.fill(50)
    hold_for_incident(own.gate())
    assert looked(own.gate(), OutcomeKind.UNCHANGED) == "over"
    assert own.gate().state().kind is None
    assert 1 <= len(own.take(50).messages) < 50
    assert not any(answered(own.gate(), kind, times=20, members="bad"))
    assert answered(own.gate(), kind, times=REFUSED_AGAIN - 1)[-1] == "incident"


def test_repeated_incident_is_checked_less_and_less_often(
    own: OwnIntegration,
) -> None:
    hold_for_incident(own.gate())
    lengths = []
    for _ in range(5):
        looked(own.gate(), OutcomeKind.UNCHANGED)
        answered(own.gate(), OutcomeKind.REJECTED, times=REFUSED_AGAIN)
        lengths.append(float(own.hold()["length"]))
    assert lengths == [1200, 2400, *[LONGEST_PROBE_SECONDS] * 3]


def test_delivered_event_after_an_incident_resets_the_run_of_refusals(own: OwnIntegration) -> None:
    hold_for_incident(own.gate())
    looked(own.gate(), OutcomeKind.UNCHANGED)
    answered(own.gate(), OutcomeKind.DELIVERED)
    assert answered(own.gate(), OutcomeKind.UNAUTHORIZED, times=2) == ["", ""]
