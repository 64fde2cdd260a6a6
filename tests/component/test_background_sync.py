"""The background sync: workers read the whole list by themselves, one at a time, and go on where one stopped."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import pytest

from tests.adapters import HoldsAList, answered, asking
from tests.integrations import OwnIntegration
from worker.cli.status_lines import rows
from worker.gate.holds import HoldState
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.background_sync import BackgroundSync
from worker.members.entry import forget, look_up
from worker.members.opt_outs import OptOutScanner
from worker.members.page_import import PageImporter
from worker.members.sync import ListSync, SyncReplaced
from worker.members.sync_progress import SyncProgress, sync_status
from worker.monitoring.hold_log import log_sync
from worker.monitoring.status import Status

REFRESH = 1000.0
LEASE = 500.0
DAYS = 30
DAY = 86_400.0


def worker(
    own: OwnIntegration, there: HoldsAList, slept: list[float] | None = None
) -> BackgroundSync:
    """A worker process that syncs."""
    importer = PageImporter(
        asking(there.far), own.ledger(own.gate()), lambda: datetime.now(UTC), lambda _k, _w: None
    )
    sync = ListSync(importer, OptOutScanner(importer, REFRESH, LEASE))
    return BackgroundSync(sync, sleep=(slept if slept is not None else []).append)


def known(own: OwnIntegration, there: HoldsAList) -> int:
    """How many members of the list the ledger knows."""
    return sum(look_up(own.ledger(), each) is not None for each in there.members)


def pages(there: HoldsAList) -> int:
    return sum("/pages" in each.url for each in there.far.requests)


def test_first_sync_is_due_at_once_and_reads_all(own: OwnIntegration) -> None:
    there = HoldsAList(3, subscribed=4)
    one = worker(own, there)
    turn = one.try_start()
    assert turn
    done = one.run(turn)
    assert isinstance(done, SyncProgress)
    assert (done.members, done.unsubscribed, done.query) == (7, 3, None)
    assert known(own, there) == 7
    assert one.try_start() is None
    assert float(str(own.redis.get(f"signal:{own.name}:synced"))) == float(done.began)


def test_one_worker_at_a_time_syncs(own: OwnIntegration) -> None:
    there = HoldsAList(3)
    one, other = worker(own, there), worker(own, there)
    assert one.try_start()
    assert one.try_start() is None
    assert other.try_start() is None


def test_another_worker_goes_on_once_the_lease_of_the_first_has_ended(own: OwnIntegration) -> None:
    there = HoldsAList(3, subscribed=4)
    one, other = worker(own, there), worker(own, there)
    turn = one.try_start()
    assert turn
    steps = turn.sync.steps(turn.so_far)
    list(islice(steps, 2))
    own.later(LEASE + 1)
    next_turn = other.try_start()
    assert next_turn
    assert next_turn.so_far.members == 4
    with pytest.raises(SyncReplaced):
        next(steps)
    before = pages(there)
    done = other.run(next_turn)
    assert isinstance(done, SyncProgress)
    assert done.members == 7
    assert pages(there) - before == 3  # two of the five pages were read before
    assert known(own, there) == 7


def test_sync_by_hand_takes_the_place_of_a_workers(own: OwnIntegration) -> None:
    there = HoldsAList(3, subscribed=4)
    one = worker(own, there)
    turn = one.try_start()
    assert turn
    by_hand = worker(own, there).sync
    so_far = by_hand.begin(anew=False)
    assert one.run(turn) is None
    assert one.try_start() is None
    *_, done = by_hand.steps(so_far)
    assert isinstance(done, SyncProgress)
    assert done.members == 7


def test_wait_of_a_sync_by_hand_does_not_let_a_worker_take_it(own: OwnIntegration) -> None:
    there = HoldsAList(3)
    by_hand = worker(own, there).sync
    steps = by_hand.steps(by_hand.begin(anew=False))
    own.later(LEASE - 10)
    own.gate().pause()
    next(steps)
    own.gate().resume()
    own.later(20)
    assert worker(own, there).try_start() is None


def test_sync_is_due_again_at_half_of_what_the_ledger_remembers(own: OwnIntegration) -> None:
    there = HoldsAList(1)
    one = worker(own, there)
    turn = one.try_start()
    assert turn
    one.run(turn)
    own.later(DAYS * DAY / 2 - 60)
    assert one.try_start() is None
    own.later(120)
    assert one.try_start()


def test_sync_ends_the_doubt_of_a_clock_that_was_set_back(own: OwnIntegration) -> None:
    one = worker(own, HoldsAList(1))
    for _ in range(2):
        turn = one.try_start()
        assert turn
        one.run(turn)
        assert one.try_start() is None
        own.later(-DAY)


def test_failed_page_is_tried_again_later_from_where_it_was(own: OwnIntegration) -> None:
    there = HoldsAList(3, subscribed=4)
    there.instead[2] = lambda: answered(503)  # after the list itself and one page
    one = worker(own, there)
    turn = one.try_start()
    assert turn
    outcome = one.run(turn)
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.UNAVAILABLE
    assert one.try_start() is None
    own.later(1000)
    again = one.try_start()
    assert again
    assert again.so_far.members == 2


def test_wrong_empty_page_is_not_the_end_of_the_list(own: OwnIntegration) -> None:
    there = HoldsAList(3, subscribed=4)
    there.instead[0] = lambda: answered(200, b'{"list":{"members_count":7}}')
    there.instead[2] = lambda: answered(200, b'{"items":[],"paging":{}}')
    one = worker(own, there)
    turn = one.try_start()
    assert turn
    outcome = one.run(turn)
    assert isinstance(outcome, Outcome)
    assert outcome.summary.endswith("end long before the list's own count")
    assert own.redis.get(f"signal:{own.name}:synced") is None
    own.later(1000)
    again = one.try_start()
    assert again
    done = one.run(again)
    assert isinstance(done, SyncProgress)
    assert done.members == 7


def test_sync_takes_half_of_the_pace_and_waits_for_it(own: OwnIntegration) -> None:
    there = HoldsAList(8)
    slept: list[float] = []
    one = worker(own, there, slept)
    paced = under_a_pace(own, one)
    turn = paced.try_start()
    assert turn
    steps = list(islice(turn.sync.steps(turn.so_far), 2))
    waits = [each.seconds for each in steps if not isinstance(each, SyncProgress | Outcome)]
    assert waits
    assert 0.1 < waits[0] <= 0.2  # every other of ten requests a second


def under_a_pace(own: OwnIntegration, one: BackgroundSync) -> BackgroundSync:
    """The worker under ten requests a second, for whose first page there is no permit at once."""
    importer = replace(one.sync.page_importer, ledger=own.ledger(own.gate(rate_limit=600)))
    return replace(one, sync=replace(one.sync, page_importer=importer), sleep=time.sleep)


def test_wait_after_a_failed_page_grows_under_a_pace_too(own: OwnIntegration) -> None:
    there = HoldsAList(3)
    there.instead = dict.fromkeys(range(100), lambda: answered(503))
    one = under_a_pace(own, worker(own, there))
    for failures in range(1, 4):
        turn = one.try_start()
        assert turn
        assert isinstance(one.run(turn), Outcome)
        assert own.redis.hget(f"signal:{own.name}:sync", "failures") == str(failures)
        own.redis.delete(*own.gate().keys)
        own.later(1000)


def test_total_of_a_list_outlives_a_turn_that_cannot_ask_for_it(own: OwnIntegration) -> None:
    one = worker(own, HoldsAList(3, subscribed=4))
    turn = one.try_start()
    assert turn
    next(turn.sync.steps(turn.so_far, 7))
    turn.sync.leave(failed=False)
    again = one.try_start()
    assert again
    assert again.so_far.total == 7
    next(again.sync.steps(again.so_far, None))
    assert line(own) == "reading: 4 of 7 members; new contacts are read one by one"


def test_sync_that_must_wait_long_gives_its_lease_back(own: OwnIntegration) -> None:
    there = HoldsAList(3)
    one = worker(own, there)
    turn = one.try_start()
    assert turn
    own.gate().pause()
    assert one.run(turn) is None
    own.gate().resume()
    assert one.try_start()


def line(own: OwnIntegration, *, trusted: bool = True) -> str:
    """The line `sync` of `status`."""
    hold = HoldState(None, "", None, None, None)
    status = Status("default", 0.0, 0, None, 0, 0, None, hold, {}, {}, [], None)
    found = sync_status(own.redis, own.name, days=DAYS, trusted=trusted)
    return str(dict(rows(replace(status, sync=found)))["sync"])


def test_status_shows_the_progress_of_a_sync(own: OwnIntegration) -> None:
    there = HoldsAList(3, subscribed=4)
    assert line(own) == "not begun: new contacts are read one by one"
    one = worker(own, there)
    turn = one.try_start()
    assert turn
    steps = turn.sync.steps(turn.so_far, 7)
    next(steps)
    assert line(own) == "reading: 2 of 7 members; new contacts are read one by one"
    turn.sync.leave(failed=False)
    assert line(own) == "waiting: 2 of 7 members; new contacts are read one by one"
    again = one.try_start()
    assert again
    one.run(again)
    assert line(own).startswith("complete, begun ")
    assert line(own).endswith(" ago: new contacts are written unread")
    assert line(own, trusted=False).endswith(" ago: new contacts are read one by one")


def test_status_says_that_contacts_are_read_after_a_member_was_forgotten(
    own: OwnIntegration,
) -> None:
    one = worker(own, HoldsAList(1))
    turn = one.try_start()
    assert turn
    one.run(turn)
    forget(own.ledger(), "someone@example.com")
    assert line(own).endswith(" ago: new contacts are read one by one")


def test_sync_longer_than_the_ledger_remembers_covers_nothing(own: OwnIntegration) -> None:
    one = worker(own, HoldsAList(1))
    turn = one.try_start()
    assert turn
    began = str(float(turn.so_far.began) - DAYS * DAY)
    done = one.run(replace(turn, so_far=replace(turn.so_far, began=began)))
    assert isinstance(done, SyncProgress)
    assert (done.query, done.covers) == (None, False)
    assert own.redis.get(f"signal:{own.name}:synced") is None


def test_log_tells_of_a_complete_sync_and_of_a_failed_page(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    log_sync(SyncProgress("1", None, members=7, unsubscribed=3, requests=5, covers=True))
    log_sync(SyncProgress("1", None, members=7))
    log_sync(Outcome(OutcomeKind.UNAUTHORIZED, 401))
    log_sync(None)
    assert [(each.levelname, each.getMessage()[:35]) for each in caplog.records] == [
        ("INFO", "the whole list is in the ledger: ne"),
        ("WARNING", "the sync took longer than LEDGER_DA"),
        ("WARNING", "the list could not be synced: gone "),
    ]
