"""A sync of the whole list: step by step, interrupted and gone on with, begun anew, and what a complete one is worth."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count, islice

import pytest

from tests.adapters import HoldsAList, answered, asking
from tests.integrations import OwnIntegration
from worker.cli.console import CommandError
from worker.cli.sync import TRIES, _each, _progress_display
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.mailgun.page import ALL_MEMBERS
from worker.members.entry import look_up
from worker.members.opt_outs import OptOutScanner, opt_out_status
from worker.members.page_import import PageImporter, RetryAfter
from worker.members.sync import ListSync, SyncReplaced
from worker.members.sync_progress import SyncProgress
from worker.settings import Settings

REFRESH = 1000.0


def sync_of(own: OwnIntegration, there: HoldsAList) -> ListSync:
    """A process that syncs; a second passes with each look at its clock."""
    page_importer = PageImporter(
        asking(there.far),
        own.ledger(own.gate()),
        lambda: datetime.now(UTC),
        lambda _kind, _why: None,
    )
    seconds = count()
    return ListSync(
        page_importer, OptOutScanner(page_importer, REFRESH, 500), monotonic=lambda: next(seconds)
    )


def steps(sync: ListSync, so_far: SyncProgress, most: int = 100) -> list[SyncProgress]:
    """The pages that it reads, `most` of them at most."""
    return [step for step in islice(sync.steps(so_far), most) if isinstance(step, SyncProgress)]


def copies(own: OwnIntegration, there: HoldsAList) -> dict[str, bool]:
    """Of each member, what the ledger's copy says."""
    found = {name: look_up(own.ledger(), name) for name in there.members}
    return {
        name: entry.copy.member.subscribed for name, entry in found.items() if entry and entry.copy
    }


def stored(own: OwnIntegration) -> bool:
    return bool(own.redis.exists(f"signal:{own.name}:sync"))


def test_sync_reads_every_member_into_the_ledger(own: OwnIntegration) -> None:
    there = HoldsAList(3, subscribed=4)
    sync = sync_of(own, there)
    *_, done = steps(sync, sync.begin(anew=False))
    assert copies(own, there) == there.members
    assert replace(done, began="") == SyncProgress(
        "", None, members=7, unsubscribed=3, requests=5, seconds=5, covers=True
    )
    assert not stored(own)


def test_complete_sync_counts_as_an_opt_out_scan_from_its_start(
    own: OwnIntegration,
) -> None:
    sync = sync_of(own, HoldsAList(3, subscribed=4))
    before = own.now()
    begun = sync.begin(anew=False)
    own.redis.hincrbyfloat(f"signal:{own.name}:sync", "began", -100)
    steps(sync, replace(begun, began=str(own.redis.hget(f"signal:{own.name}:sync", "began"))))
    found = opt_out_status(own.redis, own.name, REFRESH)
    assert (found.members, found.trusted) == (3, True)
    assert found.age == pytest.approx(100 + own.now() - before, abs=20)


def test_interrupted_sync_continues_after_its_last_page_with_its_counts(
    own: OwnIntegration,
) -> None:
    there = HoldsAList(3, subscribed=4)
    first = sync_of(own, there)
    begun = first.begin(anew=False)
    assert [step.members for step in steps(first, begun, most=2)] == [2, 4]
    again = sync_of(own, there)
    so_far = again.begin(anew=False)
    assert (so_far.began, so_far.members, so_far.unsubscribed, so_far.requests) == (
        begun.began,
        4,
        3,
        2,
    )
    assert so_far.seconds == 2
    *_, done = steps(again, so_far)
    assert (done.members, done.unsubscribed, done.requests, done.seconds) == (7, 3, 5, 5)
    assert len(there.far.requests) == 5
    assert copies(own, there) == there.members


def test_incomplete_sync_makes_nothing_trusted(own: OwnIntegration) -> None:
    sync = sync_of(own, HoldsAList(3, subscribed=4))
    steps(sync, sync.begin(anew=False), most=4)
    assert not opt_out_status(own.redis, own.name, REFRESH).trusted


def test_sync_begun_anew_starts_from_the_first_page(own: OwnIntegration) -> None:
    sync = sync_of(own, HoldsAList(3, subscribed=4))
    begun = sync.begin(anew=False)
    steps(sync, begun, most=2)
    anew = sync.begin(anew=True)
    assert anew.began > begun.began
    assert replace(anew, began="") == SyncProgress("", ALL_MEMBERS)


def test_replaced_sync_stops_and_leaves_the_new_position_alone(
    own: OwnIntegration,
) -> None:
    there = HoldsAList(3, subscribed=4)
    one, other = sync_of(own, there), sync_of(own, there)
    replaced = one.begin(anew=False)
    begun = other.begin(anew=True)
    with pytest.raises(SyncReplaced):
        steps(one, replaced)
    assert other.begin(anew=False) == begun


def test_replaced_sync_that_ends_leaves_the_new_position_alone(
    own: OwnIntegration,
) -> None:
    one, other = sync_of(own, HoldsAList(0)), sync_of(own, HoldsAList(0))
    replaced = one.begin(anew=False)
    begun = other.begin(anew=True)
    assert steps(one, replaced)[-1].query is None
    assert other.begin(anew=False) == begun


def test_failed_page_of_a_sync_is_a_step_that_is_counted_and_repeated(
    own: OwnIntegration,
) -> None:
    there = HoldsAList(3)
    there.instead[1] = lambda: answered(503)
    sync = sync_of(own, there)
    found = list(sync.steps(sync.begin(anew=False)))
    outcome = found[1]
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.UNAVAILABLE
    assert [type(step) for step in found] == [SyncProgress, Outcome, SyncProgress, SyncProgress]
    done = found[-1]
    assert isinstance(done, SyncProgress)
    assert (done.members, done.requests) == (3, 4)


def test_sync_survives_single_failed_pages_and_ends_after_six_in_a_row(
    own: OwnIntegration,
) -> None:
    there = HoldsAList(3)
    there.instead = dict.fromkeys((0, 1, 2, 3, 4, 6, 7, 8, 9, 10), lambda: answered(503))
    sync, settings = sync_of(own, there), Settings(_env_file=None, retry_base_seconds=1e-6)
    with _progress_display() as shown:
        pages = list(_each(settings, sync, sync.begin(anew=False), shown))
        assert pages[-1].members == 3
        there.instead = dict.fromkeys(range(100), lambda: answered(503))
        own.redis.delete(*own.gate().keys)
        with pytest.raises(CommandError, match="503"):
            list(_each(settings, sync, sync.begin(anew=True), shown))
    assert len(there.far.requests) == 3 + 10 + TRIES


def test_sync_on_hold_yields_its_wait_and_sends_no_request(own: OwnIntegration) -> None:
    there = HoldsAList(3)
    sync = sync_of(own, there)
    own.gate().pause()
    found = list(islice(sync.steps(sync.begin(anew=False)), 3))
    assert all(isinstance(step, RetryAfter) for step in found)
    own.gate().resume()
    assert there.far.requests == []


def test_position_of_a_stopped_sync_is_kept_for_a_day(own: OwnIntegration) -> None:
    sync = sync_of(own, HoldsAList(3))
    begun = sync.begin(anew=False)
    for act in (lambda: None, lambda: steps(sync, begun, most=1)):
        act()
        assert 86_400 - 60 < own.redis.ttl(f"signal:{own.name}:sync") <= 86_400
        own.redis.expire(f"signal:{own.name}:sync", 1000)
