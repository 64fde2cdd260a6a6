"""Pages of members in the ledger: what a page says goes before what is older, and never over what a delivery has in hand."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import urllib3

from tests.adapters import Far, HoldsOneMember, answered, asking, timed_out
from tests.integrations import OwnIntegration, deliver_one, hold_for_unavailability
from worker.mailgun.member import Member
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.mailgun.page import ALL_MEMBERS, Page
from worker.members.entry import LedgerEntry, look_up
from worker.members.page_import import PageImporter, RetryAfter
from worker.members.record import EventOrder
from worker.signal.patch import Patch

ADDRESS = "jane@example.com"
JANE = Member(
    ADDRESS,
    "Jane",
    subscribed=True,
    vars={"plan": "free", "b": True, "c": None, "d": [], "e": {}, "f": 1.5},
)
OPTED_OUT = replace(JANE, subscribed=False)
PAGES_URL = "https://api.mailgun.net/v3/lists/newsletter@mg.example.com/members/pages"


def page_importer(
    own: OwnIntegration, far: Far | None = None, told: Any = lambda _kind, _why: None, **ledger: Any
) -> PageImporter:
    return PageImporter(
        asking(far or Far(lambda _: answered(503))),
        own.ledger(**ledger),
        lambda: datetime.now(UTC),
        told,
    )


def key_of(own: OwnIntegration) -> str:
    return own.ledger().keys_of(ADDRESS)[1]


def fields(own: OwnIntegration) -> dict[str, str]:
    return cast("dict[str, str]", own.redis.hgetall(key_of(own)))


def entry(own: OwnIntegration) -> LedgerEntry:
    found = look_up(own.ledger(), ADDRESS)
    assert found
    return found


def copy(own: OwnIntegration) -> Member | None:
    found = entry(own).copy
    return found.member if found else None


def copy_at(own: OwnIntegration) -> float:
    found = entry(own).copy
    assert found
    return float(found.at)


def confirmed(own: OwnIntegration, cached: Member, at: float = 1, **patch: Any) -> None:
    """A delivery found, or made, Mailgun hold that."""
    there = HoldsOneMember(
        {
            "address": ADDRESS,
            "name": cached.name,
            "subscribed": cached.subscribed,
            "vars": cached.vars,
        }
    )
    sets = Patch(
        ADDRESS, None, patch.pop("vars", {"plan": "free"}), patch.pop("consent", None), None
    )
    assert deliver_one(own.delivery(asking(there.far)), sets, at).kind in {
        OutcomeKind.UNCHANGED,
        OutcomeKind.DELIVERED,
    }


def lease_member(own: OwnIntegration) -> None:
    own.redis.set(own.ledger().keys_of(ADDRESS)[0], "token")


# --- what a page says


def test_member_new_to_the_ledger_is_cached_as_the_page_shows_it(own: OwnIntegration) -> None:
    at = own.now()
    page_importer(own).store_page((JANE,), at)
    assert copy(own) == JANE
    assert copy_at(own) == pytest.approx(at, abs=1e-5)
    assert fields(own).keys() == {"copy", "copy_at", "seen_at"}


def test_page_stores_a_member_as_a_delivery_does(own: OwnIntegration) -> None:
    confirmed(own, JANE)
    by_delivery = fields(own)["copy"]
    own.redis.delete(key_of(own))
    page_importer(own).store_page((JANE,), own.now())
    assert fields(own)["copy"] == by_delivery


@pytest.mark.parametrize("cached", [JANE, OPTED_OUT])
@pytest.mark.parametrize("page", [JANE, OPTED_OUT])
def test_page_replaces_an_older_copy(own: OwnIntegration, cached: Member, page: Member) -> None:
    confirmed(own, cached)
    page = replace(page, vars={"plan": "pro"})
    page_importer(own).store_page((page,), own.now())
    assert copy(own) == page


def test_newer_copy_with_the_same_subscription_stands(own: OwnIntegration) -> None:
    before = own.now()
    confirmed(own, JANE)
    stored = fields(own)
    page_importer(own).store_page((replace(JANE, name="Joan", vars={}),), before)
    assert fields(own) == stored


def test_opt_out_on_a_page_replaces_a_newer_copy_and_forces_a_recheck(
    own: OwnIntegration,
) -> None:
    before = own.now()
    confirmed(own, JANE)
    assert entry(own).look_at is None
    page_importer(own).store_page((OPTED_OUT,), before)
    found = entry(own)
    assert copy(own) == OPTED_OUT
    assert copy_at(own) == pytest.approx(before, abs=1e-5)
    assert found.record.no
    assert found.record.no.by is None
    assert found.look_at is not None


def test_newer_unsubscribed_copy_stands_against_a_subscribed_page(own: OwnIntegration) -> None:
    before = own.now()
    confirmed(own, OPTED_OUT)
    stored = fields(own)
    page_importer(own).store_page((JANE,), before)
    assert fields(own) == stored


@pytest.mark.parametrize(("lag", "kept"), [(600, OPTED_OUT), (0, JANE)])
def test_subscribed_page_replaces_an_older_opt_out_only_without_lag(
    own: OwnIntegration, lag: float, kept: Member
) -> None:
    confirmed(own, OPTED_OUT)
    page_importer(own, lag_seconds=lag).store_page((JANE,), own.now() + 1)
    assert copy(own) == kept


def test_unreadable_newer_copy_counts_as_unsubscribed(own: OwnIntegration) -> None:
    text = "[" * 2000 + "]" * 2000
    own.redis.hset(
        key_of(own), mapping={"copy": f'["Jane", true, {{"a": {text}}}]', "copy_at": own.now() + 10}
    )
    stored = fields(own)
    page_importer(own).store_page((OPTED_OUT,), own.now())
    assert fields(own)["copy"] == stored["copy"]


def test_record_lives_its_days_after_the_page(own: OwnIntegration) -> None:
    lives = range(30 * 86_400 - 60, 30 * 86_400 + 1)
    page_importer(own).store_page((JANE,), own.now())
    assert own.redis.ttl(key_of(own)) in lives
    own.redis.expire(key_of(own), 1000)
    page_importer(own).store_page((JANE,), own.now() - 100)
    assert own.redis.ttl(key_of(own)) in lives
    own.redis.delete(key_of(own))
    lease_member(own)
    page_importer(own).store_page((JANE,), own.now())
    assert own.redis.ttl(key_of(own)) in lives


def test_page_of_a_hundred_members_is_one_script_call(own: OwnIntegration) -> None:
    members = tuple(replace(JANE, address=f"p{number}@example.com") for number in range(100))
    counting = page_importer(own)
    counting.store_page(members, own.now())
    before = own.redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    counting.store_page(members, own.now())
    assert own.redis.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
    found = [look_up(own.ledger(), member.address) for member in members]
    assert [each.copy.member for each in found if each and each.copy] == list(members)


# --- a member that a delivery has


def test_copy_of_a_leased_member_is_not_kept_by_a_page(own: OwnIntegration) -> None:
    confirmed(own, JANE)
    record = fields(own)["record"]
    lease_member(own)
    page_importer(own).store_page((JANE,), own.now())
    assert fields(own).keys() == {"record", "doubt", "seen_at"}
    assert fields(own)["record"] == record


def test_opt_out_on_a_page_is_kept_while_a_delivery_has_the_member(own: OwnIntegration) -> None:
    confirmed(own, JANE)
    lease_member(own)
    page_importer(own).store_page((OPTED_OUT,), own.now())
    assert fields(own)["doubt"] == "1"
    assert copy(own) == OPTED_OUT


def test_opt_out_on_a_page_read_during_a_write_is_written_again(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember({"address": ADDRESS, "name": "Jane", "subscribed": True, "vars": {}})

    def clicks_and_is_read() -> None:
        there.unsubscribe()
        page_importer(own, lag_seconds=600).store_page((OPTED_OUT,), own.now())

    there.meanwhile["POST"] = clicks_and_is_read
    here = own.delivery(asking(there.far), ledger=own.ledger(lag_seconds=600))
    deliver_one(here, Patch(ADDRESS, None, {"plan": "pro"}, None, None), 1)
    assert there.held
    assert there.held["subscribed"]
    assert entry(own).look_at is not None
    here.repair([ADDRESS])
    assert there.held == {
        "address": ADDRESS,
        "name": "Jane",
        "subscribed": False,
        "vars": {"plan": "pro"},
    }


# --- what else is known


def test_record_of_which_event_set_what_is_unchanged_by_a_page(own: OwnIntegration) -> None:
    at = 1714557600.1234567
    confirmed(own, JANE, at)
    record = fields(own)["record"]
    page_importer(own).store_page((JANE,), own.now())
    assert fields(own)["record"] == record
    found = entry(own).record
    assert (found.vars, found.orders) == ({"plan": "free"}, {"vars.plan": EventOrder(at)})


def test_our_unsubscribe_ends_when_the_page_shows_a_subscribed_member(own: OwnIntegration) -> None:
    confirmed(own, JANE, 1714557600.1234567, consent=False)
    assert entry(own).record.no
    page_importer(own).store_page((JANE,), own.now())
    assert entry(own).record.no is None
    page_importer(own).store_page((OPTED_OUT,), own.now())
    there = HoldsOneMember({"address": ADDRESS, "name": "Jane", "subscribed": False, "vars": {}})
    opted_in = Patch(ADDRESS, None, {}, True, None)  # noqa: FBT003
    deliver_one(own.delivery(asking(there.far)), opted_in, 1714557700)
    assert there.held
    assert not there.held["subscribed"]


@pytest.mark.parametrize(("page", "ahead"), [(OPTED_OUT, 0), (JANE, -10)])
def test_our_unsubscribe_confirmed_by_or_newer_than_the_page_stays_ours(
    own: OwnIntegration, page: Member, ahead: float
) -> None:
    confirmed(own, JANE, consent=False)
    page_importer(own).store_page((page,), own.now() + ahead)
    no = entry(own).record.no
    assert no
    assert no.by


def test_our_unsubscribe_in_flight_stays_ours(own: OwnIntegration) -> None:
    confirmed(own, JANE, consent=False)
    lease_member(own)
    page_importer(own).store_page((JANE,), own.now())
    no = entry(own).record.no
    assert no
    assert no.by


# --- asking for a page


def page_answer(*members: dict[str, Any]) -> urllib3.HTTPResponse:
    paging = {"next": f"{PAGES_URL}?page=next&address={members[-1]['address'] if members else ''}"}
    return answered(200, json.dumps({"items": members, "paging": paging}).encode())


def test_page_is_stored_as_of_before_its_request(own: OwnIntegration) -> None:
    asked_at: list[float] = []

    def answer(_: object) -> urllib3.HTTPResponse:
        asked_at.append(own.now())
        return page_answer(
            {"address": "Jane@Example.com", "name": "Jane", "subscribed": False, "vars": {}}
        )

    before = own.now()
    far = Far(answer)
    found = page_importer(own, far).read(ALL_MEMBERS)
    assert isinstance(found, Page)
    assert found.following == {**ALL_MEMBERS, "page": "next", "address": "Jane@Example.com"}
    assert [request.url for request in far.requests] == [f"{PAGES_URL}?limit=100"]
    assert before <= copy_at(own) <= asked_at[0]
    assert copy(own) == Member(ADDRESS, "Jane", subscribed=False)


def test_opt_out_on_a_page_overtaken_by_a_delivery_is_kept(
    own: OwnIntegration,
) -> None:
    def answer(_: object) -> urllib3.HTTPResponse:
        confirmed(own, JANE)
        return page_answer({"address": ADDRESS, "name": "Jane", "subscribed": False, "vars": {}})

    page_importer(own, Far(answer)).read(ALL_MEMBERS)
    found = copy(own)
    assert found
    assert not found.subscribed


def test_the_last_page_changes_nothing(own: OwnIntegration) -> None:
    assert page_importer(own, Far(lambda _: page_answer())).read(ALL_MEMBERS) == Page((), None)
    assert list(own.redis.scan_iter(f"signal:{own.name}:member:*")) == []


def test_no_page_is_requested_while_on_hold(own: OwnIntegration) -> None:
    far = Far(lambda _: page_answer())
    hold_for_unavailability(own.gate())
    found = page_importer(own, far).read(ALL_MEMBERS)
    assert isinstance(found, RetryAfter)
    assert found.seconds > 0
    assert far.requests == []


def test_page_answered_429_begins_a_hold_and_reports_it(own: OwnIntegration) -> None:
    told: list[str] = []
    far = Far(lambda _: answered(429, b"", {"Retry-After": "300"}))
    found = page_importer(own, far, told=lambda kind, _: told.append(kind)).read(ALL_MEMBERS)
    assert isinstance(found, Outcome)
    assert found.kind is OutcomeKind.THROTTLED
    assert own.gate().seconds_until_open() > 200
    assert told == ["throttled"]


def test_refused_pages_begin_no_hold(
    own: OwnIntegration,
) -> None:
    told: list[str] = []
    for _ in range(20):
        page_importer(
            own, Far(lambda _: answered(401)), told=lambda kind, _: told.append(kind)
        ).read(ALL_MEMBERS)
    assert told == []


@pytest.mark.parametrize("status", [None, 200, 500])
def test_unusable_answer_changes_nothing_in_the_ledger(
    own: OwnIntegration, status: int | None
) -> None:
    confirmed(own, JANE)
    stored = fields(own)
    found = page_importer(
        own, Far(lambda _: timed_out() if status is None else answered(status))
    ).read(ALL_MEMBERS)
    assert isinstance(found, Outcome)
    assert found.kind is OutcomeKind.UNAVAILABLE
    assert fields(own) == stored
    assert own.gate().state().members == 1


def test_lock_and_record_are_those_of_a_delivery(own: OwnIntegration) -> None:
    lock, record = own.ledger().keys_of(ADDRESS)
    own.ledger().acquire([ADDRESS])
    assert own.redis.exists(lock)
    own.redis.delete(lock)
    confirmed(own, JANE)
    assert own.redis.exists(record)


def test_opt_out_on_a_page_is_repeated_if_a_newer_yes_may_overwrite_it(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember({"address": ADDRESS, "name": "Jane", "subscribed": True, "vars": {}})
    here = own.delivery(asking(there.far), ledger=own.ledger(lag_seconds=600))
    deliver_one(here, Patch(ADDRESS, None, {"plan": "pro"}, None, None), 1)
    page_importer(own, lag_seconds=600).store_page((OPTED_OUT,), own.now())
    assert entry(own).look_at is not None
    here.repair([ADDRESS])
    assert there.held
    assert not there.held["subscribed"]
