"""How fast Mailgun is asked: set, learned from 429s, ramped up – on a real server, and against limiters."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.integrations import (
    OwnIntegration,
    answered,
    rules_with,
)
from tests.limiters import (
    Limiter,
    against,
    at_random,
    changing,
    fixed_window,
    outage,
    sliding_counter,
    starting_window,
    token_bucket,
)
from worker.gate.config import (
    CAREFUL_REQUESTS,
    CAREFUL_SECONDS,
    SLOWEST_RATE,
    USUAL_LIMIT,
    WINDOW_SECONDS,
)
from worker.gate.gate import Gate
from worker.mailgun.outcome import OutcomeKind

SLACK = 40.0  # seconds that a slow machine may take between two lines of a test


def is_about(found: float, seconds: float) -> bool:
    """Of what lasts `seconds`, is all left but what the test itself took?"""
    return seconds - SLACK < found <= seconds


@pytest.mark.parametrize("per_minute", [6, 60, 600])
def test_a_rate_limit_is_kept_over_all_workers_and_used(
    own: OwnIntegration, per_minute: float
) -> None:
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


def test_burst_after_a_quiet_time_is_at_most_two_seconds_worth(own: OwnIntegration) -> None:
    rules = rules_with(rate_limit=600)
    own.fill(1000)
    own.take(rules=rules)
    own.later(1000)
    assert len(own.take(1000, rules=rules).messages) == 20


def test_fetch_without_tokens_returns_when_to_fetch_again(
    own: OwnIntegration,
) -> None:
    rules = rules_with(rate_limit=0.6)  # one request in 100 s
    own.fill(5)
    assert own.take(5, rules=rules).messages == ["1"]
    taken = own.take(5, rules=rules)
    assert taken.messages == []
    assert is_about(taken.wait, 100)


def test_fetch_charges_only_the_events_it_returned(own: OwnIntegration) -> None:
    rules = rules_with(rate_limit=6)
    assert own.take(10, rules=rules).messages == []
    own.fill(5)
    assert own.take(10, rules=rules).messages == ["1"]


def test_released_permit_is_free_for_the_next_event(own: OwnIntegration) -> None:
    rules, gate = rules_with(rate_limit=0.6), own.gate(rate_limit=0.6)
    own.fill(5)
    assert own.take(5, rules=rules).messages == ["1"]
    gate.release(gate.rules.event_cost)
    assert own.take(5, rules=rules).messages == []
    gate.flush_released()
    assert own.take(5, rules=rules).messages == ["2"]
    gate.flush_released()
    assert own.take(5, rules=rules).messages == []


def test_bucket_holds_the_requests_of_an_event_at_least(own: OwnIntegration) -> None:
    rules = rules_with(rate_limit=6, event_cost=2)
    own.fill(2)
    assert own.take(rules=rules).messages == []
    own.later(10)
    assert own.take(rules=rules).messages == ["1"]


def test_released_permits_are_never_saved_up(own: OwnIntegration) -> None:
    rules, gate = rules_with(rate_limit=0.6), own.gate(rate_limit=0.6)
    own.fill(50)
    own.take(rules=rules)
    for _ in range(40):
        gate.release(gate.rules.event_cost)
    gate.flush_released()
    assert own.take(50, rules=rules).messages == ["2"]


@pytest.mark.parametrize("hold", [1, 1000])
def test_hold_saves_up_no_burst_for_its_end(own: OwnIntegration, hold: float) -> None:
    own.fill(50)
    answered(own.gate(), OutcomeKind.THROTTLED, hint=hold)
    own.later(hold)
    taken = len(own.take(50).messages)
    passed = own.now() - float(own.pace()["ramp_from"])
    assert 1 <= taken <= 1 + 2 * passed * 2**passed


def test_ramp_after_a_hold_begins_at_two_a_second_and_doubles_each_second(
    own: OwnIntegration,
) -> None:
    own.fill(5000)
    answered(own.gate(), OutcomeKind.THROTTLED, hint=100)
    own.later(100)
    rates = []
    for _ in range(4):
        before = own.now()
        rate = own.gate().state().rate
        since = before - float(own.pace()["ramp_from"])
        passed = own.now() - before
        assert rate is not None
        assert 2 * 2**since <= rate * 1.001
        assert rate <= 2 * 2 ** (since + passed) * 1.001
        rates.append(rate)
        own.later(2)
    assert all(later >= 4 * earlier * 0.99 for earlier, later in pairwise(rates))
    own.later(10)
    assert own.gate().state().rate is None
    assert len(own.take(200).messages) == 200


@pytest.mark.parametrize("hint", [100, 10_000, 80_000])
def test_ramp_after_a_hold_is_stored_longer_than_the_hold(own: OwnIntegration, hint: float) -> None:
    answered(own.gate(), OutcomeKind.THROTTLED, hint=hint)
    answered(own.gate(), OutcomeKind.DELIVERED)
    own.gate().flush_released()
    assert own.redis.ttl(f"signal:{own.name}:pace") > hint


def test_single_429_teaches_no_rate(own: OwnIntegration) -> None:
    answered(own.gate(), OutcomeKind.DELIVERED, requests=1000)
    answered(own.gate(), OutcomeKind.THROTTLED, hint=1)
    own.later(20)
    assert own.gate().state().rate is None


def learned(own: OwnIntegration, *, a_second: int = 60) -> float:
    """The rate learned where so many requests a second were let through for half a minute, and one in ten more refused."""
    answered(own.gate(), OutcomeKind.DELIVERED)
    own.later(30)
    answered(own.gate(), OutcomeKind.DELIVERED, requests=30 * a_second)
    for _ in range(3 * a_second):
        answered(own.gate(), OutcomeKind.THROTTLED)
    own.later(100)  # the wait that these made
    answered(own.gate(), OutcomeKind.DELIVERED)
    return float(own.pace()["limit"])


def test_many_429s_teach_a_rate_below_what_was_let_through(
    own: OwnIntegration,
) -> None:
    first = learned(own)
    assert first > 0
    own.later(10)  # the ramp
    assert (own.gate().state().rate or 0) == pytest.approx(0.95 * first, rel=0.05)


def test_learned_rate_recovers_then_grows_faster_and_is_forgotten(
    own: OwnIntegration,
) -> None:
    first = learned(own)
    own.later(10)
    found = []
    for _ in range(4):
        own.later(30)
        found.append((own.gate().state().rate or 0) / first)
    own.later(1200)
    assert found == sorted(found)
    assert found[0] == pytest.approx(1.0, abs=0.05)
    assert found[1] < 1.2
    assert found[3] > 1.5
    assert own.gate().state().rate is None


def test_learned_rate_never_falls_below_the_slowest_rate(own: OwnIntegration) -> None:
    for _ in range(40):
        answered(own.gate(), OutcomeKind.DELIVERED, times=5)
        own.later(100)
        answered(own.gate(), OutcomeKind.THROTTLED, times=5)
        own.later(100)
    assert float(own.pace().get("limit", SLOWEST_RATE)) >= SLOWEST_RATE


def test_429_right_after_a_hold_teaches_no_rate(own: OwnIntegration) -> None:
    for _ in range(5):
        answered(own.gate(), OutcomeKind.THROTTLED, hint=1)
        own.later(5)
    assert "limit" not in own.pace()


def test_slower_of_learned_rate_and_set_rate_limit_counts(own: OwnIntegration) -> None:
    first = learned(own)
    own.later(10)
    assert own.gate(rate_limit=6).state().rate == pytest.approx(0.1)
    assert (own.gate(rate_limit=600_000).state().rate or 0) < first * 1.2


# Near the usual limit

BEFORE_USUAL = USUAL_LIMIT - 20  # requests that are permitted at once


def near_usual(own: OwnIntegration, gate: Gate) -> None:
    """Let so many requests pass that the next ones are near the usual limit."""
    own.fill(3000)
    assert len(own.take(1000).messages) == BEFORE_USUAL
    answered(gate, OutcomeKind.DELIVERED, requests=BEFORE_USUAL)


def test_few_requests_are_under_way_near_the_usual_limit_until_some_passed(
    own: OwnIntegration,
) -> None:
    gate = own.gate()
    near_usual(own, gate)
    for _ in range(5):
        assert len(own.take(1000).messages) == CAREFUL_REQUESTS
        assert own.take(1000).messages == []
        answered(gate, OutcomeKind.DELIVERED, requests=CAREFUL_REQUESTS)
    assert len(own.take(1000).messages) == 1000
    own.later(300)
    assert len(own.take(1000).messages) == 1000


def test_fetch_near_the_usual_limit_waits_for_what_is_under_way(own: OwnIntegration) -> None:
    gate = own.gate()
    own.fill(1000)
    own.take(1000)
    answered(gate, OutcomeKind.DELIVERED, requests=BEFORE_USUAL - CAREFUL_REQUESTS)
    taken = own.take(1000)
    assert taken.messages == []
    assert 0 < taken.wait < 0.1
    answered(gate, OutcomeKind.DELIVERED)
    assert len(own.take(1000).messages) == 1


def test_requests_of_another_minute_do_not_count_for_the_usual_limit(own: OwnIntegration) -> None:
    own.fill(1000)
    for _ in range(3):
        assert len(own.take(250).messages) == 250
        own.later(WINDOW_SECONDS)
    assert len(own.take(250).messages) == 250


def test_requests_that_were_not_made_do_not_count_for_the_usual_limit(own: OwnIntegration) -> None:
    gate = own.gate()
    own.fill(1000)
    for _ in range(5):
        assert len(own.take(200).messages) == 200
        gate.release(200 * gate.rules.event_cost)
        gate.flush_released()


def test_care_ends_if_no_answer_comes_for_a_few_seconds(own: OwnIntegration) -> None:
    gate = own.gate()
    own.fill(3000)
    assert len(own.take(1000).messages) == BEFORE_USUAL
    own.later(CAREFUL_SECONDS - 1)
    answered(gate, OutcomeKind.DELIVERED)
    own.later(CAREFUL_SECONDS - 1)
    assert own.take(1000).messages == []
    own.later(1)
    assert len(own.take(1000).messages) == 1000


def test_care_ends_too_if_only_a_part_of_an_event_might_be_sent(own: OwnIntegration) -> None:
    gate, rules = own.gate(event_cost=2), rules_with(event_cost=2)
    own.fill(3000)
    assert len(own.take(1000, rules=rules).messages) == BEFORE_USUAL / 2
    answered(gate, OutcomeKind.DELIVERED, requests=BEFORE_USUAL - CAREFUL_REQUESTS + 1)
    assert own.take(1000, rules=rules).messages == []
    own.later(CAREFUL_SECONDS)
    assert len(own.take(1000, rules=rules).messages) == 1000


def test_clock_that_goes_back_does_not_hold_near_the_usual_limit(own: OwnIntegration) -> None:
    gate = own.gate()
    near_usual(own, gate)
    own.take(1000)
    own.later(-3600)
    assert len(own.take(1000).messages) == BEFORE_USUAL
    own.later(-10 * CAREFUL_SECONDS)
    own.redis.hincrbyfloat(f"signal:{own.name}:pace", "window_at", -10 * CAREFUL_SECONDS)
    assert len(own.take(1000).messages) == 1000


def test_clock_that_is_a_little_behind_does_not_end_the_care(own: OwnIntegration) -> None:
    gate = own.gate()
    near_usual(own, gate)
    assert len(own.take(1000).messages) == CAREFUL_REQUESTS
    own.later(-CAREFUL_SECONDS / 2)
    assert own.take(1000).messages == []


def test_bundle_in_hand_gets_few_permits_at_once_near_the_usual_limit(own: OwnIntegration) -> None:
    gate = own.gate()
    near_usual(own, gate)
    charged, wait = gate.acquire(64)
    assert charged == CAREFUL_REQUESTS
    assert 0 < wait < 0.1
    assert gate.acquire(64) == (0, wait)
    answered(gate, OutcomeKind.DELIVERED, requests=charged)
    assert gate.acquire(3) == (3, 0.0)


def test_background_request_waits_near_the_usual_limit(own: OwnIntegration) -> None:
    gate = own.gate()
    near_usual(own, gate)
    waits = [gate.acquire_background()[0] for _ in range(CAREFUL_REQUESTS + 1)]
    assert waits[:-1] == [0.0] * CAREFUL_REQUESTS
    assert waits[-1] > 0


def test_429s_near_the_usual_limit_hold_until_its_minute_is_over(own: OwnIntegration) -> None:
    gate = own.gate(base=4)
    near_usual(own, gate)
    own.later(10)
    own.take(1000)
    answered(gate, OutcomeKind.DELIVERED, requests=4)
    answered(gate, OutcomeKind.THROTTLED, times=2)
    assert float(own.hold()["not_before"]) - own.now() < 1
    answered(gate, OutcomeKind.THROTTLED)
    assert is_about(float(own.hold()["not_before"]) - own.now(), WINDOW_SECONDS - 10)
    own.later(WINDOW_SECONDS - 10)
    own.take(1000)
    answered(gate, OutcomeKind.DELIVERED)
    assert float(own.pace()["limit"]) == pytest.approx((BEFORE_USUAL + 4) / WINDOW_SECONDS)


def test_try_refused_just_before_a_window_turns_is_repeated_soon(own: OwnIntegration) -> None:
    gate = own.gate(base=4)
    near_usual(own, gate)
    answered(gate, OutcomeKind.THROTTLED, times=2)
    answered(gate, OutcomeKind.DELIVERED)  # sent before
    for _ in range(3):
        own.later(4)
        answered(gate, OutcomeKind.THROTTLED)
    assert is_about(float(own.hold()["not_before"]) - own.now(), WINDOW_SECONDS - 12)
    own.later(WINDOW_SECONDS - 12)
    answered(gate, OutcomeKind.THROTTLED)
    assert float(own.hold()["not_before"]) - own.now() < 1
    own.later(1)
    answered(gate, OutcomeKind.DELIVERED)
    assert own.pace().keys() >= {"turn_seen", "is_long"}


def known_turn(own: OwnIntegration, gate: Gate) -> None:
    """Let the usual limit be met, and then one try be refused just before its window turned."""
    near_usual(own, gate)
    answered(gate, OutcomeKind.THROTTLED, times=3)
    own.later(WINDOW_SECONDS - 0.5)
    answered(gate, OutcomeKind.THROTTLED)
    own.later(1)
    answered(gate, OutcomeKind.DELIVERED)
    assert float(own.pace()["limit"]) == pytest.approx(BEFORE_USUAL / WINDOW_SECONDS)


@pytest.mark.parametrize(
    ("share", "refusals", "is_long", "holds"),
    [
        (0.95, 1, True, True),
        (0.5, 2, True, False),
        (0.5, 3, True, True),
        (0.1, 5, True, False),
        (0.5, 3, False, False),
        (0.5, 5, False, True),
    ],
)
def test_429s_in_a_window_whose_turn_is_known_hold_until_it_turns(
    own: OwnIntegration, share: float, refusals: int, *, is_long: bool, holds: bool
) -> None:
    gate = own.gate(base=4)
    known_turn(own, gate)
    if not is_long:
        own.redis.hdel(f"signal:{own.name}:pace", "is_long")
    own.later(20)
    answered(gate, OutcomeKind.DELIVERED, requests=int(share * BEFORE_USUAL))
    answered(gate, OutcomeKind.THROTTLED, times=refusals)
    left = float(own.hold().get("not_before", 0)) - own.now()
    assert is_about(left, WINDOW_SECONDS - 20) if holds else left < 2


def test_refusal_at_random_in_a_known_window_teaches_no_slower_rate(own: OwnIntegration) -> None:
    gate = own.gate(base=4)
    known_turn(own, gate)
    limit = float(own.pace()["limit"])
    own.later(20)
    answered(gate, OutcomeKind.DELIVERED, requests=int(0.9 * BEFORE_USUAL))
    answered(gate, OutcomeKind.THROTTLED)
    own.later(WINDOW_SECONDS - 20)
    answered(gate, OutcomeKind.DELIVERED)
    assert float(own.pace()["limit"]) == limit


def test_single_429_near_the_usual_limit_teaches_no_rate(own: OwnIntegration) -> None:
    gate = own.gate()
    near_usual(own, gate)
    answered(gate, OutcomeKind.THROTTLED)
    answered(gate, OutcomeKind.DELIVERED, requests=4)
    answered(gate, OutcomeKind.THROTTLED)
    assert "limit" not in own.pace()
    assert "turn_at" not in own.pace()


def test_learned_limit_counts_instead_of_the_usual_one(own: OwnIntegration) -> None:
    learned(own)
    own.fill(1000)
    for _ in range(100):
        own.later(1)
        own.take(5)
    assert float(own.pace()["limit"]) > 0
    assert "permitted" not in own.pace()


def test_set_rate_limit_is_not_slowed_near_the_usual_limit(own: OwnIntegration) -> None:
    own.fill(2000)
    rules = rules_with(rate_limit=60_000)
    own.take(rules=rules)
    own.later(10)
    assert len(own.take(1500, rules=rules).messages) == 1500


# Against limiters


RULES = rules_with(base=4)
PLAIN: dict[str, tuple[Callable[[], Limiter], float, bool]] = {
    "a bucket of 300 a minute": (lambda: token_bucket(300, burst=10), 300, True),
    "a bucket that lets 100 burst": (lambda: token_bucket(300, burst=100), 300, False),
    "300 in each minute": (lambda: fixed_window(300), 300, False),
    "300 in each minute, with hints": (lambda: fixed_window(300), 300, True),
    "20 in each second": (lambda: fixed_window(20, 1.0), 1200, False),
    "100 in each 20 seconds": (lambda: fixed_window(100, 20.0), 300, False),
}


@pytest.mark.parametrize("limiter", PLAIN)
def test_limit_of_mailgun_is_used_and_seldom_met_within_two_minutes(
    own: OwnIntegration, limiter: str
) -> None:
    made, a_minute, hints = PLAIN[limiter]
    found = against(made(), own, RULES, minutes=5, hints=hints)
    assert found.let_through(2, 4) >= 0.8 * a_minute
    assert found.refused_share(2, 4) < 0.02


@pytest.mark.parametrize("slots", [4, 16, 64])
def test_usual_limit_is_met_by_few_requests_and_then_used(own: OwnIntegration, slots: int) -> None:
    found = against(fixed_window(300, offset=0), own, RULES, minutes=5, slots=slots)
    assert found.let_through(0, 4) >= 0.85 * 300
    assert found.refused_share(0, 0) < 0.08
    assert found.refused_share(0, 4) < 0.03


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_limit_that_changes_is_used_again(own: OwnIntegration, factor: float) -> None:
    made = changing(180, fixed_window(300), fixed_window(int(300 * factor)))
    found = against(made, own, RULES, minutes=8)
    assert found.let_through(3, 7) >= 0.8 * 300 * factor
    assert found.refused_share(3, 7) < 0.05


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_limit_of_a_window_that_begins_with_a_request_is_used_fully(
    own: OwnIntegration, factor: float
) -> None:
    made = changing(180, starting_window(300), starting_window(int(300 * factor)))
    found = against(made, own, RULES, minutes=6)
    assert found.let_through(0, 2) >= 0.95 * 300
    assert found.refused_share(0, 2) < 0.01
    assert found.let_through(3, 5) >= 0.95 * 300 * factor
    assert found.refused_share(3, 5) < 0.02


@pytest.mark.parametrize("second", [0, 15, 45])
def test_doubled_limit_is_used_from_the_next_window_on(own: OwnIntegration, second: int) -> None:
    made = changing(120 + second, starting_window(300), starting_window(600))
    found = against(made, own, RULES, minutes=6)
    possible = (300 * second + 600 * (240 - second)) / 240
    assert found.let_through(2, 5) >= 0.92 * possible
    assert found.refused_share(2, 5) < 0.01


@pytest.mark.parametrize("second", [0, 30])
def test_halved_limit_is_noticed_by_few_refusals(own: OwnIntegration, second: int) -> None:
    made = changing(120 + second, starting_window(300), starting_window(150))
    found = against(made, own, RULES, minutes=6)
    assert found.refused_share(2, 5) < 0.03


def test_shorter_windows_are_not_taken_for_minutes(own: OwnIntegration) -> None:
    found = against(starting_window(100, 20.0), own, RULES, minutes=6)
    assert found.let_through(2, 5) >= 0.85 * 300
    assert found.refused_share(2, 5) < 0.02


OTHERWISE: dict[str, Callable[[], Limiter]] = {
    "a bucket": lambda: changing(120, starting_window(300), token_bucket(300, burst=10)),
    "5 in each second": lambda: changing(120, starting_window(300), fixed_window(5, 1.0)),
    "a counter that slides": lambda: sliding_counter(300),
}


@pytest.mark.parametrize("limiter", OTHERWISE)
def test_limit_that_only_looked_like_a_window_is_met_seldom(
    own: OwnIntegration, limiter: str
) -> None:
    found = against(OTHERWISE[limiter](), own, RULES, minutes=6)
    assert found.let_through(3, 5) >= 0.7 * 300
    assert found.refused_share(4, 5) < 0.02


def test_worker_that_started_among_429s_sends_again_once_they_are_over(own: OwnIntegration) -> None:
    rules = rules_with(base=1, max_delay=1, event_cost=2)
    found = against(outage(50), own, rules, minutes=5)
    assert found.passed[4] > 100


def test_limit_is_used_although_some_are_refused_at_random(own: OwnIntegration) -> None:
    window, random = fixed_window(300), at_random(0.05)
    found = against(lambda now: random(now) or window(now), own, RULES, minutes=12)
    assert found.let_through(4, 11) >= 0.85 * 300


@pytest.mark.parametrize("share", [0.02, 0.05])
def test_random_refusals_slow_nothing_down(own: OwnIntegration, share: float) -> None:
    found = against(at_random(share), own, RULES, minutes=4, demand=20)
    assert found.let_through(2, 3) >= 0.8 * 20 * 60 * (1 - share)


@pytest.mark.parametrize(("then", "at_least"), [(150, 0.8 * 150), (600, 0.8 * 600)])
def test_a_limit_that_changes_is_learned_anew_within_two_minutes(
    own: OwnIntegration, then: float, at_least: float
) -> None:
    limiter: Limiter = changing(180, token_bucket(300, burst=10), token_bucket(then, burst=10))
    found = against(limiter, own, RULES, minutes=7)
    assert found.let_through(5, 6) >= at_least
    assert found.refused_share(5, 6) < 0.02
