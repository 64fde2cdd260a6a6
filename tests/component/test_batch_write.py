"""Several members at once: what Mailgun holds afterwards, how each event ended, and in how many requests – on a real server."""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.adapters import HoldsMembers, timed_out
from tests.integrations import OwnIntegration, answered, deliver_all
from tests.servers import eventually
from worker.delivery.bulk_trust import FIRST_CALLS
from worker.delivery.deliverer import Deliverer
from worker.delivery.permits import Permits
from worker.gate.config import CAREFUL_REQUESTS, USUAL_LIMIT
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.entry import look_up
from worker.members.ledger import Ledger
from worker.members.merge_plan import TimedPatch
from worker.members.record import EventOrder
from worker.sandbox.request import Reply, Request, json_reply
from worker.signal.patch import Patch


def address(number: int) -> str:
    return f"p{number}@example.com"


def listed(*numbers: int, **fields: Any) -> list[dict[str, Any]]:
    """Members as the list holds them, each on the plan `free`."""
    return [{"address": address(each), "vars": {"plan": "free"}, **fields} for each in numbers]


def patch_for(number: int, at: float = 1.0, consent: bool | None = None, **vars: Any) -> TimedPatch:  # noqa: FBT001
    return TimedPatch(Patch(address(number), None, vars, consent, None), EventOrder(at))


def deliver(
    own: OwnIntegration, there: HoldsMembers, *patches: TimedPatch, **options: Any
) -> list[OutcomeKind]:
    return [each.kind for each in outcomes(own, there, patches, **options)]


def outcomes(
    own: OwnIntegration, there: HoldsMembers, patches: Sequence[TimedPatch], **options: Any
) -> list[Outcome]:
    return deliver_all(delivery(own, there, **options), patches)


def deliver_charged(
    own: OwnIntegration, there: HoldsMembers, *patches: TimedPatch, ledger: Ledger
) -> None:
    """Deliver these, for each of which one request was charged when it was fetched."""
    it = delivery(own, there, ledger=ledger)
    with Permits(it.gate, len(patches)) as permits:
        it.deliver(patches, permits)
    it.gate.flush_released()


def delivery(own: OwnIntegration, there: HoldsMembers, **options: Any) -> Deliverer:
    return own.delivery(there.asking(), **{"batch": 100, **options})


def locks(own: OwnIntegration) -> list[str]:
    return list(own.redis.scan_iter(f"signal:{own.name}:lock:*"))


def trusting_ledger(own: OwnIntegration, **options: Any) -> Any:
    """A ledger that trusts its copies, the unsubscribed having just been read."""
    own.redis.hset(f"signal:{own.name}:opt_outs", mapping={"list": "", "fresh_from": own.now()})
    return own.ledger(refresh_seconds=60, **options)


def fails(status: int, message: str = "no") -> Any:
    return lambda _call: json_reply(status, {"message": message})


def doing(act: Callable[[], object]) -> Callable[[Request], None]:
    """Something happens meanwhile."""

    def acts(_call: Request) -> None:
        act()

    return acts


def times_out(_call: Request) -> Reply | None:
    timed_out()


def test_hint_of_a_429_is_stored_while_other_reads_are_still_running(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(1, 2))
    there.alone = nullcontext()
    seen: list[str | None] = []
    under_way = threading.Event()

    def answer(call: Request) -> Reply | None:
        if address(1) in call.segments:
            assert under_way.wait(10)
            return Reply(429, b"{}", headers={"Retry-After": "30"})
        under_way.set()
        seen.append(eventually(lambda: own.gate().state().kind, 10))
        return None

    there.meanwhile = dict.fromkeys((1, 2), answer)
    deliver(own, there, patch_for(1, plan="pro"), patch_for(2, plan="pro"))
    assert seen == ["throttled"]


# One call


def test_members_share_a_call_and_each_event_has_its_own_outcome(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1, 2, 3))
    assert deliver(
        own,
        there,
        patch_for(1, plan="pro"),
        patch_for(2, plan="free"),
        patch_for(3, plan="pro"),
        patch_for(4, plan="pro"),
    ) == [
        OutcomeKind.DELIVERED,
        OutcomeKind.UNCHANGED,
        OutcomeKind.DELIVERED,
        OutcomeKind.DELIVERED,
    ]
    assert there.entries() == [[address(1), address(3), address(4)]]
    assert [there.vars_of(address(each)) for each in (1, 2, 3, 4)] == [
        {"plan": each} for each in ("pro", "free", "pro", "pro")
    ]
    assert locks(own) == []


def test_lone_member_is_written_with_the_plain_post(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1))
    assert deliver(own, there, patch_for(1, plan="pro")) == [OutcomeKind.DELIVERED]
    assert there.asked() == [f"GET {address(1)}", "POST members"]


def test_every_entry_of_a_bulk_call_states_subscribed(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1), *listed(2, subscribed=False))
    deliver(
        own, there, patch_for(1, plan="pro"), patch_for(2, plan="pro"), patch_for(3, plan="pro")
    )
    (call,) = [each for each in there.calls if each.segments[-1] == "members.json"]
    assert call.fields["upsert"] == "true"
    assert [each["subscribed"] for each in json.loads(call.fields["members"])] == [
        True,
        False,
        True,
    ]
    assert not there.list.member(address(2)).subscribed


def test_no_call_has_more_members_than_the_batch_size(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(*range(7)))
    assert set(
        deliver(own, there, *(patch_for(each, plan="pro") for each in range(7)), batch=3)
    ) == {OutcomeKind.DELIVERED}
    assert [len(each) for each in there.entries()] == [3, 3]  # and the seventh alone


def test_no_call_is_larger_than_a_mebibyte(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(*range(5)))
    large = "x" * 400_000
    assert set(deliver(own, there, *(patch_for(each, note=large) for each in range(5)))) == {
        OutcomeKind.DELIVERED
    }
    assert [len(each) for each in there.entries()] == [2, 2]


# Several events of one member


def test_events_of_one_member_go_together_in_the_order_of_their_times(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1))
    assert deliver(
        own,
        there,
        patch_for(1, 5, plan="pro"),
        patch_for(1, 3, plan="old", company="Acme"),
        patch_for(1, 4, plan="older"),
    ) == [
        OutcomeKind.DELIVERED,
        OutcomeKind.DELIVERED,
        OutcomeKind.SUPERSEDED,
    ]
    assert there.asked() == [f"GET {address(1)}", "POST members"]
    assert there.vars_of(address(1)) == {"plan": "pro", "company": "Acme"}


def test_events_that_undo_each_other_need_no_write(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1))
    assert deliver(own, there, patch_for(1, 1, plan="pro"), patch_for(1, 2, plan="free")) == [
        OutcomeKind.UNCHANGED,
        OutcomeKind.UNCHANGED,
    ]
    assert there.asked() == [f"GET {address(1)}"]


def test_refused_event_costs_no_other_event_of_its_member(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(1, 2))

    def refuses(call: Request) -> Reply | None:
        if call.method == "POST" and '"bad"' in str(call.fields):
            return json_reply(400, {"message": "'vars' parameter is not a valid JSON"})
        return None

    there.meanwhile = dict.fromkeys(range(1, 30), refuses)
    patches = [
        patch_for(1, 1, plan="pro"),
        patch_for(1, 2, bad=1),
        patch_for(1, 3, company="Acme"),
        patch_for(2, 1, plan="pro"),
    ]
    assert deliver(own, there, *patches) == [
        OutcomeKind.DELIVERED,
        OutcomeKind.REJECTED,
        OutcomeKind.DELIVERED,
        OutcomeKind.DELIVERED,
    ]
    assert there.vars_of(address(1)) == {"plan": "pro", "company": "Acme"}
    assert there.vars_of(address(2)) == {"plan": "pro"}


def test_event_superseded_by_a_failed_event_is_retried_with_it(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(1))
    there.meanwhile[2] = fails(503)
    assert deliver(own, there, patch_for(1, 5, plan="pro"), patch_for(1, 3, plan="old")) == [
        OutcomeKind.UNAVAILABLE,
        OutcomeKind.UNAVAILABLE,
    ]
    assert deliver(own, there, patch_for(1, 3, plan="old")) == [OutcomeKind.DELIVERED]
    assert deliver(own, there, patch_for(1, 5, plan="pro")) == [OutcomeKind.DELIVERED]
    assert there.vars_of(address(1)) == {"plan": "pro"}


# Refused


@pytest.mark.parametrize("culprits", [{0}, {31}, {13}, {3, 4, 29}, set(range(32))])
def test_refused_bulk_call_rejects_only_the_culprits(
    own: OwnIntegration, culprits: set[int]
) -> None:
    there = HoldsMembers(*listed(*range(32)))
    there.world.refuse(address(each) for each in culprits)
    kinds = deliver(own, there, *(patch_for(each, plan="pro") for each in range(32)))
    assert {number for number, kind in enumerate(kinds) if kind is OutcomeKind.REJECTED} == culprits
    assert {number for number, kind in enumerate(kinds) if kind is OutcomeKind.DELIVERED} == set(
        range(32)
    ) - culprits
    assert {
        number for number in range(32) if there.vars_of(address(number)) == {"plan": "pro"}
    } == set(range(32)) - culprits


def test_one_culprit_among_a_hundred_is_found_in_few_requests(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(*range(100)))
    there.world.refuse([address(57)])
    kinds = deliver(own, there, *(patch_for(each, plan="pro") for each in range(100)))
    assert kinds.count(OutcomeKind.REJECTED) == 1
    assert sum(each.method == "POST" for each in there.calls) <= 1 + 2 * 7


@pytest.mark.parametrize("status", [401, 404])
def test_refused_key_or_list_costs_few_events_and_the_rest_waits(
    own: OwnIntegration, status: int
) -> None:
    there = HoldsMembers(*listed(*range(50)))
    there.meanwhile = {
        number: fails(status, "Mailing list x not found") for number in range(51, 200)
    }
    kinds = deliver(own, there, *(patch_for(each, plan="pro") for each in range(50)))
    refused = OutcomeKind.UNAUTHORIZED if status == 401 else OutcomeKind.LIST_NOT_FOUND
    assert 0 < kinds.count(refused) <= own.gate().rules.incident_threshold
    assert kinds.count(OutcomeKind.ON_HOLD) == 50 - kinds.count(refused)
    assert own.gate().state().kind == "incident"
    assert locks(own) == []


def test_key_refused_on_a_read_costs_few_events(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(*range(50)))
    there.meanwhile = dict.fromkeys(range(1, 200), fails(401))
    kinds = deliver(own, there, *(patch_for(each, plan="pro") for each in range(50)))
    assert 0 < kinds.count(OutcomeKind.UNAUTHORIZED) <= own.gate().rules.incident_threshold
    assert kinds.count(OutcomeKind.ON_HOLD) == 50 - kinds.count(OutcomeKind.UNAUTHORIZED)
    assert len(there.calls) < 20


def test_concurrent_refusals_cost_few_events(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(*range(8)))
    together = threading.Barrier(4)
    there.alone = nullcontext()

    def refuses(_call: Request) -> Reply:
        together.wait(20)
        return json_reply(401, {})

    there.meanwhile = dict.fromkeys(range(1, 20), refuses)
    kinds = deliver(
        own,
        there,
        *(patch_for(each, plan="pro") for each in range(4)),
        ledger=own.ledger(own.gate(incident_threshold=2)),
    )
    assert kinds.count(OutcomeKind.UNAUTHORIZED) == 2
    assert kinds.count(OutcomeKind.ON_HOLD) == 2


# Told to wait, and no answer


def test_bulk_call_answered_429_throttles_its_events_and_stops_the_rest(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(*range(250)))
    there.meanwhile[251] = lambda _: Reply(429, b"{}", headers={"Retry-After": "30"})
    found = outcomes(own, there, [patch_for(each, plan="pro") for each in range(250)])
    assert {each.kind for each in found[:100]} == {OutcomeKind.THROTTLED}
    assert {each.kind for each in found[100:]} == {OutcomeKind.ON_HOLD}
    assert all(each.wait_until for each in found[:100])
    assert len(there.calls) == 251
    assert own.gate().state().kind == "throttled"


def test_read_answered_429_stops_the_batch_write(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(*range(100)))
    there.meanwhile[3] = lambda _: Reply(429, b"{}", headers={"Retry-After": "30"})
    kinds = deliver(own, there, *(patch_for(each, plan="pro") for each in range(100)))
    assert kinds.count(OutcomeKind.THROTTLED) == 1
    assert kinds.count(OutcomeKind.ON_HOLD) == 99
    assert len(there.calls) <= 3 + 4  # those under way at that moment
    assert there.entries() == []


def test_bulk_call_without_an_answer_locks_its_members_until_settled(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(1, 2))
    there.meanwhile[3] = times_out
    ledger = own.ledger(settle_seconds=60)
    found = outcomes(
        own, there, [patch_for(1, plan="pro"), patch_for(2, plan="pro")], ledger=ledger
    )
    assert [(each.kind, each.unsettled) for each in found] == [(OutcomeKind.UNAVAILABLE, True)] * 2
    assert len(locks(own)) == 2
    assert all(30_000 < own.redis.pttl(each) <= 60_000 for each in locks(own))


def test_no_request_is_sent_while_the_integration_is_on_hold(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1, 2))
    own.gate().pause()
    assert deliver(own, there, patch_for(1, plan="pro"), patch_for(2, plan="pro")) == [
        OutcomeKind.ON_HOLD,
        OutcomeKind.ON_HOLD,
    ]
    assert there.calls == []


def test_hold_that_begins_before_the_bulk_call_prevents_it(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1, 2))
    there.meanwhile[2] = doing(own.gate().pause)
    assert deliver(own, there, patch_for(1, plan="pro"), patch_for(2, plan="pro")) == [
        OutcomeKind.ON_HOLD,
        OutcomeKind.ON_HOLD,
    ]
    assert there.entries() == []
    assert locks(own) == []


# Members that others have


def test_locked_member_delays_no_other_member(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1, 2, 3))
    own.ledger().acquire([address(2)])
    assert deliver(own, there, *(patch_for(each, plan="pro") for each in (1, 2, 3))) == [
        OutcomeKind.DELIVERED,
        OutcomeKind.LOCKED,
        OutcomeKind.DELIVERED,
    ]


def test_member_without_an_answer_last_time_is_written_alone_at_the_end(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(1, 2, 3))
    had: list[int] = []
    there.meanwhile[6] = doing(lambda: had.append(len(locks(own))))
    tried = patch_for(2, plan="pro")._replace(alone=True)
    assert (
        deliver(own, there, patch_for(1, plan="pro"), tried, patch_for(3, plan="pro"))
        == [OutcomeKind.DELIVERED] * 3
    )
    assert there.entries() == [[address(1), address(3)]]
    assert there.asked()[4:] == [f"GET {address(2)}", "POST members"]
    assert had == [1]
    assert locks(own) == []


def test_members_whose_lease_ended_are_not_written(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1, 2))
    there.meanwhile[2] = doing(lambda: own.redis.delete(sorted(locks(own))[0]))
    kinds = deliver(own, there, patch_for(1, plan="pro"), patch_for(2, plan="pro"))
    assert sorted(kinds) == [OutcomeKind.DELIVERED, OutcomeKind.LOCKED]


def test_two_processes_writing_the_same_members_lose_no_field(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(*range(40)))
    one, other = delivery(own, there), delivery(own, there)
    left = {
        id(one): [patch_for(each, 1, a=1) for each in range(40)],
        id(other): [patch_for(each, 1, b=1) for each in range(40)],
    }

    def bring_all(it: Deliverer) -> None:
        while patches := left[id(it)]:
            ended = deliver_all(it, patches)
            left[id(it)] = [
                each
                for each, outcome in zip(patches, ended, strict=True)
                if outcome.kind is OutcomeKind.LOCKED
            ]

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(bring_all, (one, other)))
    assert {json.dumps(there.vars_of(address(each)), sort_keys=True) for each in range(40)} == {
        '{"a": 1, "b": 1, "plan": "free"}'
    }


# What the answer proves


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def test_new_member_that_the_bulk_call_skipped_is_found_and_rejected(
    own: OwnIntegration, caplog: pytest.LogCaptureFixture
) -> None:
    there = HoldsMembers(*listed(1, 2), bulk_bad_member="skipped")
    there.world.refuse([address(3)])
    kinds = deliver(own, there, *(patch_for(each, plan="pro") for each in (1, 2, 3)))
    assert kinds == [OutcomeKind.DELIVERED, OutcomeKind.DELIVERED, OutcomeKind.REJECTED]
    assert len(warnings(caplog)) == 1
    assert address(3) not in caplog.text


@pytest.mark.parametrize(
    "strange", ["jane@localhost", '"jane.doe"@example.com', "jané@example.com", ".jane@example.com"]
)
def test_new_member_with_an_unusual_address_is_written_alone(
    own: OwnIntegration, strange: str
) -> None:
    there = HoldsMembers(*listed(1, 2), bulk_bad_member="skipped")
    patch = Patch(strange, None, {"plan": "pro"}, None, None)
    assert (
        deliver(
            own,
            there,
            patch_for(1, plan="pro"),
            TimedPatch(patch, EventOrder(1.0)),
            patch_for(2, plan="pro"),
        )
        == [OutcomeKind.DELIVERED] * 3
    )
    assert there.entries() == [[address(1), address(2)]]
    assert deliver(
        own,
        there,
        patch_for(1, 2, plan="x"),
        TimedPatch(Patch(strange, None, {"plan": "x"}, None, None), EventOrder(2.0)),
    ) == [
        OutcomeKind.DELIVERED,
        OutcomeKind.DELIVERED,
    ]
    assert there.entries()[1:] == [[address(1), strange]]  # Mailgun holds it by now


def test_first_bulk_calls_and_then_every_hundredth_are_verified(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1, 2))
    here = delivery(own, there, ledger=trusting_ledger(own))
    deliver_all(here, [patch_for(1, 0, plan="pro"), patch_for(2, 0, plan="pro")])
    before = len(there.calls)
    for at in range(1, 100):
        deliver_all(here, [patch_for(1, at, n=at), patch_for(2, at, n=at)])
    asked = there.asked()[before:]
    assert asked.count("POST members.json") == 99
    assert (
        len(asked) - 99 == FIRST_CALLS
    )  # the first call of all was one of them; the hundredth is one again


def test_opt_out_between_bulk_call_and_verification_suspends_nothing(
    own: OwnIntegration, caplog: pytest.LogCaptureFixture
) -> None:
    there = HoldsMembers(*listed(1, 2))

    def clicks(_call: Request) -> None:
        member = there.list.member(address(1))
        there.list.put(type(member)(member.address, member.name, False, member.vars, 0))  # noqa: FBT003

    there.meanwhile[4] = clicks
    assert deliver(own, there, patch_for(1, plan="pro"), patch_for(2, plan="pro")) == [
        OutcomeKind.DELIVERED,
        OutcomeKind.DELIVERED,
    ]
    assert warnings(caplog) == []


# A trusted ledger


def test_a_trusted_copy_spares_the_reading(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(*range(20)))
    here = delivery(own, there, ledger=trusting_ledger(own))
    deliver_all(here, [patch_for(each, 1, plan="pro") for each in range(20)])
    before = len(there.calls)
    assert {
        each.kind
        for each in deliver_all(here, [patch_for(each, 2, company="Acme") for each in range(20)])
    } == {OutcomeKind.DELIVERED}
    assert there.asked()[before:] in (
        ["POST members.json"],
        ["POST members.json", f"GET {address(0)}"],
    )
    assert all(
        there.vars_of(address(each)) == {"plan": "pro", "company": "Acme"} for each in range(20)
    )


def test_copy_is_not_trusted_when_the_last_opt_out_scan_is_too_old(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(1))
    ledger = trusting_ledger(own)
    deliver(own, there, patch_for(1, 1, plan="pro"), ledger=ledger)
    own.later(0)
    own.redis.hset(ledger.keys.opt_outs, "fresh_from", own.now() - 2 * 60 - 1)
    deliver(own, there, patch_for(1, 2, plan="x"), ledger=ledger)
    assert there.asked() == [
        f"GET {address(1)}",
        "POST members",
        f"GET {address(1)}",
        "POST members",
    ]


def test_copy_is_not_trusted_before_the_first_opt_out_scan(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1))
    ledger = own.ledger(refresh_seconds=60)
    deliver(own, there, patch_for(1, 1, plan="pro"), ledger=ledger)
    deliver(own, there, patch_for(1, 2, plan="x"), ledger=ledger)
    assert there.asked().count(f"GET {address(1)}") == 2


@pytest.mark.parametrize(("seen", "asked"), [(-1, 2), (1, 1)])
def test_unsubscribed_member_is_read_again_unless_the_last_scan_saw_it(
    own: OwnIntegration, seen: int, asked: int
) -> None:
    there = HoldsMembers(*listed(1, subscribed=False))
    ledger = trusting_ledger(own)
    deliver(own, there, patch_for(1, 1, plan="pro"), ledger=ledger)
    fresh_from = own.now() - 10
    own.redis.hset(ledger.keys.opt_outs, "fresh_from", fresh_from)
    own.redis.hset(ledger.keys.member(ledger.digest_of(address(1))), "copy_at", fresh_from + seen)
    deliver(own, there, patch_for(1, 2, plan="x"), ledger=ledger)
    assert there.asked().count(f"GET {address(1)}") == asked


def test_member_marked_in_doubt_before_the_write_is_read_again(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(1))
    ledger = trusting_ledger(own)
    key = ledger.keys.member(ledger.digest_of(address(1)))
    there.meanwhile[1] = doing(lambda: own.redis.hset(key, "doubt", "1"))
    assert deliver(own, there, patch_for(1, 1, plan="pro"), ledger=ledger) == [OutcomeKind.LOCKED]
    assert there.asked() == [f"GET {address(1)}"]
    assert deliver(own, there, patch_for(1, 1, plan="pro"), ledger=ledger) == [
        OutcomeKind.DELIVERED
    ]
    assert there.asked()[1:] == [f"GET {address(1)}", "POST members"]


def test_copy_of_a_member_in_doubt_is_not_kept(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1))
    ledger = trusting_ledger(own)
    key = ledger.keys.member(ledger.digest_of(address(1)))
    there.meanwhile[2] = doing(lambda: own.redis.hset(key, "doubt", "1"))
    deliver(own, there, patch_for(1, 1, plan="pro"), ledger=ledger)
    assert "copy" not in own.redis.hkeys(key)


@pytest.mark.parametrize(("status", "kept"), [(429, True), (400, True), (503, False), (502, False)])
def test_copy_outlives_a_refusal_but_no_failure_that_may_have_stored(
    own: OwnIntegration,
    status: int,
    kept: bool,  # noqa: FBT001
) -> None:
    there = HoldsMembers(*listed(1))
    ledger = trusting_ledger(own)
    deliver(own, there, patch_for(1, 1, plan="pro"), ledger=ledger)
    there.meanwhile[3] = fails(status)
    deliver(own, there, patch_for(1, 2, plan="x"), ledger=ledger)
    entry = look_up(ledger, address(1))
    assert entry
    assert (entry.copy is not None) is kept


def test_a_copy_does_not_outlive_a_crash_while_the_member_was_written(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1))
    ledger = trusting_ledger(own)
    deliver(own, there, patch_for(1, 1, plan="pro"), ledger=ledger)

    def crashes(_call: Request) -> Reply:
        raise RecursionError

    there.meanwhile[3] = crashes
    with pytest.raises(RecursionError):
        deliver(own, there, patch_for(1, 2, plan="x"), ledger=ledger)
    entry = look_up(ledger, address(1))
    assert entry
    assert entry.copy is None
    assert locks(own) == []


def test_copy_older_than_a_stored_call_is_dropped_when_the_rest_must_wait(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(1, 2), bulk_bad_member="skipped")
    there.world.refuse([address(3)])
    ledger = own.ledger(cache_seconds=60)
    deliver(own, there, patch_for(1, 0, plan="free"), patch_for(2, 0, plan="free"), ledger=ledger)
    there.meanwhile[len(there.calls) + 4] = lambda _call: json_reply(429, {})
    kinds = deliver(
        own, there, *(patch_for(each, 1, plan="pro") for each in (1, 2, 3)), ledger=ledger
    )
    assert OutcomeKind.DELIVERED not in kinds or there.vars_of(address(1)) == {"plan": "pro"}
    for each in (1, 2):
        entry = look_up(ledger, address(each))
        assert entry
        assert entry.copy is None or entry.copy.member.vars == there.vars_of(address(each))


def test_unsubscribe_that_was_never_sent_is_not_recorded_as_ours(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(*range(40)))
    ledger = trusting_ledger(own)
    here = delivery(own, there, ledger=ledger, batch=1)
    deliver_all(here, [patch_for(each, 1, plan="pro") for each in range(40)])
    there.meanwhile[len(there.calls) + 1] = lambda _call: Reply(
        429, b"{}", headers={"Retry-After": "30"}
    )
    outcomes_ = deliver_all(here, [patch_for(each, 2, consent=False) for each in range(40)])
    held_back = [
        number for number, each in enumerate(outcomes_) if each.kind is OutcomeKind.ON_HOLD
    ]
    assert held_back
    for each in held_back:
        entry = look_up(ledger, address(each))
        assert entry
        assert entry.record.no is None


def test_opt_out_seen_by_the_verification_of_a_bulk_call_is_kept(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1, 2))
    ledger = trusting_ledger(own)

    def clicks() -> None:
        there.list.put(replace(there.list.member(address(1)), subscribed=False))

    there.meanwhile[4] = doing(clicks)
    deliver(own, there, patch_for(1, 1, plan="pro"), patch_for(2, 1, plan="pro"), ledger=ledger)
    assert there.asked()[-1] == f"GET {address(1)}"
    deliver(own, there, patch_for(1, 2, plan="x"), patch_for(2, 2, plan="x"), ledger=ledger)
    assert not there.list.member(address(1)).subscribed


def test_failed_verification_read_suspends_nothing(
    own: OwnIntegration, caplog: pytest.LogCaptureFixture
) -> None:
    there = HoldsMembers(*listed(1, 2))
    there.meanwhile[4] = lambda _call: json_reply(503, {})
    assert (
        deliver(own, there, patch_for(1, plan="pro"), patch_for(2, plan="pro"))
        == [OutcomeKind.DELIVERED] * 2
    )
    assert warnings(caplog) == []


def test_recipients_opt_out_in_the_ledger_stands_in_a_bulk_call(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(1, 2, subscribed=False))
    ledger = trusting_ledger(own)
    deliver(own, there, patch_for(1, 1, plan="pro"), patch_for(2, 1, plan="pro"), ledger=ledger)
    deliver(
        own,
        there,
        patch_for(1, 2, consent=True, plan="a"),
        patch_for(2, 2, plan="a"),
        ledger=ledger,
    )
    assert [there.list.member(address(each)).subscribed for each in (1, 2)] == [False, False]


def test_our_unsubscribe_in_a_bulk_call_without_an_answer_is_recorded(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1, 2))
    there.meanwhile[3] = times_out
    deliver(own, there, patch_for(1, 1, consent=False), patch_for(2, 1, consent=False))
    for each in (1, 2):
        entry = look_up(own.ledger(), address(each))
        assert entry
        assert entry.record.no
        assert entry.record.no.by


# Pace


def test_reads_without_a_permit_wait_for_the_rate_limit(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(*range(50)))
    gate = own.gate(rate_limit=300, event_cost=0.01)
    kinds = deliver(
        own,
        there,
        *(patch_for(each, plan="pro") for each in range(50)),
        ledger=own.ledger(gate, refresh_seconds=60),
    )
    assert 0 < len(there.calls) <= 12
    assert kinds.count(OutcomeKind.ON_HOLD) >= 39
    assert OutcomeKind.DELIVERED in kinds or there.entries() == []


def test_unused_permits_are_released_after_the_batch_write(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1, 2))
    gate = own.gate(rate_limit=6)  # the bucket holds one
    ledger = own.ledger(gate, cache_seconds=60)
    both = patch_for(1, plan="free"), patch_for(2, plan="free")
    deliver(own, there, *both, ledger=own.ledger(cache_seconds=60))
    own.redis.hset(f"signal:{own.name}:pace", mapping={"tokens": -5, "at": own.now()})
    # Both are planned from their copies.
    deliver_charged(own, there, *both, ledger=ledger)
    assert float(own.pace()["tokens"]) == pytest.approx(-3, abs=0.5)


def test_request_without_a_permit_is_charged_afterwards(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1))
    ledger = own.ledger(own.gate(rate_limit=6))
    own.redis.hset(f"signal:{own.name}:pace", mapping={"tokens": 0, "at": own.now()})
    deliver_charged(own, there, patch_for(1, plan="pro"), ledger=ledger)  # for the read
    assert float(own.pace()["tokens"]) == pytest.approx(-1, abs=0.5)


def test_member_with_one_permit_is_read_and_its_write_is_owed(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1))
    ledger = own.ledger(own.gate(rate_limit=6, event_cost=0.01))  # the bucket holds one
    assert deliver(own, there, patch_for(1, plan="pro"), ledger=ledger) == [OutcomeKind.DELIVERED]
    assert float(own.pace()["tokens"]) == pytest.approx(-1, abs=0.5)


def test_member_is_read_only_with_a_permit_for_its_write_too(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(*range(10)))
    patches = [patch_for(each, plan="pro") for each in range(10)]
    ledger = own.ledger(own.gate(rate_limit=300))  # the bucket holds ten
    own.redis.hset(f"signal:{own.name}:pace", mapping={"tokens": 10, "at": own.now()})
    kinds = deliver(own, there, *patches, ledger=ledger, batch=1)
    assert kinds.count(OutcomeKind.DELIVERED) == 5
    assert len(there.calls) == 10


def test_bundle_near_the_usual_limit_goes_on_in_parts_each_with_its_write(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(*range(30)))
    gate = own.gate(event_cost=1.01)
    near = USUAL_LIMIT - 20
    assert gate.acquire(near) == (near, 0.0)
    answered(gate, OutcomeKind.DELIVERED, requests=near)
    patches = [patch_for(each, plan="pro") for each in range(30)]
    kinds = deliver(own, there, *patches, ledger=own.ledger(gate), batch=100)
    assert kinds == [OutcomeKind.DELIVERED] * 30
    reads_before_a_write = [len(part) for part in parts_between_writes(there.asked())]
    assert max(reads_before_a_write) < CAREFUL_REQUESTS


def parts_between_writes(asked: Sequence[str]) -> list[list[str]]:
    """Return the reads before each write."""
    parts: list[list[str]] = [[]]
    for each in asked:
        if each.startswith("POST"):
            parts.append([])
        else:
            parts[-1].append(each)
    return parts


def test_members_that_wait_near_the_usual_limit_are_deferred_by_a_hold(
    own: OwnIntegration,
) -> None:
    there = HoldsMembers(*listed(*range(30)))
    gate = own.gate(event_cost=1.01)
    near = USUAL_LIMIT - 20 + CAREFUL_REQUESTS
    gate.acquire(USUAL_LIMIT - 20)
    answered(gate, OutcomeKind.DELIVERED, requests=USUAL_LIMIT - 20)
    assert gate.acquire(near)[0] == CAREFUL_REQUESTS  # of another worker, and never answered
    with ThreadPoolExecutor(1) as pool:
        patches = [patch_for(each, plan="pro") for each in range(30)]
        kinds = pool.submit(deliver, own, there, *patches, ledger=own.ledger(gate), batch=100)
        time.sleep(0.3)
        answered(own.gate(), OutcomeKind.THROTTLED, hint=60)
        assert kinds.result() == [OutcomeKind.ON_HOLD] * 30
    assert there.asked() == []


def test_token_covers_as_many_events_as_share_a_request(own: OwnIntegration) -> None:
    own.fill(1000)
    rules = own.gate(rate_limit=300, event_cost=0.01).rules
    answered(own.gate(), OutcomeKind.DELIVERED)
    assert len(own.take(400, rules=rules).messages) >= 100


# Overwriting


def test_overwrite_mode_sends_one_entry_per_event_in_their_order(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1, 2))
    patches = [
        patch_for(1, 2, plan="a"),
        patch_for(2, 1, plan="b"),
        patch_for(1, 1, company="Acme"),
    ]
    assert deliver(own, there, *patches, overwrite=True) == [OutcomeKind.DELIVERED] * 3
    assert there.entries() == [[address(1), address(2)]]
    assert there.vars_of(address(1)) == {"company": "Acme"}
    assert not any(each.startswith("GET") for each in there.asked()[:1])


# Together or one after the other

events = st.lists(
    st.builds(
        patch_for,
        st.integers(0, 4),
        st.integers(1, 6).map(float),
        st.sampled_from([None, None, True, False]),
        plan=st.sampled_from(["a", "b", 1, True]),
    )
    | st.builds(
        patch_for,
        st.integers(0, 4),
        st.integers(1, 6).map(float),
        company=st.sampled_from(["x", "y"]),
    ),
    min_size=1,
    max_size=24,
)


@given(
    patches=events,
    cuts=st.lists(st.integers(1, 8), min_size=24, max_size=24),
    trusted=st.booleans(),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_members_end_the_same_with_batches_as_with_single_events(
    own: OwnIntegration,
    patches: list[TimedPatch],
    cuts: list[int],
    trusted: bool,  # noqa: FBT001
) -> None:
    def ended(batches: Sequence[Sequence[TimedPatch]], name: str) -> list[dict[str, Any]]:
        here = OwnIntegration(own.redis, f"{own.name}-{name}")
        for key in here.redis.scan_iter(f"signal:{here.name}:*"):
            here.redis.delete(key)
        there = HoldsMembers(*listed(0, 1), *listed(2, subscribed=False))
        it = delivery(here, there, ledger=trusting_ledger(here) if trusted else None)
        for batch in batches:
            assert {each.kind for each in deliver_all(it, batch)} <= {
                OutcomeKind.DELIVERED,
                OutcomeKind.UNCHANGED,
                OutcomeKind.SUPERSEDED,
            }
        return sorted(
            (each.as_mailgun() for each in there.list), key=lambda each: str(each["address"])
        )

    starts = [0]
    for cut in cuts:
        starts.append(starts[-1] + cut)
    together = [patches[start:end] for start, end in pairwise(starts) if patches[start:end]]
    assert json.dumps(ended(together, "together")) == json.dumps(
        ended([[each] for each in patches], "alone")
    )


def test_unused_permit_of_a_lone_member_is_refunded_at_once(own: OwnIntegration) -> None:
    there = HoldsMembers(*listed(1))
    it = delivery(own, there, batch=1)
    deliver_all(it, [patch_for(1, 1, plan="pro")])
    before = float(own.pace()["permitted"])
    with Permits(it.gate, 2.0) as permits:
        assert [each.kind for each in it.deliver([patch_for(1, 2, plan="pro")], permits)] == [
            OutcomeKind.UNCHANGED
        ]
        assert permits.left == 0
    assert float(own.pace()["permitted"]) == before - 1
