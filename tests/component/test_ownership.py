"""Which word stands: readings that lag, members that are missed, late writes, lost leases, deleted members – on a real server."""

import json
from collections.abc import Callable
from itertools import accumulate, pairwise
from time import sleep
from typing import Any

import pytest
from urllib3 import HTTPResponse

from tests.adapters import HoldsMembers, HoldsOneMember, answered, asking, timed_out
from tests.integrations import OwnIntegration, deliver_all, deliver_one
from worker.delivery.deliverer import Deliverer
from worker.delivery.late_writes import CLAIM_SECONDS, LateWrites
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.entry import forget, look_up
from worker.members.lease import MemberLease, OnHold
from worker.members.ledger import Ledger
from worker.members.merge import SubscriptionRules
from worker.members.merge_plan import TimedPatch
from worker.members.record import ABSENCE_SECONDS, EventOrder
from worker.sandbox.request import Reply, Request, json_reply
from worker.signal.patch import Patch

ADDRESS = "jane@example.com"
HELD = {
    "address": ADDRESS,
    "name": "Jane",
    "subscribed": True,
    "vars": {"plan": "free", "company": "Acme"},
}
LAG = 600.0


def patch(consent: bool | None = None, **fields: object) -> Patch:  # noqa: FBT001
    return Patch(ADDRESS, None, fields, consent, None)


def deliverer_for(
    own: OwnIntegration,
    there: HoldsOneMember,
    rules: SubscriptionRules | None = None,
    **ledger: Any,
) -> Deliverer:
    return own.delivery(
        asking(there.far), ledger=own.ledger(**{"lag_seconds": LAG, **ledger}), rules=rules
    )


def deliver(
    own: OwnIntegration, there: HoldsOneMember, patch: Patch, at: float = 1, **options: Any
) -> Outcome:
    return deliver_one(deliverer_for(own, there, **options), patch, at)


def vars_of(there: HoldsOneMember) -> dict[str, Any]:
    assert there.held
    return dict(there.held["vars"])


def is_subscribed(there: HoldsOneMember) -> bool:
    assert there.held
    return bool(there.held["subscribed"])


def showing(member: dict[str, Any] | None) -> Callable[[], HTTPResponse]:
    """What one read shows in place of what is held."""
    if member is None:
        return lambda: answered(
            404, b'{"message":"Member jane@example.com of mailing list news not found"}'
        )
    return lambda: answered(200, json.dumps({"member": member}).encode())


def late_writes_of(own: OwnIntegration, there: HoldsOneMember, **ledger: Any) -> LateWrites:
    here = deliverer_for(own, there, **ledger)
    return LateWrites(here, own.ledger(**{"lag_seconds": LAG, **ledger}))


def recheck(own: OwnIntegration, there: HoldsOneMember) -> list[str]:
    """What a worker does once a second; whom it looked at."""
    looks = late_writes_of(own, there)
    due = looks.due()
    looks.look(due)
    return due


def seconds_until_recheck(own: OwnIntegration) -> float | None:
    """Seconds until the member is looked at again."""
    due = own.redis.zscore(own.look_after_key, ADDRESS)
    return None if due is None else float(due) - own.now()


def test_look_at_a_locked_member_is_due_again_within_seconds(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    ledger = own.ledger()
    looks = late_writes_of(own, there)
    own.redis.zadd(own.look_after_key, {ADDRESS: own.now()})
    own.redis.set(ledger.keys_of(ADDRESS)[0], "another delivery", ex=60)
    looks.look(looks.due())
    assert there.asked() == []
    assert looks.due() == []
    own.later(3)
    assert looks.due() == [ADDRESS]


# Reads that lag


def test_field_set_by_an_event_outlives_a_read_that_does_not_show_it(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), 1)
    there.instead["GET"] = showing(HELD)
    deliver(own, there, patch(last_page_url="/a"), 2)
    assert vars_of(there) == {"plan": "pro", "company": "Acme", "last_page_url": "/a"}


def test_opt_out_overwritten_before_it_was_read_is_written_again(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), 1)
    # A read from before the opt-out: the write overwrites it with a "yes".
    there.instead["GET"] = showing(HELD)
    deliver(own, there, patch(last_page_url="/a"), 2)
    assert is_subscribed(there)
    # A read from after the opt-out and before that write.
    fields = {"plan": "pro", "company": "Acme", "last_page_url": "/a"}
    there.instead["GET"] = showing({**HELD, "subscribed": False, "vars": fields})
    outcome = deliver(own, there, patch(plan="pro"), 3)
    assert not is_subscribed(there)
    assert outcome.kind is OutcomeKind.UNCHANGED
    deliver(own, there, patch(plan="pro"), 4)
    assert there.asked().count("POST") == 3


def test_opt_out_to_be_written_again_is_so_after_a_refused_write(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), 1)
    fields = {"plan": "pro", "company": "Acme"}
    opted_out = {**HELD, "subscribed": False, "vars": fields}
    there.instead["GET"] = showing(opted_out)  # older than the write before
    there.instead["POST"] = lambda: answered(429, b'{"message":"slow down"}')
    assert deliver(own, there, patch(plan="pro"), 2).kind is OutcomeKind.THROTTLED
    assert is_subscribed(there)
    there.instead["GET"] = showing(opted_out)
    deliver(own, there, patch(plan="pro"), 2)
    assert not is_subscribed(there)


def test_opt_out_is_not_written_again_once_reads_can_no_longer_lag(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), 1)
    own.later(LAG + 1)
    there.unsubscribe()
    deliver(own, there, patch(plan="pro"), 2)
    assert there.asked().count("POST") == 1


def test_field_of_others_stays_and_an_owned_field_they_changed_comes_back(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), 1)
    there.held = {**HELD, "vars": {"plan": "by hand", "company": "Umbrella", "note": "x"}}
    deliver(own, there, patch(last_page_url="/a"), 2)
    assert vars_of(there) == {
        "plan": "pro",
        "company": "Umbrella",
        "note": "x",
        "last_page_url": "/a",
    }


def test_denied_consent_outlives_a_read_that_does_not_show_it(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(consent=False), 1)
    there.instead["GET"] = showing(HELD)
    deliver(own, there, patch(plan="pro"), 2)
    assert not is_subscribed(there)


def test_recorded_opt_out_outlives_a_read_that_does_not_show_it(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.unsubscribe()
    deliver(own, there, patch(plan="pro"), 1)
    there.instead["GET"] = showing(HELD)
    deliver(own, there, patch(plan="max", consent=True), 2)
    assert not is_subscribed(there)


def test_opt_out_lifted_by_hand_is_lifted_once_reads_can_no_longer_lag(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember({**HELD, "subscribed": False})
    deliver(own, there, patch(plan="pro"), 1)
    own.later(LAG + 1)
    assert there.held
    there.held["subscribed"] = True
    deliver(own, there, patch(plan="max"), 2)
    assert is_subscribed(there)


def test_unsubscribe_read_soon_after_a_granted_consent_is_read_again(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(consent=False), 1)
    before = there.held
    deliver(own, there, patch(consent=True), 2)
    there.instead["GET"] = showing(before)
    found = deliver(own, there, patch(plan="pro"), 3)
    assert (found.kind, found.requests, is_subscribed(there)) == (OutcomeKind.DOUBTFUL, 1, True)
    assert found.again_in >= 1
    assert deliver(own, there, patch(plan="pro"), 3).kind is OutcomeKind.DELIVERED
    assert is_subscribed(there)


def test_opt_out_soon_after_a_granted_consent_is_never_undone(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(consent=False), 1)
    deliver(own, there, patch(consent=True), 2)
    there.unsubscribe()
    assert deliver(own, there, patch(plan="pro"), 3).kind is OutcomeKind.DOUBTFUL
    own.later(LAG + 1)
    assert deliver(own, there, patch(plan="pro", consent=True), 3).kind is OutcomeKind.DELIVERED
    assert not is_subscribed(there)


def test_new_member_that_a_read_does_not_show_yet_keeps_its_fields(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(None)
    deliver(own, there, patch(plan="pro", consent=False), 1)
    there.instead["GET"] = showing(None)
    assert deliver(own, there, patch(company="Acme"), 2).kind is OutcomeKind.DOUBTFUL
    own.later(2)
    assert deliver(own, there, patch(company="Acme"), 2).kind is OutcomeKind.DELIVERED
    assert (vars_of(there), is_subscribed(there)) == ({"plan": "pro", "company": "Acme"}, False)


# A member that is missed


def test_member_missing_in_one_read_is_read_again_and_loses_nothing(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember({**HELD, "subscribed": False})
    deliver(own, there, patch(plan="pro"), 1)
    own.later(2 * LAG)
    there.instead["GET"] = showing(None)
    asked = len(there.asked())
    assert deliver(own, there, patch(last_page_url="/a"), 2).kind is OutcomeKind.DOUBTFUL
    assert (
        deliver(own, there, patch(last_page_url="/b"), 3).kind is OutcomeKind.DOUBTFUL
    )  # waits with the other, unasked
    assert len(there.asked()) == asked + 1
    own.later(2)
    assert deliver(own, there, patch(last_page_url="/a"), 2).kind is OutcomeKind.DELIVERED
    assert (vars_of(there), is_subscribed(there)) == (
        {"plan": "pro", "company": "Acme", "last_page_url": "/a"},
        False,
    )


def within_elapsed_time(waits: list[float], took: float) -> bool:
    """Is each wait at most as long as all before it, and what the test itself `took`, together?"""
    return all(
        wait <= since + took + 0.1
        for since, wait in zip(accumulate(waits), waits[1:], strict=False)
    )


def test_reads_of_a_missing_member_grow_rarer(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), 1)
    there.held = None
    waits, began = [], own.now()
    for _ in range(9):
        found = deliver(own, there, patch(last_page_url="/a"), 2)
        waits.append(found.again_in)
        own.later(found.again_in + 0.001)
    assert waits[0] == 1
    assert waits[-2:] == [60, 60]
    assert all(before <= later for before, later in pairwise(waits))
    assert within_elapsed_time(waits, own.now() - began)


@pytest.mark.parametrize("consent", [None, False])
def test_deleted_member_does_not_come_back_with_old_values(
    own: OwnIntegration,
    consent: bool | None,  # noqa: FBT001
) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro", consent=consent), 1)
    there.held = None
    own.later(LAG)
    assert deliver(own, there, patch(last_page_url="/a"), 2).kind is OutcomeKind.DOUBTFUL
    own.later(ABSENCE_SECONDS)
    assert deliver(own, there, patch(last_page_url="/a"), 2).kind is OutcomeKind.DOUBTFUL
    own.later(ABSENCE_SECONDS + 1)
    assert deliver(own, there, patch(last_page_url="/a"), 2).kind is OutcomeKind.DELIVERED
    assert there.held == {
        "address": ADDRESS,
        "name": "",
        "subscribed": consent is None,
        "vars": {"last_page_url": "/a"},
    }


def test_deleted_member_that_had_opted_out_stays_unsubscribed_on_consent(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember({**HELD, "subscribed": False})
    deliver(own, there, patch(plan="pro"), 1)
    there.held = None
    own.ledger(lag_seconds=LAG).note_sync(own.now() + LAG + 1)
    own.later(LAG + 2)
    assert deliver(own, there, patch(consent=True), 2).kind is OutcomeKind.DELIVERED
    assert not is_subscribed(there)


def test_member_missing_in_a_sync_is_forgotten_and_created_at_once(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), 1)
    own.later(LAG + 1)
    own.ledger().note_sync(own.now())
    there.held = None
    entry = look_up(own.ledger(lag_seconds=LAG), ADDRESS)
    assert entry
    assert (entry.record.vars, entry.record.orders, entry.copy) == ({}, {}, None)
    assert deliver(own, there, patch(last_page_url="/a"), 2).kind is OutcomeKind.DELIVERED
    assert vars_of(there) == {"last_page_url": "/a"}


def test_member_missing_in_a_sync_is_read_even_with_a_trusted_ledger(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    options, opt_outs = {"refresh_seconds": 60}, f"signal:{own.name}:opt_outs"
    deliver(own, there, patch(plan="pro"), 1, **options)
    own.redis.hset(opt_outs, mapping={"list": "", "fresh_from": own.now()})
    own.ledger().note_sync(own.now())
    there.held = None
    own.later(2)
    own.redis.hset(opt_outs, mapping={"list": "", "fresh_from": own.now()})
    assert deliver(own, there, patch(last_page_url="/a"), 2, **options).kind is OutcomeKind.DOUBTFUL
    assert there.asked()[-1] == "GET"


# Writes whose end is not known


def test_a_late_write_is_found_and_the_newest_values_are_written_again(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = timed_out
    late = {**HELD, "vars": {**HELD["vars"], "plan": "old"}}  # type: ignore[dict-item]
    assert deliver(own, there, patch(plan="old"), 1).kind is OutcomeKind.UNAVAILABLE
    assert (
        deliver(own, there, patch(plan="pro", last_page_url="/a"), 2).kind is OutcomeKind.DELIVERED
    )
    newest = there.held
    there.held = late
    assert recheck(own, there) == []
    own.later(1)
    assert recheck(own, there) == [ADDRESS]
    assert there.held == newest


def test_late_subscribe_over_a_recorded_opt_out_is_found(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = timed_out
    deliver(own, there, patch(plan="old"), 1)
    there.unsubscribe()
    deliver(own, there, patch(plan="pro"), 2)
    there.held = {**HELD, "vars": {**HELD["vars"], "plan": "old"}}  # type: ignore[dict-item]
    own.later(1)
    recheck(own, there)
    assert (vars_of(there)["plan"], is_subscribed(there)) == ("pro", False)


def test_late_unsubscribe_of_ours_yields_to_a_newer_granted_consent(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = timed_out
    deliver(own, there, patch(consent=False), 1)
    assert deliver(own, there, patch(consent=True), 2).kind is OutcomeKind.UNCHANGED
    there.unsubscribe()
    own.later(1)
    recheck(own, there)
    assert is_subscribed(there)


def test_member_is_rechecked_until_no_late_write_can_arrive(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.afterwards["POST"] = timed_out
    deliver(own, there, patch(plan="pro"), 1)
    waits, began = [], own.now()
    while (wait := seconds_until_recheck(own)) is not None:
        waits.append(wait)
        own.later(wait + 0.001)
        recheck(own, there)
        assert len(waits) < 20
    took = own.now() - began
    assert (
        LAG - took - 0.1 <= sum(waits) <= LAG + 1.1
    )  # the last look is at least a second after the one before
    assert within_elapsed_time(waits, took)
    assert len(waits) < 14
    assert there.asked() == ["GET", "POST", *["GET"] * len(waits)]
    assert own.redis.hget(own.ledger().keys_of(ADDRESS)[1], "late_at") is None


def test_unanswered_write_settles_before_its_member_is_rechecked(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.afterwards["POST"] = timed_out
    deliver(own, there, patch(plan="pro"), 1, settle_seconds=30)
    assert 29 < (seconds_until_recheck(own) or 0) <= 30


def test_recheck_of_a_missing_member_creates_none(own: OwnIntegration) -> None:
    there = HoldsOneMember(None)
    there.instead["POST"] = timed_out
    deliver(own, there, patch(plan="pro"), 1)
    own.later(1)
    assert recheck(own, there) == [ADDRESS]
    assert there.held is None
    assert seconds_until_recheck(own) is not None


def test_failed_recheck_is_due_again(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.afterwards["POST"] = timed_out
    deliver(own, there, patch(plan="pro"), 1)
    own.later(1)
    there.instead["GET"] = lambda: answered(503)
    assert recheck(own, there) == [ADDRESS]
    assert recheck(own, there) == []
    own.later(CLAIM_SECONDS)
    assert recheck(own, there) == [ADDRESS]


def test_no_member_is_rechecked_while_on_hold(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.afterwards["POST"] = timed_out
    deliver(own, there, patch(plan="pro"), 1)
    own.later(1)
    own.gate().pause()
    assert recheck(own, there) == []


def test_forgetting_a_member_ends_its_rechecks(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.afterwards["POST"] = timed_out
    deliver(own, there, patch(plan="pro"), 1)
    assert forget(own.ledger(), ADDRESS) == 2
    assert seconds_until_recheck(own) is None
    assert own.redis.keys(f"signal:{own.name}:*{ADDRESS}*") == []


# A lease that ended


@pytest.fixture
def frozen_before_writing(monkeypatch: pytest.MonkeyPatch) -> float:
    """Every process stands still between being allowed to write and writing; the lease in seconds that ends meanwhile."""
    lease, ask = 0.02, Ledger.renew

    def ask_and_freeze(*asked: Any) -> list[bool] | OnHold:
        answer = ask(*asked)
        sleep(lease)
        return answer

    monkeypatch.setattr(Ledger, "renew", ask_and_freeze)
    return lease


def test_no_write_is_sent_after_the_lease_has_ended(
    own: OwnIntegration, frozen_before_writing: float
) -> None:
    there = HoldsOneMember(HELD)
    found = deliver(own, there, patch(plan="pro"), lease_seconds=frozen_before_writing)
    assert (found.kind, there.held) == (OutcomeKind.LOCKED, HELD)
    assert "POST" not in there.asked()


def test_bulk_call_is_not_sent_after_the_lease_of_one_member_has_ended(
    own: OwnIntegration, frozen_before_writing: float
) -> None:
    there = HoldsMembers(*({"address": f"p{each}@example.com"} for each in range(3)))
    ledger = own.ledger(lease_seconds=frozen_before_writing)
    here = own.delivery(there.asking(), ledger=ledger, batch=100)
    patches = [
        TimedPatch(Patch(f"p{each}@example.com", None, {"a": 1}, None, None), EventOrder(1))
        for each in range(3)
    ]
    assert {each.kind for each in deliver_all(here, patches)} == {OutcomeKind.LOCKED}
    assert there.entries() == []


def test_write_after_a_lost_lease_hands_the_member_on_for_a_recheck(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)

    def another_writes() -> None:
        own.redis.delete(own.ledger().keys_of(ADDRESS)[0])
        (lease,) = own.ledger().acquire([ADDRESS])  # type: ignore[misc]
        assert isinstance(lease, MemberLease)
        lease.record = lease.record._replace(seen_at=own.now())
        own.ledger().release([lease], [], 0)

    there.meanwhile["POST"] = another_writes
    found = deliver(own, there, patch(plan="pro"), 1)
    assert found.kind is OutcomeKind.LOCKED
    assert seconds_until_recheck(own) is not None
    assert deliver(own, there, patch(plan="pro"), 1).kind is OutcomeKind.UNCHANGED


def test_member_whose_lease_was_kept_is_done_though_anothers_was_lost(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*({"address": f"p{each}@example.com"} for each in range(2)))
    ledger = own.ledger()

    def lose_one(_call: Request) -> Reply | None:
        own.redis.delete(ledger.keys_of("p0@example.com")[0])
        return None

    there.meanwhile[3] = lose_one
    here = own.delivery(there.asking(), ledger=ledger, batch=100)
    patches = [
        TimedPatch(Patch(f"p{each}@example.com", None, {"a": 1}, None, None), EventOrder(1))
        for each in range(2)
    ]
    assert [each.kind for each in deliver_all(here, patches)] == [
        OutcomeKind.LOCKED,
        OutcomeKind.DELIVERED,
    ]


# Ties


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True)])
@pytest.mark.parametrize("arriving", [(0, 1), (1, 0), (1, 0, 1), (0, 1, 0)])
@pytest.mark.parametrize("together", [False, True])
def test_later_enqueued_event_wins_among_events_of_one_time(
    own: OwnIntegration,
    first: bool,  # noqa: FBT001
    second: bool,  # noqa: FBT001
    arriving: tuple[int, ...],
    together: bool,  # noqa: FBT001
) -> None:
    there = HoldsOneMember(HELD)
    events = [
        TimedPatch(patch(consent=consent, plan=str(consent)), EventOrder(5.0, enqueued_at))
        for enqueued_at, consent in ((100.0, first), (100.000001, second))
    ]
    patches = [events[each] for each in arriving]
    for some in [patches] if together else [[each] for each in patches]:
        deliver_all(deliverer_for(own, there), some)
    assert (is_subscribed(there), vars_of(there)["plan"]) == (second, str(second))


# Whose "no" it is


def test_unsubscribe_of_ours_that_was_refused_is_not_ours(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = lambda: answered(401)
    deliver(own, there, patch(consent=False), 1)
    there.unsubscribe()
    deliver(own, there, patch(consent=True), 2)
    assert not is_subscribed(there)


@pytest.mark.parametrize("status", [500, 504])
def test_unsubscribe_of_ours_stored_and_answered_with_an_error_is_ours(
    own: OwnIntegration, status: int
) -> None:
    there = HoldsOneMember(HELD)
    there.afterwards["POST"] = lambda: answered(status)
    deliver(own, there, patch(consent=False), 1)
    assert not is_subscribed(there)
    deliver(own, there, patch(consent=True), 2)
    assert is_subscribed(there)


def test_unsubscribe_of_ours_refused_while_a_call_was_split_is_not_ours(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*({"address": f"p{each}@example.com"} for each in range(4)))
    there.meanwhile[5] = lambda _call: json_reply(400, {"message": "no"})
    there.meanwhile[6] = lambda _call: Reply(429, b"{}", headers={"Retry-After": "30"})
    ledger = own.ledger()
    here = own.delivery(there.asking(), ledger=ledger, batch=100)
    patches = [
        TimedPatch(Patch(f"p{each}@example.com", None, {}, consent=False, at=None), EventOrder(1))
        for each in range(4)
    ]
    assert OutcomeKind.DELIVERED not in {each.kind for each in deliver_all(here, patches)}
    for each in range(4):
        entry = look_up(ledger, f"p{each}@example.com")
        assert entry is None or entry.record.no is None


def test_unsubscribe_of_ours_maybe_stored_before_a_refusal_stays_recorded(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*({"address": f"p{each}@example.com"} for each in range(2)))

    def refuses(call: Request) -> Reply:
        missing = {"message": "Member x of mailing list y not found"}
        return json_reply(404, missing) if call.method == "GET" else json_reply(401, {})

    # After two reads and the call: some looks at one of them, then two writes, at the same moment.
    there.meanwhile = dict.fromkeys(range(4, 20), refuses)
    ledger = own.ledger()
    here = own.delivery(there.asking(), ledger=ledger, batch=100)
    patches = [
        TimedPatch(Patch(f"p{each}@example.com", None, {}, consent=False, at=None), EventOrder(1))
        for each in range(2)
    ]
    assert {each.kind for each in deliver_all(here, patches)} == {OutcomeKind.UNAUTHORIZED}
    for each in range(2):
        entry = look_up(ledger, f"p{each}@example.com")
        assert entry
        assert entry.record.no
        assert entry.record.no.sent


def test_recheck_queue_alone_holds_the_address_of_an_unanswered_member(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.afterwards["POST"] = timed_out
    deliver(own, there, patch(plan="pro"), 1)
    for key in own.redis.scan_iter(f"signal:{own.name}:*"):
        kind = own.redis.type(key)
        found = (
            str(own.redis.hgetall(key))
            if kind == "hash"
            else str(own.redis.dump(key))
            if kind == "string"
            else ""
        )
        assert ADDRESS not in str(key) + found
    assert own.redis.zrange(own.look_after_key, 0, -1) == [ADDRESS]
    assert 29 * 86_400 < own.redis.ttl(own.look_after_key) <= 30 * 86_400
