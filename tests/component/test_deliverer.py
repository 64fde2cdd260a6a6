"""One attempt against a Mailgun that holds one member: what Mailgun holds afterwards, and what it was asked."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.adapters import Far, HoldsOneMember, answered, asking, timed_out
from tests.integrations import OwnIntegration, deliver_one
from tests.integrations import answered as throttled
from worker.delivery.permits import Permits
from worker.delivery.waiting_outcomes import on_hold_outcome
from worker.mailgun.member import Member
from worker.mailgun.outcome import Outcome, OutcomeKind, why
from worker.members.lease import LeaseResult, MemberLease, OnHold
from worker.members.ledger import Ledger
from worker.members.record import Record
from worker.signal.patch import Patch

HELD = {
    "address": "jane@example.com",
    "name": "Jane",
    "subscribed": True,
    "vars": {"plan": "pro", "beta": 1},
}


def outcome_of(own: OwnIntegration, there: HoldsOneMember, patch: Patch, **options: Any) -> Outcome:
    return deliver_one(own.delivery(asking(there.far), **options), patch, 1.0)


def patch(**fields: object) -> Patch:
    return Patch("jane@example.com", None, fields, None, None)


def test_a_new_member_is_written(own: OwnIntegration) -> None:
    there = HoldsOneMember(None)
    assert outcome_of(own, there, patch(plan="pro")).kind is OutcomeKind.DELIVERED
    assert there.held == {
        "address": "jane@example.com",
        "name": "",
        "subscribed": True,
        "vars": {"plan": "pro"},
    }
    assert there.asked() == ["GET", "POST"]


def test_fields_that_the_event_does_not_set_stay(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    assert outcome_of(own, there, patch(plan="free")).kind is OutcomeKind.DELIVERED
    assert there.held == {**HELD, "vars": {"plan": "free", "beta": 1}}


def test_member_that_is_current_on_mailgun_is_not_written(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    assert outcome_of(own, there, patch(plan="pro")).kind is OutcomeKind.UNCHANGED
    assert there.asked() == ["GET"]


@pytest.mark.parametrize("value", [True, "1", None, [1]])
def test_a_value_of_another_json_type_is_written(own: OwnIntegration, value: object) -> None:
    there = HoldsOneMember(HELD)
    assert outcome_of(own, there, patch(beta=value)).kind is OutcomeKind.DELIVERED
    assert there.held is not None
    assert json.dumps(there.held["vars"]) == json.dumps({"plan": "pro", "beta": value})


def test_the_outcome_has_the_member_and_the_number_of_requests(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    written = outcome_of(own, there, patch(plan="free"))
    assert written.member == Member(
        "jane@example.com", "Jane", subscribed=True, vars={"plan": "free", "beta": 1}
    )
    assert written.requests == 2
    assert outcome_of(own, there, patch(plan="free")).requests == 1


def test_a_member_that_cannot_be_read_is_not_written(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.instead["GET"] = lambda: answered(503)
    found = outcome_of(own, there, patch(plan="free"))
    assert (found.kind, found.requests) == (OutcomeKind.UNAVAILABLE, 1)
    assert there.asked() == ["GET"]
    assert there.held == HELD


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, OutcomeKind.THROTTLED),
        (400, OutcomeKind.REJECTED),
        (401, OutcomeKind.UNAUTHORIZED),
        (500, OutcomeKind.UNAVAILABLE),
    ],
)
def test_a_refused_write_changes_nothing(
    own: OwnIntegration, status: int, kind: OutcomeKind
) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = lambda: answered(status)
    found = outcome_of(own, there, patch(plan="free"))
    assert (found.kind, found.requests) == (kind, 2)
    assert there.held == HELD


def test_a_hold_that_begins_after_the_read_stops_the_write(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.meanwhile["GET"] = own.gate().pause
    found = outcome_of(own, there, patch(plan="free"))
    assert (found.kind, found.requests) == (OutcomeKind.ON_HOLD, 1)
    assert there.held == HELD
    own.gate().resume()
    assert outcome_of(own, there, patch(plan="free")).kind is OutcomeKind.DELIVERED


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_request_is_sent_while_on_hold(own: OwnIntegration, overwrite: bool) -> None:  # noqa: FBT001
    there = HoldsOneMember(HELD)
    own.gate().pause()
    found = outcome_of(own, there, patch(plan="free"), overwrite=overwrite)
    assert (found.kind, found.requests) == (OutcomeKind.ON_HOLD, 0)
    assert there.asked() == []


class ThrottledElsewhere(Ledger):
    """A ledger of a process that gets 429s in another thread as soon as one of its scripts ends.

    Attributes:
        after: The method after which they come: acquire or renew.
        holds: Whether they begin a hold; a single one does not.
    """

    after = "acquire"
    holds = True

    def acquire(self, addresses: Sequence[str]) -> list[LeaseResult] | OnHold:
        found = super().acquire(addresses)
        self._throttle("acquire")
        return found

    def renew(
        self, leases: Sequence[MemberLease], notes: Sequence[Record], charge: float
    ) -> list[bool] | OnHold:
        found = super().renew(leases, notes, charge)
        self._throttle("renew")
        return found

    def _throttle(self, method: str) -> None:
        if method == self.after:
            throttled(self.gate, OutcomeKind.THROTTLED, times=2 if self.holds else 1)
            self.gate.note_throttled()


@pytest.mark.parametrize(("after", "requests"), [("acquire", []), ("renew", ["GET"])])
@pytest.mark.parametrize("batch", [1, 100])
def test_request_permitted_before_a_429_of_another_thread_is_not_sent(
    own: OwnIntegration, after: str, requests: list[str], batch: int
) -> None:
    there = HoldsOneMember(HELD)
    ledger = ThrottledElsewhere(**vars(own.ledger()))
    ledger.after = after
    found = outcome_of(own, there, patch(plan="free"), ledger=ledger, batch=batch)
    assert (found.kind, there.asked()) == (OutcomeKind.ON_HOLD, requests)
    own.later(61)
    assert outcome_of(own, there, patch(plan="free")).kind is OutcomeKind.DELIVERED


@pytest.mark.parametrize("after", ["acquire", "renew"])
def test_single_429_of_another_thread_stops_nothing(own: OwnIntegration, after: str) -> None:
    there = HoldsOneMember(HELD)
    ledger = ThrottledElsewhere(**vars(own.ledger()))
    ledger.after, ledger.holds = after, False
    found = outcome_of(own, there, patch(plan="free"), ledger=ledger)
    assert (found.kind, there.asked()) == (OutcomeKind.DELIVERED, ["GET", "POST"])


def test_question_of_one_thread_lets_no_other_of_its_batch_send(own: OwnIntegration) -> None:
    gate = own.gate()
    with Permits(gate) as permits:
        gate.note_throttled()
        throttles = gate.throttles  # one thread asks, and another gets the next 429
        gate.note_throttled()
        assert permits.are_stale
        permits.note_permitted(throttles)
        assert permits.are_stale
        permits.note_permitted(gate.throttles)
        permits.note_permitted(throttles)  # the answer to an older question comes late
        assert not permits.are_stale


@pytest.mark.parametrize("overwrite", [False, True])
def test_hold_begun_by_an_attempt_is_reported_with_its_reason_only(
    own: OwnIntegration,
    overwrite: bool,  # noqa: FBT001
) -> None:
    there = HoldsOneMember(HELD)
    told: list[tuple[str, str]] = []
    for method in ("GET", "POST"):
        there.instead[method] = lambda: answered(
            429, b'{"message":"too many for jane@example.com"}', {"Retry-After": "60"}
        )
    outcome_of(own, there, patch(), overwrite=overwrite, told=lambda *hold: told.append(hold))
    assert told == [("throttled", "throttled (429): 29 characters, digest 09be528237d0")]
    assert own.gate().seconds_until_open() > 0


def test_overwrite_mode_reads_nothing_and_writes_only_the_events_fields(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    found = outcome_of(own, there, patch(plan="free"), overwrite=True)
    assert (found.kind, found.requests) == (OutcomeKind.DELIVERED, 1)
    assert there.held == {
        "address": "jane@example.com",
        "name": "",
        "subscribed": True,
        "vars": {"plan": "free"},
    }
    assert there.asked() == ["POST"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_bug_during_a_request_leaves_the_member_free_for_the_next_attempt(
    own: OwnIntegration,
    overwrite: bool,  # noqa: FBT001
) -> None:
    there = HoldsOneMember(None)

    def bug() -> Any:
        raise AssertionError("bug")

    there.meanwhile["POST"] = bug
    with pytest.raises(AssertionError, match="bug"):
        outcome_of(own, there, patch(), overwrite=overwrite)
    assert outcome_of(own, there, patch(), overwrite=overwrite).kind is OutcomeKind.DELIVERED


def test_an_attempt_without_an_answer_is_unavailable(own: OwnIntegration) -> None:
    found = deliver_one(own.delivery(asking(Far(lambda _: timed_out()))), patch(), 1.0)
    assert found.kind is OutcomeKind.UNAVAILABLE
    assert "jane" not in why(found)


def test_outcome_is_described_in_one_short_line_without_addresses() -> None:
    found = why(Outcome(OutcomeKind.REJECTED, 400, "bad\naddress jane@example.com " + "x" * 500))
    assert found == "rejected (400): 529 characters, digest 9f6366fdfe5f"
    assert (
        why(Outcome(OutcomeKind.CRASHED, None, "bad\naddress jane@example.com"))
        == "crashed: bad address <address>"
    )
    known = "'vars' parameter is not a valid JSON"
    assert why(Outcome(OutcomeKind.REJECTED, 400, known)) == f"rejected (400): {known}"
    assert why(on_hold_outcome(3.6)) == "on_hold: the integration is on hold for 4 s"
