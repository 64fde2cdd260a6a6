"""When Mailgun may be asked: holds, incidents and pace, on a real server, as workers that share it see them."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
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
from worker.delivery.flow import LONGEST_UNAVAILABLE_SECONDS, SLOWEST_RATE, UNAVAILABLE_RUN, UNTIL_LIFTED_SECONDS, Flow
from worker.mailgun.outcome import Kind, Outcome

SLACK = 40.0  # seconds that a slow machine may take between two lines of a test

ANSWERS = [Kind.DELIVERED, Kind.UNCHANGED, Kind.REJECTED, Kind.UNEXPECTED_STATUS, Kind.HELD, Kind.BUSY]
"""Outcomes of attempts in which Mailgun answered, besides those that begin a hold."""


def is_about(found: float, seconds: float) -> bool:
    """Of what lasts `seconds`, is all left but what the test itself took?"""
    return seconds - SLACK < found <= seconds


HOLDS: dict[str, Any] = {
    "throttled": lambda flow: answered(flow, Kind.THROTTLED, hint=1000),
    "unavailable": hold_for_unavailability,
    "incident": hold_for_incident,
    "paused": Flow.pause,
}


def test_nothing_is_held_and_nothing_limits_where_nothing_was_learned(own: OwnIntegration) -> None:
    own.fill(100)
    assert own.flow().ask() == 0
    assert (own.flow().state().kind, own.flow().state().rate) == (None, None)
    assert len(own.take(100).messages) == 100


# Taking


def test_what_is_taken_is_noted_in_the_same_step_oldest_first(own: OwnIntegration) -> None:
    own.fill(3)
    assert own.take(2).messages == ["1", "2"]
    index, unacked = own.unacked_keys
    assert sorted(own.redis.hvals(unacked)) == ["1", "2"]
    assert sorted(own.redis.hkeys(unacked)) == sorted(own.redis.zrange(index, 0, -1))
    assert own.redis.lrange(own.queue, 0, -1) == ["3"]


@pytest.mark.parametrize("hold", HOLDS)
def test_while_held_nothing_is_taken_and_the_queue_stays_as_it_is(own: OwnIntegration, hold: str) -> None:
    own.fill(3)
    own.take(1)
    HOLDS[hold](own.flow())
    everything = own.redis.lrange(own.queue, 0, -1), [own.redis.dump(key) for key in own.unacked_keys]
    taken = own.take(5)
    assert (taken.messages, taken.probe) == ([], False)
    assert taken.wait > 0
    assert (own.redis.lrange(own.queue, 0, -1), [own.redis.dump(key) for key in own.unacked_keys]) == everything


@pytest.mark.parametrize("hold", HOLDS)
def test_a_hold_says_why_and_since_when(own: OwnIntegration, hold: str) -> None:
    before = own.now()
    HOLDS[hold](own.flow())
    state = own.flow().state()
    assert state.kind == hold
    assert state.why
    assert state.since is not None
    assert before <= state.since <= own.now()
    assert (state.until is not None) == (hold in {"throttled", "unavailable"})


@pytest.mark.parametrize("hold", HOLDS)
def test_what_is_under_way_may_finish_only_while_mailgun_is_merely_unavailable(own: OwnIntegration, hold: str) -> None:
    HOLDS[hold](own.flow())
    assert (own.flow().ask() == 0) == (hold == "unavailable")


# Throttled


def test_a_hint_holds_for_just_so_long(own: OwnIntegration) -> None:
    assert answered(own.flow(), Kind.THROTTLED, hint=300) == ["throttled"]
    assert is_about(own.flow().ask(), 300)
    own.later(300)
    assert own.flow().ask() == 0
    assert own.flow().state().kind is None


def test_a_hint_is_never_shortened_not_by_another_nor_by_none_nor_by_an_answer(own: OwnIntegration) -> None:
    flow = own.flow(base=1)
    answered(flow, Kind.THROTTLED, hint=300)
    assert answered(flow, Kind.THROTTLED, hint=10) == [""]
    answered(flow, Kind.THROTTLED)
    for kind in ANSWERS:
        answered(flow, kind)
    assert is_about(flow.ask(), 300)


def test_a_hint_may_be_far_longer_than_the_longest_backoff(own: OwnIntegration) -> None:
    answered(own.flow(max_delay=100), Kind.THROTTLED, hint=80_000)
    assert is_about(own.flow().ask(), 80_000)


def test_a_longer_hint_lengthens_the_hold(own: OwnIntegration) -> None:
    answered(own.flow(), Kind.THROTTLED, hint=300)
    assert answered(own.flow(), Kind.THROTTLED, hint=900) == [""]
    assert is_about(own.flow().ask(), 900)


def test_without_hints_each_hold_is_twice_as_long_up_to_the_ceiling_however_many_429s_arrive(
    own: OwnIntegration,
) -> None:
    for expected in (100, 200, 400, 800, 1000, 1000):
        assert answered(own.flow(), Kind.THROTTLED, times=20) == ["throttled", *[""] * 19]
        assert is_about(own.flow().ask(), expected)
        own.later(expected)


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 500), (NEARLY_ONE, 1000)])
def test_a_hold_without_a_hint_is_a_random_half_to_whole_of_its_length(
    own: OwnIntegration, chance: float, expected: float
) -> None:
    answered(own.flow(chance=chance, base=1000), Kind.THROTTLED)
    assert is_about(own.flow().ask(), expected)


def test_after_a_request_was_let_through_the_backoff_begins_anew(own: OwnIntegration) -> None:
    for _ in range(2):
        answered(own.flow(), Kind.THROTTLED)
        own.later(200)
    answered(own.flow(), Kind.DELIVERED)
    answered(own.flow(), Kind.THROTTLED)
    assert is_about(own.flow().ask(), 100)


def test_an_answer_to_what_was_asked_before_the_429_does_not_begin_the_backoff_anew(own: OwnIntegration) -> None:
    answered(own.flow(), Kind.THROTTLED)
    answered(own.flow(), Kind.DELIVERED)
    own.later(100)
    answered(own.flow(), Kind.THROTTLED)
    assert is_about(own.flow().ask(), 200)


# Unavailable


def test_a_run_of_unavailable_answers_holds_and_fewer_do_not(own: OwnIntegration) -> None:
    flow = own.flow()
    assert not any(answered(flow, Kind.UNAVAILABLE, times=UNAVAILABLE_RUN - 1))
    assert flow.state().kind is None
    assert answered(flow, Kind.UNAVAILABLE) == ["unavailable"]
    assert flow.state().kind == "unavailable"


@pytest.mark.parametrize("kind", [*ANSWERS, Kind.THROTTLED, Kind.UNAUTHORIZED, Kind.LIST_NOT_FOUND])
def test_any_answer_in_between_ends_the_run(own: OwnIntegration, kind: Kind) -> None:
    flow = own.flow()
    answered(flow, Kind.UNAVAILABLE, times=UNAVAILABLE_RUN - 1)
    answered(flow, kind, hint=1 if kind is Kind.THROTTLED else 0)
    assert not any(answered(flow, Kind.UNAVAILABLE, times=UNAVAILABLE_RUN - 1))
    assert "kind" not in own.hold()


@pytest.mark.parametrize("kind", [Kind.HELD, Kind.BUSY, Kind.SUPERSEDED, Kind.UNCHANGED, Kind.CRASHED])
def test_an_attempt_without_a_request_says_nothing_of_mailgun(own: OwnIntegration, kind: Kind) -> None:
    flow = own.flow()
    answered(flow, Kind.UNAVAILABLE, times=UNAVAILABLE_RUN - 1)
    answered(flow, kind, requests=0)
    assert answered(flow, Kind.UNAVAILABLE) == ["unavailable"]


def test_our_own_bug_says_nothing_of_mailgun(own: OwnIntegration) -> None:
    hold_for_unavailability(own.flow())
    assert answered(own.flow(), Kind.CRASHED) == [""]
    assert own.flow().state().kind == "unavailable"


def test_after_its_time_exactly_one_event_is_taken_as_a_probe(own: OwnIntegration) -> None:
    own.fill(50)
    hold_for_unavailability(own.flow())
    own.later(60)
    takes = [own.take(5) for _ in range(8)]
    assert [(each.probe, each.messages) for each in takes] == [(True, ["1"]), *[(False, [])] * 7]
    assert all(each.wait > 0 for each in takes[1:])


def test_many_workers_at_once_get_one_probe_between_them(own: OwnIntegration) -> None:
    own.fill(50)
    hold_for_unavailability(own.flow())
    own.later(60)
    with ThreadPoolExecutor(16) as threads:
        takes = list(threads.map(own.take, [3] * 16))
    assert sorted(len(each.messages) for each in takes) == [*[0] * 15, 1]


def test_while_probes_fail_the_hold_doubles_up_to_a_minute(own: OwnIntegration) -> None:
    flow = own.flow(base=5)
    own.fill(10)
    hold_for_unavailability(flow)
    waits = [flow.state().until or 0]
    lengths = [float(own.hold()["length"])]
    for _ in range(5):
        own.later(60)
        assert own.take(5).probe
        assert answered(flow, Kind.UNAVAILABLE) == [""]
        waits.append((flow.state().until or 0) - own.now())
        lengths.append(float(own.hold()["length"]))
        assert not own.take(5).messages
    assert lengths == [5, 10, 20, 40, LONGEST_UNAVAILABLE_SECONDS, LONGEST_UNAVAILABLE_SECONDS]
    assert is_about(waits[-1], LONGEST_UNAVAILABLE_SECONDS)


def test_what_fails_while_nobody_probes_does_not_lengthen_the_hold(own: OwnIntegration) -> None:
    hold_for_unavailability(own.flow(base=5))
    before = own.hold()
    answered(own.flow(base=5), Kind.UNAVAILABLE, times=100)
    assert own.hold() == before


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_probe_that_is_answered_lifts_the_hold_and_the_flow_ramps_up(own: OwnIntegration, kind: Kind) -> None:
    own.fill(50)
    hold_for_unavailability(own.flow())
    own.later(60)
    own.take()
    assert answered(own.flow(), kind) == ["available"]
    assert own.flow().state().kind is None
    assert own.flow().state().rate is not None
    assert 1 <= len(own.take(50).messages) < 50


def test_a_probe_that_is_throttled_shows_that_mailgun_is_back_and_its_hint_holds(own: OwnIntegration) -> None:
    own.fill(50)
    hold_for_unavailability(own.flow())
    own.later(60)
    own.take()
    assert answered(own.flow(), Kind.THROTTLED, hint=200) == ["throttled"]
    assert own.flow().state().kind == "throttled"
    own.later(200)
    taken = own.take(50)
    assert not taken.probe
    assert 1 <= len(taken.messages) < 50


def test_an_answer_to_what_was_under_way_lifts_the_hold_too(own: OwnIntegration) -> None:
    hold_for_unavailability(own.flow())
    assert answered(own.flow(), Kind.DELIVERED) == ["available"]
    assert own.flow().state().kind is None


def test_a_probe_that_needs_no_request_hands_the_role_on(own: OwnIntegration) -> None:
    own.fill(50)
    hold_for_unavailability(own.flow())
    own.later(60)
    for expected in ("1", "2", "3"):
        assert own.take(5).messages == [expected]
        assert own.take(5).messages == []
        own.flow().not_asked(probe=True)


def test_a_probe_from_an_empty_queue_hands_the_role_on(own: OwnIntegration) -> None:
    hold_for_unavailability(own.flow())
    own.later(60)
    assert own.take(5).messages == []
    own.fill(1)
    assert own.take(5).probe


def test_an_event_that_is_no_probe_hands_no_role_on(own: OwnIntegration) -> None:
    own.fill(50)
    hold_for_unavailability(own.flow())
    own.flow().not_asked(probe=False)
    assert own.take(5).messages == []


def test_a_lost_probe_is_replaced_after_its_lease(own: OwnIntegration) -> None:
    own.fill(50)
    hold_for_unavailability(own.flow())
    own.later(60)
    assert own.take().probe
    own.later(400)  # of the 500 of its lease
    assert own.take().messages == []
    own.later(100)
    assert own.take(5).probe


def test_unavailability_never_shortens_what_mailgun_asked_to_wait(own: OwnIntegration) -> None:
    own.fill(5)
    flow = own.flow(base=1)
    answered(flow, Kind.THROTTLED, hint=1000)
    hold_for_unavailability(flow)
    own.later(60)  # the hold for unavailability is over
    assert own.take().messages == []
    assert is_about(flow.state().until or 0, own.now() + 940)
    flow.resume()
    assert is_about(flow.ask(), 940)


def test_a_hold_for_unavailability_that_ends_within_a_429s_does_not_use_up_its_ramp(own: OwnIntegration) -> None:
    own.fill(500)
    answered(own.flow(), Kind.THROTTLED, hint=300)
    hold_for_unavailability(own.flow())
    answered(own.flow(), Kind.DELIVERED)
    own.later(300)
    assert 1 <= len(own.take(500).messages) < 500


# Incidents


@pytest.mark.parametrize("kind", [Kind.UNAUTHORIZED, Kind.LIST_NOT_FOUND])
def test_so_many_refusals_in_a_row_are_an_incident(own: OwnIntegration, kind: Kind) -> None:
    flow = own.flow(incident_threshold=3)
    assert answered(flow, kind, times=5) == ["", "", "incident", "", ""]
    state = flow.state()
    assert (state.kind, state.why, state.until) == ("incident", str(kind), None)
    assert flow.ask() == UNTIL_LIFTED_SECONDS


def test_either_refusal_counts_towards_one_incident(own: OwnIntegration) -> None:
    flow = own.flow(incident_threshold=2)
    assert answered(flow, Kind.UNAUTHORIZED) + answered(flow, Kind.LIST_NOT_FOUND) == ["", "incident"]


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_in_between_ends_the_row_of_refusals(own: OwnIntegration, kind: Kind) -> None:
    flow = own.flow(incident_threshold=3)
    answered(flow, Kind.UNAUTHORIZED, times=2)
    answered(flow, kind)
    assert answered(flow, Kind.UNAUTHORIZED, times=3) == ["", "", "incident"]


def test_a_threshold_of_zero_turns_incidents_off(own: OwnIntegration) -> None:
    flow = own.flow(incident_threshold=0)
    assert not any(answered(flow, Kind.UNAUTHORIZED, times=50))
    assert flow.state().kind is None


def test_a_refusal_shows_that_mailgun_is_available(own: OwnIntegration) -> None:
    hold_for_unavailability(own.flow())
    assert answered(own.flow(), Kind.UNAUTHORIZED) == ["available"]
    assert own.flow().state().kind is None


def test_an_incident_does_not_end_by_time_nor_by_what_was_under_way(own: OwnIntegration) -> None:
    own.fill(5)
    hold_for_incident(own.flow())
    own.later(1e6)
    answered(own.flow(), Kind.DELIVERED)
    answered(own.flow(), Kind.UNAVAILABLE, times=UNAVAILABLE_RUN)
    assert own.flow().state().kind == "incident"
    assert own.take().messages == []


def test_a_look_whether_the_incident_is_over_is_due_once_an_interval_over_all_workers(own: OwnIntegration) -> None:
    assert not own.flow().probe_due()
    hold_for_incident(own.flow())
    assert not own.flow().probe_due()
    for _ in range(2):
        own.later(600)
        with ThreadPoolExecutor(16) as threads:
            assert sum(threads.map(lambda _: own.flow().probe_due(), range(32))) == 1


def test_no_look_is_due_while_mailgun_asks_to_wait(own: OwnIntegration) -> None:
    hold_for_incident(own.flow())
    answered(own.flow(), Kind.THROTTLED, hint=5000)
    own.later(600)
    assert not own.flow().probe_due()
    own.later(4400)
    assert own.flow().probe_due()


def test_when_the_incident_is_over_the_flow_ramps_up_and_one_more_refusal_begins_it_again(own: OwnIntegration) -> None:
    own.fill(50)
    hold_for_incident(own.flow())
    own.flow().lift()
    assert own.flow().state().kind is None
    assert 1 <= len(own.take(50).messages) < 50
    assert answered(own.flow(), Kind.UNAUTHORIZED) == ["incident"]


def test_after_an_incident_a_delivered_event_begins_the_row_anew(own: OwnIntegration) -> None:
    hold_for_incident(own.flow())
    own.flow().lift()
    answered(own.flow(), Kind.DELIVERED)
    assert answered(own.flow(), Kind.UNAUTHORIZED, times=2) == ["", ""]


# Pause and resume


def test_a_pause_stands_until_it_is_resumed(own: OwnIntegration) -> None:
    own.fill(50)
    flow = own.flow()
    assert flow.pause()
    assert not flow.pause()
    own.later(1e6)
    answered(flow, Kind.DELIVERED)
    flow.lift()
    assert flow.state().kind == "paused"
    assert flow.ask() == own.take().wait == UNTIL_LIFTED_SECONDS
    assert flow.resume()
    assert not flow.resume()
    assert flow.ask() == 0
    assert 1 <= len(own.take(50).messages) < 50


def test_resuming_lifts_an_incident_and_its_row(own: OwnIntegration) -> None:
    hold_for_incident(own.flow())
    assert own.flow().resume()
    assert own.flow().state().kind is None
    assert answered(own.flow(), Kind.UNAUTHORIZED, times=2) == ["", ""]


def test_resuming_lifts_a_hold_for_unavailability_and_its_run(own: OwnIntegration) -> None:
    hold_for_unavailability(own.flow())
    assert own.flow().resume()
    assert own.flow().state().kind is None
    assert not any(answered(own.flow(), Kind.UNAVAILABLE, times=UNAVAILABLE_RUN - 1))


def test_resuming_leaves_what_mailgun_asked_to_wait_and_the_ramp_after_it(own: OwnIntegration) -> None:
    own.fill(500)
    answered(own.flow(), Kind.THROTTLED, hint=300)
    assert not own.flow().resume()
    own.flow().pause()
    own.flow().resume()
    assert is_about(own.flow().ask(), 300)
    own.later(300)
    assert 1 <= len(own.take(500).messages) < 500


# Pace


@pytest.mark.parametrize("per_minute", [6, 60, 600])
def test_a_rate_limit_is_kept_over_all_workers_and_used(own: OwnIntegration, per_minute: float) -> None:
    rules = rules_with(rate_limit=per_minute)
    rate = per_minute / 60
    taken, simulated, began = 0, 0.0, own.now()
    for _ in range(120):
        own.fill(30)
        taken += len(own.take(30, rules=rules).messages)
        own.later(1)
        simulated += 1
    passed = simulated + own.now() - began
    assert rate * passed - 2 * rate - 2 <= taken <= rate * passed + 2 * rate + 1


def test_after_a_quiet_time_no_more_than_two_seconds_worth_bursts(own: OwnIntegration) -> None:
    rules = rules_with(rate_limit=600)
    own.fill(1000)
    own.take(rules=rules)
    own.later(1000)
    assert len(own.take(1000, rules=rules).messages) == 20


def test_where_the_allowance_is_used_up_the_worker_is_told_when_to_look_again(own: OwnIntegration) -> None:
    rules = rules_with(rate_limit=0.6)  # one request in 100 s
    own.fill(5)
    assert own.take(5, rules=rules).messages == ["1"]
    taken = own.take(5, rules=rules)
    assert taken.messages == []
    assert is_about(taken.wait, 100)


def test_only_what_was_taken_is_charged(own: OwnIntegration) -> None:
    rules = rules_with(rate_limit=6)
    assert own.take(10, rules=rules).messages == []
    own.fill(5)
    assert own.take(10, rules=rules).messages == ["1"]


def test_what_needed_no_request_is_given_back(own: OwnIntegration) -> None:
    rules, flow = rules_with(rate_limit=0.6), own.flow(rate_limit=0.6)
    own.fill(5)
    assert own.take(5, rules=rules).messages == ["1"]
    flow.not_asked(probe=False)
    assert own.take(5, rules=rules).messages == []
    flow.refund()
    assert own.take(5, rules=rules).messages == ["2"]
    flow.refund()
    assert own.take(5, rules=rules).messages == []


def test_what_is_given_back_is_never_saved_up(own: OwnIntegration) -> None:
    rules, flow = rules_with(rate_limit=0.6), own.flow(rate_limit=0.6)
    own.fill(50)
    own.take(rules=rules)
    for _ in range(40):
        flow.not_asked(probe=False)
    flow.refund()
    assert own.take(50, rules=rules).messages == ["2"]


@pytest.mark.parametrize("hold", [1, 1000])
def test_the_length_of_a_hold_is_not_saved_up_for_a_burst_after_it(own: OwnIntegration, hold: float) -> None:
    own.fill(50)
    answered(own.flow(), Kind.THROTTLED, hint=hold)
    own.later(hold)
    taken = len(own.take(50).messages)
    passed = own.now() - float(own.pace()["ramp_from"])
    assert 1 <= taken <= 1 + 2 * passed * 2**passed


def test_after_a_hold_the_flow_begins_with_two_a_second_and_doubles_for_ten_seconds(own: OwnIntegration) -> None:
    own.fill(5000)
    answered(own.flow(), Kind.THROTTLED, hint=100)
    own.later(100)
    rates = []
    for _ in range(4):
        before = own.now()
        rate = own.flow().state().rate
        since = before - float(own.pace()["ramp_from"])
        passed = own.now() - before
        assert rate is not None
        assert 2 * 2**since <= rate * 1.001
        assert rate <= 2 * 2 ** (since + passed) * 1.001
        rates.append(rate)
        own.later(2)
    assert all(later >= 4 * earlier * 0.99 for earlier, later in pairwise(rates))
    own.later(10)
    assert own.flow().state().rate is None
    assert len(own.take(5000).messages) == 5000


@pytest.mark.parametrize("hint", [100, 10_000, 80_000])
def test_what_ramps_up_after_a_hold_outlives_it_however_long(own: OwnIntegration, hint: float) -> None:
    answered(own.flow(), Kind.THROTTLED, hint=hint)
    answered(own.flow(), Kind.DELIVERED)
    own.flow().not_asked(probe=False)
    own.flow().refund()
    assert own.redis.ttl(f"signal:{own.name}:pace") > hint


def test_a_single_429_teaches_nothing_but_to_wait(own: OwnIntegration) -> None:
    answered(own.flow(), Kind.DELIVERED, requests=1000)
    answered(own.flow(), Kind.THROTTLED, hint=1)
    own.later(20)
    assert own.flow().state().rate is None


def learned(own: OwnIntegration, *, a_second: int = 60) -> float:
    """The rate learned where so many requests a second were let through for half a minute between two 429s."""
    answered(own.flow(), Kind.THROTTLED, hint=1)
    own.later(31)
    answered(own.flow(), Kind.DELIVERED, requests=30 * a_second)
    answered(own.flow(), Kind.THROTTLED, hint=1)
    return float(own.pace()["rate"])


def test_a_429_soon_after_a_hold_teaches_nine_tenths_of_what_was_let_through(own: OwnIntegration) -> None:
    assert 20 < learned(own) <= 0.9 * 60  # a slow machine takes it for less a second
    own.later(15)
    rate = own.flow().state().rate
    assert rate is not None
    assert 20 < rate <= 0.9 * 60 * 1.1


@pytest.mark.parametrize(("let_through", "factor"), [(100_000, 0.9), (5, 0.5)])
def test_one_more_429_slows_down_by_a_tenth_at_least_and_a_half_at_most(
    own: OwnIntegration, let_through: int, factor: float
) -> None:
    first = learned(own)
    own.redis.hset(f"signal:{own.name}:pace", mapping={"count": 0, "before": 0})  # the last minute is past
    own.later(31)
    answered(own.flow(), Kind.DELIVERED, requests=let_through)
    answered(own.flow(), Kind.THROTTLED, hint=1)
    assert float(own.pace()["rate"]) == pytest.approx(first * factor, rel=0.15)  # it grew a little since


def test_what_is_learned_never_stops_the_flow(own: OwnIntegration) -> None:
    for _ in range(16):
        answered(own.flow(), Kind.THROTTLED, hint=1)
        own.later(55)
        answered(own.flow(), Kind.DELIVERED, requests=5)
    assert float(own.pace()["rate"]) == SLOWEST_RATE


def test_a_429_as_soon_as_the_wait_is_over_teaches_nothing(own: OwnIntegration) -> None:
    for _ in range(5):
        answered(own.flow(), Kind.THROTTLED, hint=1)
        own.later(5)
    assert "rate" not in own.pace()


def test_a_learned_rate_grows_slowly_then_doubles_and_is_forgotten(own: OwnIntegration) -> None:
    first = learned(own)
    found = []
    for _ in range(3):
        own.later(60)
        found.append(own.flow().state().rate or 0)
    own.later(600)
    assert first * 1.09 * 0.99 <= found[0] <= found[1] <= found[2]
    assert found[1] >= first * 1.18 * 0.99
    assert found[2] >= first * 1.18 * 4 * 0.99
    assert own.flow().state().rate is None


def test_the_slower_of_what_is_learned_and_what_is_set_counts(own: OwnIntegration) -> None:
    first = learned(own)
    own.later(15)
    assert own.flow(rate_limit=6).state().rate == pytest.approx(0.1)
    assert (own.flow(rate_limit=600_000).state().rate or 0) < first * 1.2


def test_the_pace_is_forgotten_an_hour_after_its_last_use_and_a_hold_is_not(own: OwnIntegration) -> None:
    for hold in HOLDS.values():
        hold(own.flow())
        assert own.redis.ttl(f"signal:{own.name}:pace") > 0 if own.pace() else True
    own.redis.delete(f"signal:{own.name}:pace")
    assert own.redis.ttl(f"signal:{own.name}:hold") == -1
    assert own.flow().state().kind == "paused"


def test_every_kind_of_outcome_can_be_reported_in_any_state(own: OwnIntegration) -> None:
    for hold in (lambda _: None, *HOLDS.values()):
        own.redis.flushdb()
        hold(own.flow())
        for kind in Kind:
            for requests in (0, 1, 2):
                own.flow().report(Outcome(kind, requests=requests), "why", NOW)
                own.flow().state()
