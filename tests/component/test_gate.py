"""When Mailgun may be asked: holds, incidents and pace, on a real server, as workers that share it see them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integrations import (
    NEARLY_ONE,
    OwnIntegration,
    answered,
    hold_for_incident,
    hold_for_unavailability,
    looked,
)
from worker.gate.config import (
    BELIEVED_SECONDS,
    LONGEST_RELAPSE_SECONDS,
    LONGEST_UNAVAILABLE_SECONDS,
    LOOK_AGAIN_SECONDS,
    UNAVAILABLE_AGAIN,
    UNAVAILABLE_MEMBERS,
    UNTIL_LIFTED_SECONDS,
    WINDOW_SECONDS,
)
from worker.gate.gate import Gate
from worker.mailgun.outcome import OutcomeKind

SLACK = 40.0  # seconds that a slow machine may take between two lines of a test

ANSWERS = [
    OutcomeKind.DELIVERED,
    OutcomeKind.UNCHANGED,
    OutcomeKind.REJECTED,
    OutcomeKind.UNEXPECTED_STATUS,
    OutcomeKind.ON_HOLD,
    OutcomeKind.LOCKED,
]
"""Outcomes of attempts in which Mailgun answered, besides those that begin a hold."""


def is_about(found: float, seconds: float) -> bool:
    """Of what lasts `seconds`, is all left but what the test itself took?"""
    return seconds - SLACK < found <= seconds


HOLDS: dict[str, Any] = {
    "throttled": lambda gate: answered(gate, OutcomeKind.THROTTLED, hint=1000),
    "unavailable": hold_for_unavailability,
    "incident": hold_for_incident,
    "paused": Gate.pause,
}


def test_new_gate_is_open_and_has_no_limit(own: OwnIntegration) -> None:
    own.fill(100)
    assert own.gate().seconds_until_open() == 0
    assert (own.gate().state().kind, own.gate().state().rate) == (None, None)
    assert len(own.take(100).messages) == 100


# Taking


def test_fetched_messages_are_noted_in_flight_oldest_first_in_one_step(own: OwnIntegration) -> None:
    own.fill(3)
    assert own.take(2).messages == ["1", "2"]
    index, unacked = own.unacked_keys
    assert sorted(own.redis.hvals(unacked)) == ["1", "2"]
    assert sorted(own.redis.hkeys(unacked)) == sorted(own.redis.zrange(index, 0, -1))
    assert own.redis.lrange(own.queue, 0, -1) == ["3"]


@pytest.mark.parametrize("hold", HOLDS)
def test_no_message_is_fetched_while_on_hold_and_the_queue_is_unchanged(
    own: OwnIntegration, hold: str
) -> None:
    own.fill(3)
    own.take(1)
    HOLDS[hold](own.gate())
    everything = (
        own.redis.lrange(own.queue, 0, -1),
        [own.redis.dump(key) for key in own.unacked_keys],
    )
    taken = own.take(5)
    assert taken.messages == []
    assert taken.wait > 0
    assert (
        own.redis.lrange(own.queue, 0, -1),
        [own.redis.dump(key) for key in own.unacked_keys],
    ) == everything


@pytest.mark.parametrize("hold", HOLDS)
def test_hold_has_its_reason_and_its_start(own: OwnIntegration, hold: str) -> None:
    before = own.now()
    HOLDS[hold](own.gate())
    state = own.gate().state()
    assert state.kind == hold
    assert state.why
    assert state.since is not None
    assert before <= state.since <= own.now()
    assert (state.until is not None) == (hold in {"throttled", "unavailable"})


@pytest.mark.parametrize("hold", HOLDS)
def test_running_delivery_may_finish_only_in_a_hold_for_unavailability(
    own: OwnIntegration, hold: str
) -> None:
    HOLDS[hold](own.gate())
    assert (own.gate().seconds_until_open() == 0) == (hold == "unavailable")


# Throttled


def test_hint_of_a_429_holds_for_exactly_its_seconds(own: OwnIntegration) -> None:
    assert answered(own.gate(), OutcomeKind.THROTTLED, hint=300) == ["throttled"]
    assert is_about(own.gate().seconds_until_open(), 300)
    own.later(300)
    assert own.gate().seconds_until_open() == 0
    assert own.gate().state().kind is None


def test_hint_of_a_429_is_shortened_neither_by_other_429s_nor_by_answers(
    own: OwnIntegration,
) -> None:
    gate = own.gate(base=1)
    answered(gate, OutcomeKind.THROTTLED, hint=300)
    assert answered(gate, OutcomeKind.THROTTLED, hint=10) == [""]
    answered(gate, OutcomeKind.THROTTLED)
    for kind in ANSWERS:
        answered(gate, kind)
    assert is_about(gate.seconds_until_open(), 300)


def test_a_hint_may_be_far_longer_than_the_longest_backoff(own: OwnIntegration) -> None:
    answered(own.gate(max_delay=100), OutcomeKind.THROTTLED, hint=80_000)
    assert is_about(own.gate().seconds_until_open(), 80_000)


def test_a_longer_hint_lengthens_the_hold(own: OwnIntegration) -> None:
    answered(own.gate(), OutcomeKind.THROTTLED, hint=300)
    assert answered(own.gate(), OutcomeKind.THROTTLED, hint=900) == [""]
    assert is_about(own.gate().seconds_until_open(), 900)


def test_lone_429_without_a_hint_begins_no_hold(own: OwnIntegration) -> None:
    for _ in range(3):  # many of them would teach a pace, sooner or later
        assert answered(own.gate(), OutcomeKind.THROTTLED) == [""]
        answered(own.gate(), OutcomeKind.DELIVERED)
    assert own.gate().seconds_until_open() == 0
    assert "limit" not in own.pace()


def test_repeated_429s_hold_from_an_eighth_of_the_backoff_to_the_ceiling(
    own: OwnIntegration,
) -> None:
    answered(own.gate(base=800), OutcomeKind.THROTTLED)
    own.later(WINDOW_SECONDS + 2)
    for expected in (100, 200, 400, 800, 1000, 1000):
        assert answered(own.gate(base=800), OutcomeKind.THROTTLED, times=20) == [
            "throttled",
            *[""] * 19,
        ]
        assert is_about(own.gate().seconds_until_open(), expected)
        own.later(expected)


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 500), (NEARLY_ONE, 1000)])
def test_a_hold_without_a_hint_is_a_random_half_to_whole_of_its_length(
    own: OwnIntegration, chance: float, expected: float
) -> None:
    answered(own.gate(chance=chance, base=8000), OutcomeKind.THROTTLED)
    own.later(WINDOW_SECONDS + 2)
    answered(own.gate(chance=chance, base=8000), OutcomeKind.THROTTLED)
    assert is_about(own.gate().seconds_until_open(), expected)


def test_hold_without_a_hint_ends_with_the_minute_in_which_429s_began(own: OwnIntegration) -> None:
    gate = own.gate(base=800, chance=0.5)
    answered(gate, OutcomeKind.THROTTLED, times=2)
    assert is_about(gate.seconds_until_open(), WINDOW_SECONDS + 1)
    own.later(WINDOW_SECONDS + 1)
    answered(gate, OutcomeKind.THROTTLED)
    assert is_about(gate.seconds_until_open(), 0.75 * 200)


def test_backoff_begins_anew_after_a_successful_request(own: OwnIntegration) -> None:
    gate = own.gate(base=800)
    answered(gate, OutcomeKind.THROTTLED)
    for _ in range(2):
        answered(gate, OutcomeKind.THROTTLED)
        own.later(200)
    answered(gate, OutcomeKind.DELIVERED)
    answered(gate, OutcomeKind.THROTTLED, times=2)
    assert is_about(gate.seconds_until_open(), 100)


def test_answer_to_a_request_before_the_429_does_not_reset_the_backoff(
    own: OwnIntegration,
) -> None:
    gate = own.gate(base=800)
    answered(gate, OutcomeKind.THROTTLED, times=2)
    answered(gate, OutcomeKind.DELIVERED)
    own.later(100)
    answered(gate, OutcomeKind.THROTTLED)
    assert is_about(gate.seconds_until_open(), 200)


def test_long_hint_is_checked_once_an_hour_by_one_worker(own: OwnIntegration) -> None:
    answered(own.gate(), OutcomeKind.THROTTLED, hint=86_400)
    assert own.gate().claim_incident_check() == ""
    assert is_about((own.gate().state().next_look or 0) - own.now(), BELIEVED_SECONDS)
    for _ in range(3):
        own.later(BELIEVED_SECONDS)
        assert [own.gate().claim_incident_check() for _ in range(3)] == ["throttled", "", ""]


def test_long_hint_ends_when_the_list_can_be_read(own: OwnIntegration) -> None:
    own.fill(500)
    answered(own.gate(), OutcomeKind.THROTTLED, hint=86_400)
    own.later(BELIEVED_SECONDS)
    assert looked(own.gate(), OutcomeKind.UNCHANGED) == "unthrottled"
    assert own.gate().seconds_until_open() == 0
    assert 1 <= len(own.take(500).messages) < 500


@pytest.mark.parametrize(
    ("hint", "left"), [(600, 600), (90_000, 90_000), (0, 86_400 - BELIEVED_SECONDS)]
)
def test_long_hint_is_replaced_by_the_hint_of_a_new_429(
    own: OwnIntegration, hint: float, left: float
) -> None:
    answered(own.gate(), OutcomeKind.THROTTLED, hint=86_400)
    own.later(BELIEVED_SECONDS)
    assert looked(own.gate(), OutcomeKind.THROTTLED, hint=hint) == ""
    assert is_about(own.gate().seconds_until_open(), left)


@pytest.mark.parametrize("kind", [OutcomeKind.UNAVAILABLE, OutcomeKind.UNAUTHORIZED])
def test_long_hint_stands_when_the_list_cannot_be_read(
    own: OwnIntegration, kind: OutcomeKind
) -> None:
    answered(own.gate(), OutcomeKind.THROTTLED, hint=86_400)
    own.later(BELIEVED_SECONDS)
    looked(own.gate(), kind)
    assert is_about(own.gate().seconds_until_open(), 86_400 - BELIEVED_SECONDS)


# Unavailable


def test_hold_for_unavailability_begins_at_its_threshold_of_members(own: OwnIntegration) -> None:
    gate = own.gate()
    assert not any(answered(gate, OutcomeKind.UNAVAILABLE, times=UNAVAILABLE_MEMBERS - 1))
    assert (gate.state().kind, gate.state().members) == (None, UNAVAILABLE_MEMBERS - 1)
    assert answered(gate, OutcomeKind.UNAVAILABLE) == ["unavailable"]
    assert (gate.state().kind, gate.state().members) == ("unavailable", UNAVAILABLE_MEMBERS)


@pytest.mark.parametrize("bad", [1, 3, UNAVAILABLE_MEMBERS - 1])
def test_few_unavailable_members_begin_no_hold_however_often_they_fail(
    own: OwnIntegration, bad: int
) -> None:
    for number in range(300):
        assert answered(own.gate(), OutcomeKind.UNAVAILABLE, members=f"bad {number % bad}") == [""]
    assert own.gate().state().members == bad


def test_failed_bulk_call_counts_all_its_members_but_alone_begins_no_hold(
    own: OwnIntegration,
) -> None:
    assert answered(own.gate(), OutcomeKind.UNAVAILABLE, members=100) == [""]
    assert answered(own.gate(), OutcomeKind.UNAVAILABLE, members=100) == ["unavailable"]


@pytest.mark.parametrize("kind", [*ANSWERS, OutcomeKind.UNAUTHORIZED, OutcomeKind.LIST_NOT_FOUND])
def test_answer_to_a_write_ends_the_run_of_unavailability(
    own: OwnIntegration, kind: OutcomeKind
) -> None:
    gate = own.gate()
    answered(gate, OutcomeKind.UNAVAILABLE, times=UNAVAILABLE_MEMBERS - 1)
    answered(gate, kind)
    assert not any(answered(gate, OutcomeKind.UNAVAILABLE, times=UNAVAILABLE_MEMBERS - 1))
    assert "kind" not in own.hold()


def test_a_read_that_succeeds_ends_a_run_of_reads_but_not_of_writes(own: OwnIntegration) -> None:
    gate = own.gate()
    for written, members in ((False, 0), (True, 5)):
        answered(gate, OutcomeKind.UNAVAILABLE, times=5, written=written)
        answered(gate, OutcomeKind.UNCHANGED, written=False)
        assert gate.state().members == members


@pytest.mark.parametrize(
    "kind",
    [
        OutcomeKind.ON_HOLD,
        OutcomeKind.LOCKED,
        OutcomeKind.SUPERSEDED,
        OutcomeKind.UNCHANGED,
        OutcomeKind.CRASHED,
    ],
)
def test_attempt_without_a_request_does_not_end_the_run_of_unavailability(
    own: OwnIntegration, kind: OutcomeKind
) -> None:
    gate = own.gate()
    answered(gate, OutcomeKind.UNAVAILABLE, times=UNAVAILABLE_MEMBERS - 1)
    answered(gate, kind, requests=0)
    assert answered(gate, OutcomeKind.UNAVAILABLE) == ["unavailable"]


def test_crashed_attempt_does_not_end_the_hold_for_unavailability(own: OwnIntegration) -> None:
    hold_for_unavailability(own.gate())
    assert answered(own.gate(), OutcomeKind.CRASHED) == [""]
    assert own.gate().state().kind == "unavailable"


def test_hold_for_unavailability_ends_by_one_workers_check_not_by_time(
    own: OwnIntegration,
) -> None:
    own.fill(50)
    hold_for_unavailability(own.gate())
    assert own.gate().claim_incident_check() == ""
    own.later(100)
    with ThreadPoolExecutor(16) as threads:
        assert sorted(threads.map(lambda _: own.gate().claim_incident_check(), range(16))) == [
            *[""] * 15,
            "unavailable",
        ]
    assert (own.take(5).messages, own.gate().claim_incident_check()) == ([], "")
    own.later(500)  # the one that was to read it was killed
    assert own.gate().claim_incident_check() == "unavailable"
    assert own.take(5).wait >= LOOK_AGAIN_SECONDS


def test_successful_check_lifts_the_hold_and_ramps_up(own: OwnIntegration) -> None:
    own.fill(50)
    hold_for_unavailability(own.gate())
    assert looked(own.gate(), OutcomeKind.UNCHANGED) == "available"
    assert (own.gate().state().kind, own.gate().state().members) == (None, 0)
    assert own.gate().state().rate is not None
    assert 1 <= len(own.take(50).messages) < 50


def test_hold_for_unavailability_doubles_up_to_a_minute_as_checks_fail(own: OwnIntegration) -> None:
    gate = own.gate(base=5)
    hold_for_unavailability(gate)
    lengths = [float(own.hold()["length"])]
    for _ in range(5):
        own.later(60)
        assert gate.claim_incident_check() == "unavailable"
        assert looked(gate, OutcomeKind.UNAVAILABLE) == ""
        lengths.append(float(own.hold()["length"]))
        assert is_about((gate.state().next_look or 0) - own.now(), lengths[-1])
    assert lengths == [5, 10, 20, 40, LONGEST_UNAVAILABLE_SECONDS, LONGEST_UNAVAILABLE_SECONDS]


def test_failures_during_a_hold_do_not_lengthen_it(own: OwnIntegration) -> None:
    hold_for_unavailability(own.gate(base=5))
    before = own.hold()
    answered(own.gate(base=5), OutcomeKind.UNAVAILABLE, times=100)
    assert own.hold() == before


def test_hold_returns_sooner_and_longer_when_reads_succeed_but_writes_fail(
    own: OwnIntegration,
) -> None:
    gate = own.gate(base=5)
    hold_for_unavailability(gate)
    lengths = []
    for _ in range(8):
        assert looked(gate, OutcomeKind.UNCHANGED) == "available"
        assert answered(gate, OutcomeKind.UNAVAILABLE, times=UNAVAILABLE_AGAIN)[-1] == "unavailable"
        lengths.append(float(own.hold()["length"]))
    assert lengths == [10, 20, 40, 80, 160, *[LONGEST_RELAPSE_SECONDS] * 3]


def test_lifted_hold_does_not_return_for_one_failing_member(own: OwnIntegration) -> None:
    hold_for_unavailability(own.gate())
    looked(own.gate(), OutcomeKind.UNCHANGED)
    assert not any(answered(own.gate(), OutcomeKind.UNAVAILABLE, times=100, members="bad"))


def test_writes_that_succeed_make_the_next_hold_shorter_again(own: OwnIntegration) -> None:
    gate = own.gate(base=5)
    hold_for_unavailability(gate)
    for _ in range(3):
        looked(gate, OutcomeKind.UNCHANGED)
        answered(gate, OutcomeKind.UNAVAILABLE, times=UNAVAILABLE_AGAIN)
    looked(gate, OutcomeKind.UNCHANGED)
    answered(gate, OutcomeKind.DELIVERED, times=10)
    hold_for_unavailability(gate)
    assert float(own.hold()["length"]) == 5


@pytest.mark.parametrize("kind", [OutcomeKind.UNAUTHORIZED, OutcomeKind.LIST_NOT_FOUND])
def test_refused_check_turns_the_hold_into_an_incident(
    own: OwnIntegration, kind: OutcomeKind
) -> None:
    hold_for_unavailability(own.gate())
    assert looked(own.gate(), kind) == "incident"
    assert own.gate().state().kind == "incident"


def test_check_answered_429_proves_nothing_and_its_hint_holds(own: OwnIntegration) -> None:
    own.fill(50)
    hold_for_unavailability(own.gate())
    assert looked(own.gate(), OutcomeKind.THROTTLED, hint=300) == "throttled"
    assert is_about(own.gate().seconds_until_open(), 300)
    own.later(300)
    assert own.take(5).messages == []
    assert own.gate().claim_incident_check() == "unavailable"


def test_an_answer_to_a_write_that_was_under_way_lifts_the_hold_too(own: OwnIntegration) -> None:
    hold_for_unavailability(own.gate())
    assert answered(own.gate(), OutcomeKind.UNCHANGED, written=False) == [""]
    assert answered(own.gate(), OutcomeKind.DELIVERED) == ["available"]
    assert own.gate().state().kind is None


def test_unavailability_never_shortens_the_hint_of_a_429(own: OwnIntegration) -> None:
    own.fill(5)
    gate = own.gate(base=1)
    answered(gate, OutcomeKind.THROTTLED, hint=1000)
    hold_for_unavailability(gate)
    own.later(60)  # the hold for unavailability is over
    assert own.take().messages == []
    assert is_about(gate.state().until or 0, own.now() + 940)
    gate.resume()
    assert is_about(gate.seconds_until_open(), 940)


def test_unavailability_that_ends_within_a_429_hold_leaves_the_ramp(
    own: OwnIntegration,
) -> None:
    own.fill(500)
    answered(own.gate(), OutcomeKind.THROTTLED, hint=300)
    hold_for_unavailability(own.gate())
    answered(own.gate(), OutcomeKind.DELIVERED)
    own.later(300)
    assert 1 <= len(own.take(500).messages) < 500


# Pause and resume


def test_pause_lasts_until_it_is_resumed(own: OwnIntegration) -> None:
    own.fill(50)
    gate = own.gate()
    assert gate.pause()
    assert not gate.pause()
    own.later(1e6)
    answered(gate, OutcomeKind.DELIVERED)
    assert gate.state().kind == "paused"
    assert gate.seconds_until_open() == own.take().wait == UNTIL_LIFTED_SECONDS
    assert gate.resume()
    assert not gate.resume()
    assert gate.seconds_until_open() == 0
    assert 1 <= len(own.take(50).messages) < 50


def test_resume_ends_an_incident_and_its_run_of_refusals(own: OwnIntegration) -> None:
    hold_for_incident(own.gate())
    assert own.gate().resume()
    assert own.gate().state().kind is None
    assert answered(own.gate(), OutcomeKind.UNAUTHORIZED, times=2) == ["", ""]


def test_resume_ends_a_hold_for_unavailability_and_its_run(own: OwnIntegration) -> None:
    hold_for_unavailability(own.gate())
    assert own.gate().resume()
    assert own.gate().state().kind is None
    assert not any(answered(own.gate(), OutcomeKind.UNAVAILABLE, times=UNAVAILABLE_MEMBERS - 1))


def test_resume_at_once_ends_the_hint_of_a_429_and_ramps_up(
    own: OwnIntegration,
) -> None:
    own.fill(500)
    assert not own.gate().resume(at_once=True)
    answered(own.gate(), OutcomeKind.THROTTLED, hint=86_400)
    assert own.gate().resume(at_once=True)
    assert own.gate().state().kind is None
    assert 1 <= len(own.take(500).messages) < 500


def test_resume_leaves_the_hint_of_a_429_and_the_ramp_after_it(
    own: OwnIntegration,
) -> None:
    own.fill(500)
    answered(own.gate(), OutcomeKind.THROTTLED, hint=300)
    assert not own.gate().resume()
    own.gate().pause()
    own.gate().resume()
    assert is_about(own.gate().seconds_until_open(), 300)
    own.later(300)
    assert 1 <= len(own.take(500).messages) < 500


def test_pace_expires_an_hour_after_its_last_use_but_a_hold_does_not(
    own: OwnIntegration,
) -> None:
    for hold in HOLDS.values():
        hold(own.gate())
        assert own.redis.ttl(f"signal:{own.name}:pace") > 0 if own.pace() else True
    own.redis.delete(f"signal:{own.name}:pace")
    assert own.redis.ttl(f"signal:{own.name}:hold") == -1
    assert own.gate().state().kind == "paused"


def test_every_kind_of_outcome_can_be_reported_in_any_state(own: OwnIntegration) -> None:
    for hold in (lambda _: None, *HOLDS.values()):
        own.redis.flushdb()
        hold(own.gate())
        for kind in OutcomeKind:
            for written in (True, False):
                answered(own.gate(), kind, times=3, written=written)
                looked(own.gate(), kind)
                own.gate().claim_incident_check()
                own.gate().state()


# The integration's own clock


def housekeeping_ticks(own: OwnIntegration, seconds: int) -> None:
    """A worker keeps house for so long."""
    for _ in range(seconds):
        own.later(1)
        own.gate().claim_incident_check()


def test_retry_clock_runs_while_the_gate_is_open(own: OwnIntegration) -> None:
    began = own.now()
    own.gate().claim_incident_check()
    housekeeping_ticks(own, 100)
    open_seconds, took = own.gate().open_seconds(), own.now() - began
    assert 100 <= open_seconds <= 100 + took + 0.1


@pytest.mark.parametrize("hold", HOLDS)
def test_retry_clock_stands_still_during_a_hold(own: OwnIntegration, hold: str) -> None:
    own.gate().claim_incident_check()
    HOLDS[hold](own.gate())
    before = own.gate().open_seconds()
    housekeeping_ticks(own, 300)
    assert own.gate().open_seconds() == before


def test_retry_clock_stands_still_while_no_worker_runs(own: OwnIntegration) -> None:
    own.gate().claim_incident_check()
    own.later(100_000)
    assert own.gate().open_seconds() == 0
    own.gate().claim_incident_check()
    housekeeping_ticks(own, 3)
    assert 3 <= own.gate().open_seconds() < SLACK
