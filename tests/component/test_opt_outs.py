"""Reading those who unsubscribed, again and again: whose turn it is, where it goes on, and when it may be trusted."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import urllib3
from rich.text import Text

from tests.adapters import HoldsAList, answered, asking, timed_out
from tests.integrations import OwnIntegration, hold_for_incident, hold_for_unavailability
from tests.integrations import answered as reported
from worker.cli.status_lines import rows
from worker.delivery.worker_registry import WorkerEntry
from worker.gate.config import LONGEST_UNAVAILABLE_SECONDS
from worker.gate.holds import HoldState
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.entry import look_up
from worker.members.opt_outs import OptOutScanner, OptOutStatus, ScanLease, opt_out_status
from worker.members.page_import import PageImporter
from worker.monitoring.hold_log import log_opt_outs
from worker.monitoring.integration_gauges import gauge_families, read_gauges
from worker.monitoring.status import Status
from worker.settings import Settings

REFRESH = 1000.0
LEASE = 500.0
# The fields that a complete scan leaves.
SCANNED = {"list", "moved_at", "since", "fresh_from", "ended", "members", "seconds"}


def opt_outs(
    own: OwnIntegration, there: HoldsAList, sleep: Callable[[float], None] | None = None
) -> OptOutScanner:
    """A worker's part in it."""
    page_importer = PageImporter(
        asking(there.far),
        own.ledger(own.gate()),
        lambda: datetime.now(UTC),
        lambda _kind, _why: None,
    )
    return OptOutScanner(page_importer, REFRESH, LEASE, sleep or own.later)


def started_lease(reading: OptOutScanner) -> ScanLease:
    lease = reading.try_start()
    assert lease
    return lease


def stored(own: OwnIntegration) -> dict[str, str]:
    return cast("dict[str, str]", own.redis.hgetall(f"signal:{own.name}:opt_outs"))


def subscribed(own: OwnIntegration) -> dict[str, bool]:
    """Of each member of a list of six, what the ledger's copy says."""
    names = [f"no{each:03}@example.com" for each in range(6)]
    found = {name: look_up(own.ledger(), name) for name in names}
    return {
        name: entry.copy.member.subscribed for name, entry in found.items() if entry and entry.copy
    }


def last_scan(own: OwnIntegration) -> OptOutStatus:
    return opt_out_status(own.redis, own.name, REFRESH)


# --- one reading


def test_scan_stores_all_unsubscribed_members_and_no_others(
    own: OwnIntegration,
) -> None:
    there = HoldsAList(5, subscribed=3)
    reading = opt_outs(own, there)
    before = own.now()
    took = reading.run(started_lease(reading))
    assert isinstance(took, float)
    assert 0 < took < 60
    assert subscribed(own) == dict.fromkeys(
        [f"no{each:03}@example.com" for each in range(5)], False
    )
    assert len(list(own.redis.scan_iter(f"signal:{own.name}:member:*"))) == 5
    assert len(there.far.requests) == 4
    found = stored(own)
    assert found.keys() == SCANNED
    assert before <= float(found["fresh_from"]) <= float(found["ended"]) <= own.now()
    assert found["members"] == "5"


def test_fresh_from_is_the_start_of_the_scan_and_before_every_copy(
    own: OwnIntegration,
) -> None:
    reading = opt_outs(own, HoldsAList(3))
    reading.run(started_lease(reading))
    fresh_from = float(stored(own)["fresh_from"])
    copies = [look_up(own.ledger(), f"no{each:03}@example.com") for each in range(3)]
    assert all(each and each.copy and float(each.copy.at) >= fresh_from for each in copies)


def test_scan_without_unsubscribed_members_needs_one_request(own: OwnIntegration) -> None:
    there = HoldsAList(0, subscribed=5)
    reading = opt_outs(own, there)
    reading.run(started_lease(reading))
    assert len(there.far.requests) == 1
    assert last_scan(own).members == 0
    assert last_scan(own).trusted


def test_changes_of_subscription_during_the_scan_do_not_disturb_it(
    own: OwnIntegration,
) -> None:
    there = HoldsAList(6)
    reading = opt_outs(own, there)

    def meanwhile() -> urllib3.HTTPResponse:
        there.members |= {
            "aaa@example.com": False,
            "no000@example.com": True,
            "zzz@example.com": False,
        }
        del there.instead[1]
        return there.answer(there.far.requests[-1])

    there.instead[1] = meanwhile
    reading.run(started_lease(reading))
    assert {*subscribed(own)} == {f"no{each:03}@example.com" for each in range(6)}
    found = look_up(own.ledger(), "zzz@example.com")
    assert found
    assert found.copy
    assert not found.copy.member.subscribed


# --- turns


def test_scan_lease_belongs_to_one_worker_at_a_time(own: OwnIntegration) -> None:
    one, other = (opt_outs(own, HoldsAList(5)) for _ in range(2))
    assert one.try_start()
    assert other.try_start() is None
    assert one.try_start() is None


def test_next_scan_is_due_one_refresh_after_the_start_of_the_last(own: OwnIntegration) -> None:
    reading = opt_outs(own, HoldsAList(1))
    lease = started_lease(reading)
    own.later(400)
    reading.run(lease)
    own.later(REFRESH - 450)
    assert reading.try_start() is None
    own.later(50)
    assert reading.try_start()


def test_scan_longer_than_a_refresh_is_followed_at_once_by_the_next(own: OwnIntegration) -> None:
    reading = opt_outs(own, HoldsAList(1))
    lease = started_lease(reading)
    own.later(REFRESH * 1.5)
    assert reading.run(lease) == pytest.approx(REFRESH * 1.5, abs=60)
    assert last_scan(own).took == pytest.approx(REFRESH * 1.5, abs=60)
    assert reading.try_start()


def test_scan_of_a_killed_worker_continues_when_its_lease_has_ended(
    own: OwnIntegration,
) -> None:
    class Killed(BaseException):
        pass

    def killed() -> urllib3.HTTPResponse:
        raise Killed

    there = HoldsAList(6)
    there.instead[2] = killed
    one, other = opt_outs(own, there), opt_outs(own, there)
    with pytest.raises(Killed):
        one.run(started_lease(one))
    own.later(LEASE - 50)
    assert other.try_start() is None
    own.later(50)
    lease = started_lease(other)
    assert (lease.query["address"], lease.so_far) == ("no003@example.com", 4)
    other.run(lease)
    assert len(there.far.requests) == 3 + 2
    assert last_scan(own).members == 6
    assert last_scan(own).age == pytest.approx(LEASE, abs=60)


def test_scan_lease_is_renewed_with_each_page(own: OwnIntegration) -> None:
    there = HoldsAList(6)
    one, other = opt_outs(own, there), opt_outs(own, there)
    turns: list[ScanLease | None] = []

    def slow() -> urllib3.HTTPResponse:
        own.later(LEASE * 0.6)
        turns.append(other.try_start())
        del there.instead[len(there.far.requests) - 1]
        return there.answer(there.far.requests[-1])

    there.instead |= dict.fromkeys(range(3), slow)
    one.run(started_lease(one))
    assert turns == [None] * 3


def test_scan_that_lost_its_lease_stops_after_one_page_and_changes_nothing(
    own: OwnIntegration,
) -> None:
    there = HoldsAList(6)
    one, other = opt_outs(own, there), opt_outs(own, there)
    lease = started_lease(one)
    own.later(LEASE)
    started_lease(other)
    before = stored(own)
    assert one.run(lease) is None
    assert len(there.far.requests) == 1
    assert stored(own) == before


def test_scan_that_lost_its_lease_does_not_end_the_new_owners_scan(
    own: OwnIntegration,
) -> None:
    there = HoldsAList(0)
    one, other = opt_outs(own, there), opt_outs(own, there)
    lease = started_lease(one)
    own.later(LEASE)
    started_lease(other)
    before = stored(own)
    assert one.run(lease) is None
    there.instead[1] = lambda: answered(500)
    assert isinstance(one.run(lease), Outcome)
    assert stored(own) == before


# --- holds, pace, failures


HOLDS: dict[str, Any] = {
    "throttled": lambda gate: reported(gate, OutcomeKind.THROTTLED, hint=300),
    "unavailable": hold_for_unavailability,
    "incident": hold_for_incident,
    "paused": lambda gate: gate.pause(),
}


@pytest.mark.parametrize("hold", HOLDS)
def test_scan_does_not_start_while_on_hold(own: OwnIntegration, hold: str) -> None:
    HOLDS[hold](own.gate())
    reading = opt_outs(own, HoldsAList(1))
    assert reading.try_start() is None
    own.redis.delete(*own.gate().keys)
    assert reading.try_start()


def test_scan_stops_when_a_hold_begins_and_any_worker_continues_it_later(
    own: OwnIntegration,
) -> None:
    there = HoldsAList(6)
    one, other = opt_outs(own, there), opt_outs(own, there)

    def throttled() -> urllib3.HTTPResponse:
        return answered(429, b"", {"Retry-After": "300"})

    there.instead[2] = throttled
    outcome = one.run(started_lease(one))
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.THROTTLED
    assert other.try_start() is None
    own.later(310)
    lease = started_lease(other)
    assert lease.query["address"] == "no003@example.com"
    assert other.run(lease) == pytest.approx(310, abs=60)
    assert last_scan(own).members == 6


def test_scan_sleeps_through_a_short_wait_for_the_rate_limit(own: OwnIntegration) -> None:
    there, slept = HoldsAList(6), list[float]()
    own.redis.hset(own.gate().keys[1], mapping={"limit": 4, "limit_at": own.now()})

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        own.later(seconds)

    reading = opt_outs(own, there, sleep)
    assert isinstance(reading.run(started_lease(reading)), float)
    assert len(slept) >= 3
    assert all(0 < each <= 1 for each in slept)


def test_scan_gives_up_its_lease_for_a_long_wait_for_the_rate_limit(own: OwnIntegration) -> None:
    there = HoldsAList(6)
    own.redis.hset(own.gate().keys[1], mapping={"limit": 0.2, "limit_at": own.now()})
    one, other = opt_outs(own, there), opt_outs(own, there)
    assert one.run(started_lease(one)) is None
    assert len(there.far.requests) == 1
    assert other.try_start() is None
    own.later(10)
    assert started_lease(other).query["address"] == "no001@example.com"


@pytest.mark.parametrize("status", [None, 200, 401, 404, 503])
def test_failed_page_keeps_the_last_scan_fresh_and_is_retried_ever_later(
    own: OwnIntegration, status: int | None
) -> None:
    reading = opt_outs(own, HoldsAList(3))
    reading.run(started_lease(reading))
    fresh = last_scan(own)
    own.later(REFRESH)
    there = HoldsAList(3)
    failing: Callable[[], urllib3.HTTPResponse] = (
        timed_out if status is None else lambda: answered(status)
    )
    there.instead |= {1: failing, 2: failing}
    reading = opt_outs(own, there)
    assert isinstance(reading.run(started_lease(reading)), Outcome)
    assert reading.try_start() is None
    own.later(LONGEST_UNAVAILABLE_SECONDS)
    assert isinstance(reading.run(started_lease(reading)), Outcome)
    assert stored(own)["failures"] == "2"
    assert fresh.age is not None
    assert last_scan(own).age == pytest.approx(
        fresh.age + REFRESH + LONGEST_UNAVAILABLE_SECONDS, abs=60
    )
    own.later(LONGEST_UNAVAILABLE_SECONDS)
    lease = started_lease(reading)
    assert lease.query["address"] == "no001@example.com"
    assert isinstance(reading.run(lease), float)
    assert stored(own).keys() == SCANNED


def test_wait_after_a_failed_scan_grows_with_each_failure(own: OwnIntegration) -> None:
    there = HoldsAList(3)
    there.instead = dict.fromkeys(range(9), lambda: answered(503))
    waits = []
    for _ in range(6):
        reading = opt_outs(own, there)
        reading = replace(
            reading,
            page_importer=replace(reading.page_importer, ledger=own.ledger(own.gate(base=4))),
        )
        reading.run(started_lease(reading))
        waits.append(float(stored(own)["resume_at"]) - own.now())
        own.later(LONGEST_UNAVAILABLE_SECONDS)
    assert [round(each) for each in waits] == [4, 8, 16, 32, 60, 60]


def test_a_page_that_was_read_ends_the_run_of_failures(own: OwnIntegration) -> None:
    there = HoldsAList(6)
    there.instead |= dict.fromkeys((0, 2), lambda: answered(503))
    reading = opt_outs(own, there)
    for _ in range(2):
        reading.run(started_lease(reading))
        assert stored(own)["failures"] == "1"
        own.later(LONGEST_UNAVAILABLE_SECONDS)


def test_scan_that_began_too_long_ago_begins_anew(own: OwnIntegration) -> None:
    there = HoldsAList(6)
    there.instead[2] = lambda: answered(503)
    reading = opt_outs(own, there)
    reading.run(started_lease(reading))
    own.later(2 * REFRESH - 60)
    assert started_lease(reading).so_far == 4
    own.later(LEASE)
    lease = started_lease(reading)
    assert (lease.so_far, "address" in lease.query) == (0, False)
    assert float(stored(own)["began"]) == pytest.approx(own.now(), abs=60)


# --- what is trusted


def test_scan_is_trusted_for_two_refreshes_from_its_start(own: OwnIntegration) -> None:
    reading = opt_outs(own, HoldsAList(1))
    reading.run(started_lease(reading))
    assert last_scan(own).trusted
    own.later(2 * REFRESH - 100)
    assert last_scan(own).trusted
    own.later(100)
    assert not last_scan(own).trusted


def test_age_of_opt_outs_before_the_first_scan_counts_from_its_due_time(
    own: OwnIntegration,
) -> None:
    assert last_scan(own) == OptOutStatus(None, None, None, trusted=False)
    HOLDS["paused"](own.gate())
    assert opt_outs(own, HoldsAList(1)).try_start() is None
    own.later(100)
    opt_outs(own, HoldsAList(1)).try_start()
    found = last_scan(own)
    assert found.age == pytest.approx(100, abs=40)
    assert (found.members, found.took, found.trusted) == (None, None, False)


def test_complete_sync_counts_as_an_opt_out_scan(own: OwnIntegration) -> None:
    reading = opt_outs(own, HoldsAList(1))
    reading.complete(own.now() - 100, 7)
    found = last_scan(own)
    assert found.age == pytest.approx(100, abs=40)
    assert found.took == pytest.approx(100, abs=40)
    assert found.members == 7
    assert reading.try_start() is None
    own.later(REFRESH - 100)
    assert reading.try_start()


def test_older_scan_never_replaces_a_newer_one(own: OwnIntegration) -> None:
    reading = opt_outs(own, HoldsAList(1))
    lease = started_lease(reading)
    began = own.now()
    reading.complete(began, 7)
    reading.complete(began - 100, 9)
    assert isinstance(reading.run(lease), float)
    assert stored(own)["members"] == "7"
    assert float(stored(own)["fresh_from"]) == pytest.approx(began, abs=1e-5)
    assert "token" not in stored(own)


def test_complete_sync_does_not_take_the_lease_from_a_running_scan(
    own: OwnIntegration,
) -> None:
    reading = opt_outs(own, HoldsAList(1))
    lease = started_lease(reading)
    reading.complete(own.now(), 7)
    assert stored(own)["token"] == lease.token


# --- a clock that was set back


def test_times_in_the_future_neither_count_as_fresh_nor_stop_scans(
    own: OwnIntegration,
) -> None:
    reading = opt_outs(own, HoldsAList(1))
    reading.run(started_lease(reading))
    reading.try_start()
    own.later(-1e6)
    assert not last_scan(own).trusted
    reading.run(started_lease(reading))
    assert last_scan(own).trusted
    assert last_scan(own).age == pytest.approx(0, abs=60)
    assert float(stored(own)["moved_at"]) <= own.now()


def test_lease_and_failure_far_in_the_future_count_as_ended(own: OwnIntegration) -> None:
    there = HoldsAList(1)
    there.instead[0] = lambda: answered(503)
    reading = opt_outs(own, there)
    started_lease(reading)
    own.later(-1e6)
    reading.run(started_lease(reading))
    own.later(-1e6)
    assert reading.try_start()


def test_scan_state_expires_a_day_after_the_last_scan(own: OwnIntegration) -> None:
    reading, key = opt_outs(own, HoldsAList(1)), f"signal:{own.name}:opt_outs"
    lives = range(86_400 - 60, 86_401)
    own.gate().pause()
    assert reading.try_start() is None
    assert own.redis.ttl(key) in lives
    own.gate().resume()
    own.redis.delete(*own.gate().keys)
    own.redis.expire(key, 1000)
    lease = started_lease(reading)
    assert own.redis.ttl(key) in lives
    own.redis.expire(key, 1000)
    reading.run(lease)
    assert own.redis.ttl(key) in lives
    assert reading.try_start() is None


# --- what operators are told


@pytest.mark.parametrize(
    ("ended", "level"),
    [
        (None, None),
        (REFRESH, None),
        (REFRESH + 1, "WARNING"),
        (Outcome(OutcomeKind.UNAVAILABLE, 503), "INFO"),
        (Outcome(OutcomeKind.THROTTLED, 429), "INFO"),
        (Outcome(OutcomeKind.UNAUTHORIZED, 401, "Forbidden"), "WARNING"),
    ],
)
def test_failed_or_slow_scan_is_logged_in_one_line(
    ended: Outcome | float | None, level: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    log_opt_outs(ended, REFRESH)
    assert [each.levelname for each in caplog.records] == ([level] if level else [])


def test_slow_scan_is_logged_with_the_setting_to_change(caplog: pytest.LogCaptureFixture) -> None:
    log_opt_outs(1200.0, REFRESH)
    [record] = caplog.records
    assert record.__dict__["fix"] == "MAILGUN_OPT_OUT_REFRESH_SECONDS=1800"


def screen(read: OptOutStatus | None) -> dict[str, Text]:
    """The lines of `status`."""
    hold = HoldState(None, "", None, None, None)
    status = Status(
        "default", 0.0, 0, None, 0, 0, None, hold, {}, {}, [WorkerEntry("worker")], read
    )
    return {name: text if isinstance(text, Text) else Text(text) for name, text in rows(status)}


def test_status_shows_age_number_and_duration_of_the_last_scan() -> None:
    assert (
        screen(OptOutStatus(75.0, 1234, 2.34, trusted=True))["opt-outs"].plain
        == "1234, read 1 min ago in 2.3 s"
    )


def test_status_is_red_when_the_last_scan_is_too_old_or_missing() -> None:
    old = screen(OptOutStatus(7200.0, 1234, 2.34, trusted=False))["opt-outs"]
    assert (old.plain, old.style) == (
        "1234, read 2 h 0 min ago in 2.3 s: members are read one by one",
        "red",
    )
    for never in (
        OptOutStatus(None, None, None, trusted=False),
        OptOutStatus(50.0, None, None, trusted=False),
    ):
        assert str(screen(never)["opt-outs"]) == "not read yet: members are read one by one"


def test_status_omits_opt_outs_when_the_ledger_is_not_trusted() -> None:
    assert "opt-outs" not in screen(None)


@pytest.mark.parametrize("state", ["read", "ledger"])
def test_metrics_export_the_age_of_opt_outs_when_the_ledger_is_trusted(
    own: OwnIntegration, state: str
) -> None:
    settings = Settings(_env_file=None, signal_integration=own.name, mailgun_member_state=state)
    assert read_gauges(settings, own.redis).opt_outs_age is None
    reading = opt_outs(own, HoldsAList(1))
    reading.run(started_lease(reading))
    own.later(100)
    age = read_gauges(settings, own.redis).opt_outs_age
    assert age == (pytest.approx(100, abs=40) if state == "ledger" else None)
    told = {
        metric.name: metric.samples
        for metric in gauge_families(own.name, read_gauges(settings, own.redis))
    }
    assert [each.value for each in told["signal_mailgun_opt_outs_age_seconds"]] == (
        [pytest.approx(100, abs=40)] if state == "ledger" else []
    )
