"""Whose doing it is when a call for many members fails, and who pays for it: on a real server, against the sandbox's Mailgun."""

from collections.abc import Collection
from typing import Any

import pytest

from tests.adapters import HoldsMembers, timed_out
from tests.integrations import OwnIntegration, deliver_all
from worker.mailgun.outcome import OutcomeKind
from worker.members.merge_plan import TimedPatch
from worker.members.record import EventOrder
from worker.sandbox.request import Reply, Request, json_reply
from worker.signal.patch import Patch

MANY = 64


def address(number: int) -> str:
    return f"p{number}@example.com"


def mailgun_with_members(
    *, bad: Collection[int] = (), status: int = 500, every: bool = False
) -> HoldsMembers:
    """Mailgun with many members, which answers `status` to writes that name a bad one, or to every write."""
    there = HoldsMembers(
        *({"address": address(each), "vars": {"plan": "free"}} for each in range(MANY))
    )

    def fails(call: Request) -> Reply | None:
        named = any(f"{address(each)}" in str(call.fields) for each in bad)
        return (
            json_reply(status, {"message": "no"})
            if call.method == "POST" and (every or named)
            else None
        )

    there.meanwhile = dict.fromkeys(range(1, 2000), fails)
    return there


def deliver(
    own: OwnIntegration, there: HoldsMembers, numbers: Any = range(MANY), **options: Any
) -> dict[int, OutcomeKind]:
    """How one event of each of these members ended."""
    here = options.pop("here", None) or own.delivery(there.asking(), batch=100, **options)
    found = deliver_all(
        here,
        [
            TimedPatch(Patch(address(each), None, {"plan": "pro"}, None, None), EventOrder(1.0))
            for each in numbers
        ],
    )
    return {number: each.kind for number, each in zip(numbers, found, strict=True)}


def calls(there: HoldsMembers) -> int:
    return sum(each.method == "POST" for each in there.calls)


@pytest.mark.parametrize("bad", [{0}, {17}, {63}])
@pytest.mark.parametrize("status", [500, 503, 408])
def test_member_that_makes_a_bulk_call_fail_delays_no_other_member(
    own: OwnIntegration, bad: set[int], status: int
) -> None:
    there = mailgun_with_members(bad=bad, status=status)
    kinds = deliver(own, there)
    assert {number for number, kind in kinds.items() if kind is OutcomeKind.UNAVAILABLE} == bad
    assert set(kinds.values()) == {OutcomeKind.DELIVERED, OutcomeKind.UNAVAILABLE}
    assert calls(there) <= 14
    assert own.gate().state().kind is None
    assert own.gate().state().members <= 1


def test_bulk_call_is_split_only_once_when_mailgun_is_away(own: OwnIntegration) -> None:
    there = mailgun_with_members(every=True)
    assert set(deliver(own, there).values()) == {OutcomeKind.UNAVAILABLE}
    assert calls(there) == 3
    assert (own.gate().state().kind, own.gate().state().members) == ("unavailable", MANY)


def test_members_of_a_bulk_call_without_an_answer_go_alone_next_time(own: OwnIntegration) -> None:
    there = mailgun_with_members()

    def times_out(call: Request) -> Reply | None:
        if call.method == "POST" and address(17) in str(call.fields):
            timed_out()
        return None

    there.meanwhile = dict.fromkeys(range(1, 2000), times_out)
    here = own.delivery(there.asking(), batch=100)
    assert set(deliver(own, there, here=here).values()) == {OutcomeKind.UNAVAILABLE}
    assert own.gate().state().kind is None
    kinds = deliver(own, there, here=here)
    assert {number for number, kind in kinds.items() if kind is not OutcomeKind.DELIVERED} == {17}


@pytest.mark.parametrize(
    ("status", "threshold"), [(302, 3), (402, 3), (405, 3), (413, 3), (418, 3), (401, 3), (400, 20)]
)
@pytest.mark.parametrize("batch", [1, 100])
def test_refusals_of_every_member_cost_few_events(
    own: OwnIntegration, status: int, threshold: int, batch: int
) -> None:
    there = mailgun_with_members(every=True, status=status)
    gate = own.gate(incident_threshold=3, rejected_threshold=20)
    here = own.delivery(there.asking(), ledger=own.ledger(gate), batch=batch)
    kinds = list(deliver(own, there, here=here).values())
    assert kinds.count(OutcomeKind.ON_HOLD) == MANY - threshold
    assert gate.state().kind == "incident"


@pytest.mark.parametrize("status", [302, 400, 403])
def test_members_refused_among_others_are_no_incident(own: OwnIntegration, status: int) -> None:
    there = mailgun_with_members(bad={1, 20, 40}, status=status)
    gate = own.gate(incident_threshold=4)
    kinds = deliver(
        own, there, here=own.delivery(there.asking(), ledger=own.ledger(gate), batch=100)
    )
    assert sum(kind is OutcomeKind.DELIVERED for kind in kinds.values()) == MANY - 3
    assert gate.state().kind is None


def test_lone_429_without_a_hint_stops_no_other_event(own: OwnIntegration) -> None:
    there = mailgun_with_members()
    there.meanwhile = {5: lambda _: Reply(429, b"{}")}
    kinds = deliver(own, there)
    assert list(kinds.values()).count(OutcomeKind.THROTTLED) == 1
    assert list(kinds.values()).count(OutcomeKind.DELIVERED) == MANY - 1
