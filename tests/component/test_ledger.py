"""The ledger: one delivery per member at a time, and the member ends right whatever comes between – on a real server."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise, permutations, product
from typing import Any

import pytest
from pydantic import SecretStr

from tests.adapters import HoldsOneMember, answered, asking, timed_out
from tests.integrations import OwnIntegration, deliver_one
from tests.sandboxes import RunningSandbox
from tests.servers import eventually
from worker.mailgun.client import MailgunClient
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.lease import LeaseResult, MemberLease, OnHold
from worker.members.merge import SubscriptionRules
from worker.sandbox.state import SandboxConfig
from worker.signal.patch import Patch

ADDRESS = "jane@example.com"
HELD = {
    "address": ADDRESS,
    "name": "Jane",
    "subscribed": True,
    "vars": {"plan": "free", "company": "Acme"},
}


def patch(consent: bool | None = None, name: str | None = None, **fields: object) -> Patch:  # noqa: FBT001
    return Patch(ADDRESS, name, fields, consent, None)


def deliver(
    own: OwnIntegration,
    there: HoldsOneMember,
    patch: Patch,
    at: float = 1,
    *,
    rules: SubscriptionRules | None = None,
    **ledger: Any,
) -> Outcome:
    delivery = own.delivery(asking(there.far), ledger=own.ledger(**ledger), rules=rules)
    return deliver_one(delivery, patch, at)


def vars_of(there: HoldsOneMember) -> dict[str, Any]:
    assert there.held
    return dict(there.held["vars"])


def is_subscribed(there: HoldsOneMember) -> bool:
    assert there.held
    return bool(there.held["subscribed"])


def keys(own: OwnIntegration, kind: str) -> list[str]:
    return list(own.redis.scan_iter(f"signal:{own.name}:{kind}:*"))


def only_lease(opened: list[LeaseResult] | OnHold) -> MemberLease:
    """The one member that was opened."""
    assert not isinstance(opened, OnHold)
    (lease,) = opened
    assert isinstance(lease, MemberLease)
    return lease


def acquired_lease(own: OwnIntegration, **ledger: Any) -> MemberLease:
    return only_lease(own.ledger(**ledger).acquire([ADDRESS]))


# One delivery per member at a time


def test_concurrent_deliveries_of_a_member_take_turns_and_lose_no_field(
    own: OwnIntegration,
) -> None:
    config = SandboxConfig()
    with RunningSandbox("--log-size", "0", "--latency-ms", "3") as sandbox:
        mailgun = MailgunClient(
            base_url=sandbox.base_url,
            key=SecretStr("sandbox-key"),
            list_address=config.lists[0],
            connect_timeout=10,
            read_timeout=30,
        )
        delivery = own.delivery(mailgun)

        def until_delivered(number: int) -> OutcomeKind | None:
            # The later an event starts, the older it is: what all of them set is the first one's in the end.
            sets = {"last_page_url": f"/{number}", f"field_{number}": number}
            mine = Patch(ADDRESS, None, sets, None, None)
            return eventually(
                lambda: _unless_locked(deliver_one(delivery, mine, 1000.0 - number).kind), 60
            )

        with ThreadPoolExecutor(16) as threads:
            kinds = list(threads.map(until_delivered, range(48)))
        records = [each for each in sandbox.control.requests() if each.address == ADDRESS]
        members = sandbox.control.members()
    assert set(kinds) == {OutcomeKind.DELIVERED}
    assert members[ADDRESS].vars == {
        "last_page_url": "/0",
        **{f"field_{each}": each for each in range(48)},
    }
    assert [each.method for each in records] == ["GET", "POST"] * 48
    assert all(
        before.answered_at is not None and before.answered_at <= after.at
        for before, after in pairwise(records)
    )


def _unless_locked(kind: OutcomeKind) -> OutcomeKind | None:
    return None if kind is OutcomeKind.LOCKED else kind


def test_member_leased_by_another_delivery_is_locked_without_a_request(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    acquired_lease(own)
    found = deliver(own, there, patch(plan="pro"))
    assert (found.kind, found.requests) == (OutcomeKind.LOCKED, 0)
    assert there.asked() == []


def test_another_member_is_not_locked(own: OwnIntegration) -> None:
    acquired_lease(own)
    only_lease(own.ledger().acquire(["john@example.com"]))


def test_lease_of_a_member_is_separate_for_each_integration(own: OwnIntegration) -> None:
    acquired_lease(own)
    only_lease(OwnIntegration(own.redis, f"{own.name}-other").ledger().acquire([ADDRESS]))


def test_the_lock_of_a_delivery_that_died_ends_with_its_lease(own: OwnIntegration) -> None:
    acquired_lease(own, lease_seconds=60)
    (lock,) = keys(own, "lock")
    assert 0 < own.redis.pttl(lock) <= 60_000
    own.redis.pexpire(lock, 100)
    eventually(lambda: isinstance(own.ledger().acquire([ADDRESS])[0], MemberLease))  # type: ignore[index]


def test_a_delivery_ends_with_the_lock_released(own: OwnIntegration) -> None:
    for refused in (None, 400, 401, 429, 503):
        there = HoldsOneMember(None)
        if refused:
            there.instead["GET"] = lambda status=refused: answered(status)  # type: ignore[misc]
        deliver(own, there, patch(plan="pro"))
        assert keys(own, "lock") == []


def test_write_without_an_answer_locks_the_member_until_it_has_settled(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.afterwards["POST"] = timed_out
    assert deliver(own, there, patch(plan="pro"), settle_seconds=60).kind is OutcomeKind.UNAVAILABLE
    (lock,) = keys(own, "lock")
    assert 0 < own.redis.pttl(lock) <= 60_000
    assert deliver(own, there, patch(plan="pro"), settle_seconds=60).kind is OutcomeKind.LOCKED
    own.redis.delete(lock)  # the time is over
    assert deliver(own, there, patch(plan="pro"), settle_seconds=60).kind is OutcomeKind.UNCHANGED
    assert keys(own, "lock") == []


@pytest.mark.parametrize(
    ("method", "status"), [("GET", None), ("GET", 503), ("POST", 503), ("POST", 400)]
)
def test_a_read_or_a_write_that_was_answered_has_nothing_to_settle(
    own: OwnIntegration, method: str, status: int | None
) -> None:
    there = HoldsOneMember(HELD)
    there.instead[method] = timed_out if status is None else lambda: answered(status)
    deliver(own, there, patch(plan="pro"), settle_seconds=60)
    assert keys(own, "lock") == []


def lease_goes_to_another(own: OwnIntegration) -> MemberLease:
    own.redis.delete(*keys(own, "lock"))
    return acquired_lease(own)


def test_delivery_whose_lease_ended_before_the_write_does_not_write(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.meanwhile["GET"] = lambda: lease_goes_to_another(own)
    found = deliver(own, there, patch(consent=False, plan="pro"))
    assert (found.kind, there.asked(), there.held) == (OutcomeKind.LOCKED, ["GET"], HELD)
    assert len(keys(own, "lock")) == 1
    (key,) = keys(own, "member")
    assert own.redis.hkeys(key) == ["late_at"]


def test_lease_lost_during_the_write_leaves_the_new_lock_and_record(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.meanwhile["POST"] = lambda: lease_goes_to_another(own)
    assert deliver(own, there, patch(plan="pro")).kind is OutcomeKind.LOCKED
    assert len(keys(own, "lock")) == 1
    (key,) = keys(own, "member")
    assert own.redis.hkeys(key) == ["late_at"]


# Newer and older


def test_older_event_sets_only_fields_that_no_newer_event_set(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro", name="J. Doe"), at=20)
    assert (
        deliver(own, there, patch(plan="basic", name="Jane", company="Umbrella"), at=10).kind
        is OutcomeKind.DELIVERED
    )
    assert vars_of(there) == {"plan": "pro", "company": "Umbrella"}
    assert there.held
    assert there.held["name"] == "J. Doe"


def test_older_event_with_nothing_left_to_set_is_superseded_unasked(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), at=20)
    there.far.requests.clear()
    found = deliver(own, there, patch(plan="basic"), at=10)
    assert (found.kind, found.requests, there.asked()) == (OutcomeKind.SUPERSEDED, 0, [])


def test_older_event_keeps_the_time_of_a_newer_field(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), at=20)
    deliver(own, there, patch(plan="basic", company="Umbrella"), at=10)
    assert deliver(own, there, patch(plan="free"), at=15).kind is OutcomeKind.SUPERSEDED
    assert vars_of(there) == {"plan": "pro", "company": "Umbrella"}


def test_event_that_changed_nothing_still_supersedes_an_older_one(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    assert deliver(own, there, patch(plan="free"), at=20).kind is OutcomeKind.UNCHANGED
    assert deliver(own, there, patch(plan="pro"), at=10).kind is OutcomeKind.SUPERSEDED


def test_failed_event_supersedes_no_older_one(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = lambda: answered(400)
    assert deliver(own, there, patch(plan="enterprise"), at=20).kind is OutcomeKind.REJECTED
    assert deliver(own, there, patch(plan="pro"), at=10).kind is OutcomeKind.DELIVERED


def test_repeated_event_changes_nothing(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    assert (
        deliver(own, there, patch(plan="pro", consent=False), at=20).kind is OutcomeKind.DELIVERED
    )
    held = there.held
    assert (
        deliver(own, there, patch(plan="pro", consent=False), at=20).kind is OutcomeKind.UNCHANGED
    )
    assert there.held == held


def test_event_with_only_an_address_creates_the_member(own: OwnIntegration) -> None:
    there = HoldsOneMember(None)
    assert deliver(own, there, patch()).kind is OutcomeKind.DELIVERED
    assert deliver(own, there, patch()).kind is OutcomeKind.UNCHANGED


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_member_ends_the_same_in_every_order_of_events(
    own: OwnIntegration, order: tuple[int, ...]
) -> None:
    events = [
        patch(plan="free", last_page_url="/a"),
        patch(plan="pro", consent=False, name="Jane"),
        patch(company="Acme", consent=True),
        patch(last_page_url="/b", company="Umbrella"),
    ]
    there = HoldsOneMember(None)
    for number in order:
        deliver(own, there, events[number], at=number, cache_seconds=60)
    assert there.held == {
        "address": ADDRESS,
        "name": "Jane",
        "subscribed": True,
        "vars": {"plan": "pro", "company": "Umbrella", "last_page_url": "/b"},
    }


def test_dead_letter_replayed_later_sets_only_fields_without_newer_values(
    own: OwnIntegration,
) -> None:
    day = 86_400.0
    there = HoldsOneMember(HELD)
    dead = patch(plan="basic", company="Umbrella", consent=True)
    there.instead["POST"] = lambda: answered(400)
    deliver(own, there, dead, at=0)
    deliver(own, there, patch(plan="pro", consent=False), at=day)
    deliver(own, there, patch(last_page_url="/a"), at=2 * day)
    own.later(3 * day)
    assert deliver(own, there, dead, at=0).kind is OutcomeKind.DELIVERED
    assert vars_of(there) == {"plan": "pro", "company": "Umbrella", "last_page_url": "/a"}
    assert not is_subscribed(there)


def test_times_are_kept_exactly(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    at = 1714557600.1234567
    deliver(own, there, patch(plan="pro"), at=at)
    assert deliver(own, there, patch(plan="basic"), at=at - 1e-6).kind is OutcomeKind.SUPERSEDED
    assert deliver(own, there, patch(plan="basic"), at=at + 1e-6).kind is OutcomeKind.DELIVERED


# The copy


def test_copy_within_its_time_proves_that_no_write_is_needed(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), 1, cache_seconds=100)
    there.far.requests.clear()
    found = deliver(own, there, patch(plan="pro", company="Acme"), 2, cache_seconds=100)
    assert (found.kind, found.requests, there.asked()) == (OutcomeKind.UNCHANGED, 0, [])
    assert (
        deliver(own, there, patch(plan="basic"), 1.5, cache_seconds=100).kind
        is OutcomeKind.SUPERSEDED
    )


def test_member_that_was_read_but_not_written_is_cached_too(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    for at in (1, 2):
        assert (
            deliver(own, there, patch(plan="free"), at, cache_seconds=100).kind
            is OutcomeKind.UNCHANGED
        )
    assert there.asked() == ["GET"]


@pytest.mark.parametrize("between", [[], [50], [30, 30]])
def test_copy_expires_after_its_time_even_when_it_is_used(
    own: OwnIntegration, between: list[float]
) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), cache_seconds=100)
    for seconds in between:
        own.later(seconds)
        deliver(own, there, patch(plan="pro"), cache_seconds=100)
    assert there.asked() == ["GET", "POST"]
    own.later(100 - sum(between))
    deliver(own, there, patch(plan="pro"), cache_seconds=100)
    assert there.asked() == ["GET", "POST", "GET"]


def test_event_without_a_cache_reads_the_member(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    for _ in range(3):
        deliver(own, there, patch(plan="free"), cache_seconds=0)
    assert there.asked() == ["GET"] * 3


def test_subscribe_is_never_written_from_the_copy_so_an_opt_out_stands(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro", consent=True), 1, cache_seconds=100)
    there.unsubscribe()
    assert (
        deliver(own, there, patch(plan="basic", consent=True), 2, cache_seconds=100).kind
        is OutcomeKind.DELIVERED
    )
    assert not is_subscribed(there)
    assert vars_of(there)["plan"] == "basic"


def test_opt_out_stands_when_the_copy_proves_that_no_write_is_needed(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro", consent=True), 1, cache_seconds=100)
    there.unsubscribe()
    assert (
        deliver(own, there, patch(plan="pro", consent=True), 2, cache_seconds=100).kind
        is OutcomeKind.UNCHANGED
    )
    own.later(100)
    deliver(own, there, patch(plan="basic", consent=True), 3, cache_seconds=100)
    assert not is_subscribed(there)


def test_opt_out_hidden_by_the_copy_is_not_recorded_as_our_unsubscribe(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), 1, cache_seconds=100)
    there.unsubscribe()
    deliver(own, there, patch(consent=False), 2, cache_seconds=100)
    deliver(own, there, patch(consent=True), 3, cache_seconds=100)
    assert not is_subscribed(there)


def test_copy_is_never_written_back_even_for_an_unsubscribed_member(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember({**HELD, "subscribed": False})
    deliver(own, there, patch(plan="pro"), 1, cache_seconds=100)
    there.held = {**HELD, "subscribed": True}
    assert (
        deliver(own, there, patch(plan="basic"), 2, cache_seconds=100).kind is OutcomeKind.DELIVERED
    )
    assert there.held == {**HELD, "subscribed": True, "vars": {"plan": "basic", "company": "Acme"}}


def test_the_copy_is_not_trusted_after_a_delivery_that_died(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), cache_seconds=100)
    lease = acquired_lease(own, cache_seconds=100)
    assert lease.cached
    assert own.ledger().renew([lease], [lease.record], 0) == [True]
    own.redis.delete(*keys(own, "lock"))
    assert acquired_lease(own, cache_seconds=100).cached is None


def test_the_copy_is_not_trusted_after_a_write_without_an_answer(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro"), 1, cache_seconds=100)
    there.afterwards["POST"] = timed_out
    assert (
        deliver(own, there, patch(plan="basic"), 2, cache_seconds=100).kind
        is OutcomeKind.UNAVAILABLE
    )
    there.far.requests.clear()
    deliver(own, there, patch(plan="pro"), 3, cache_seconds=100)
    assert there.asked()[0] == "GET"
    assert vars_of(there)["plan"] == "pro"


def test_a_copy_keeps_every_value_and_its_json_type(own: OwnIntegration) -> None:
    held = {
        **HELD,
        "name": "Jäne 😀",
        "vars": {"a": 1, "b": True, "c": None, "d": [], "e": {}, "f": 1.5, "g": "ü"},
    }
    there = HoldsOneMember(held)
    deliver(own, there, patch(a=1), 1, cache_seconds=100)
    again = patch(**held["vars"])  # type: ignore[arg-type]
    assert deliver(own, there, again, 2, cache_seconds=100).kind is OutcomeKind.UNCHANGED
    assert there.asked() == ["GET"]


# Whose "no" it is


def refused() -> Any:
    return answered(400)


def perform(own: OwnIntegration, there: HoldsOneMember, what: str, at: float) -> None:
    """What one letter stands for."""
    match what:
        case "denied":
            deliver(own, there, patch(consent=False), at)
        case "denied, the answer lost":
            there.afterwards["POST"] = timed_out
            deliver(own, there, patch(consent=False), at)
        case "denied, refused":
            there.instead["POST"] = refused
            deliver(own, there, patch(consent=False), at)
        case "granted":
            deliver(own, there, patch(consent=True), at)
        case "opt-out":
            there.unsubscribe()
    there.afterwards.clear()
    there.instead.clear()


WHAT_HAPPENS = ["denied", "denied, the answer lost", "denied, refused", "granted", "opt-out"]


@pytest.mark.parametrize("first", WHAT_HAPPENS)
def test_granted_consent_undoes_our_unsubscribe_but_never_an_opt_out(
    own: OwnIntegration, first: str
) -> None:
    for number, rest in enumerate(product(WHAT_HAPPENS, repeat=3)):
        each = OwnIntegration(own.redis, f"{own.name}-{number}")
        there, opted_out = HoldsOneMember(HELD), False
        for at, what in enumerate((first, *rest, "granted")):
            opted_out = opted_out or (what == "opt-out" and is_subscribed(there))
            perform(each, there, what, at)
        assert is_subscribed(there) is not opted_out, (first, *rest)


def test_our_unsubscribe_is_recorded_before_the_request(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    records: list[dict[str, Any]] = []

    def look() -> None:
        (key,) = keys(own, "member")
        records.append(json.loads(str(own.redis.hget(key, "record"))))

    there.meanwhile["POST"] = look
    deliver(own, there, patch(consent=False, plan="pro"), at=5)
    (record,) = records
    assert record.keys() == {"no"}
    assert record["no"][1] == [5, 0]


def test_unsubscribe_stored_by_a_killed_delivery_is_ours(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)

    class Killed(BaseException):
        pass

    def killed() -> Any:
        own.redis.delete(*keys(own, "lock"))
        raise Killed

    there.afterwards["POST"] = killed
    with pytest.raises(Killed):
        deliver(own, there, patch(consent=False), at=1)
    assert not is_subscribed(there)
    deliver(own, there, patch(consent=True), at=2)
    assert is_subscribed(there)


def test_unsubscribe_that_mailgun_did_not_store_is_not_ours_after_a_read(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = lambda: answered(503)
    deliver(own, there, patch(consent=False), at=1)
    there.instead["POST"] = lambda: answered(503)
    deliver(own, there, patch(plan="pro"), at=2)
    there.unsubscribe()
    deliver(own, there, patch(consent=True), at=3)
    assert not is_subscribed(there)


def test_unsubscribe_stored_by_an_unanswered_second_attempt_is_ours(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = lambda: answered(503)
    deliver(own, there, patch(consent=False), at=1)
    there.afterwards["POST"] = timed_out
    deliver(own, there, patch(consent=False), at=1)
    assert not is_subscribed(there)
    deliver(own, there, patch(consent=True), at=2)
    assert is_subscribed(there)


def test_new_member_created_unsubscribed_can_be_subscribed(own: OwnIntegration) -> None:
    there = HoldsOneMember(None)
    rules = SubscriptionRules(subscribe_new=False)
    deliver(own, there, patch(plan="pro"), 1, rules=rules)
    assert not is_subscribed(there)
    deliver(own, there, patch(consent=True), 2, rules=rules)
    assert is_subscribed(there)


def test_granted_consent_undoes_an_opt_out_with_resubscribe(own: OwnIntegration) -> None:
    there = HoldsOneMember({**HELD, "subscribed": False})
    deliver(own, there, patch(consent=True), rules=SubscriptionRules(resubscribe=True))
    assert is_subscribed(there)


def test_granted_consent_older_than_our_unsubscribe_does_not_undo_it(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(consent=False), at=20)
    deliver(own, there, patch(consent=True, plan="pro"), at=10)
    assert not is_subscribed(there)
    assert vars_of(there)["plan"] == "pro"


# What is stored


def test_member_is_read_and_loses_no_field_when_the_ledger_is_lost(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    deliver(own, there, patch(plan="pro", name="J. Doe"), 1, cache_seconds=100)
    there.unsubscribe()
    own.redis.flushdb()
    assert (
        deliver(own, there, patch(company="Umbrella", consent=True), 2, cache_seconds=100).kind
        is OutcomeKind.DELIVERED
    )
    assert there.held == {
        **HELD,
        "name": "J. Doe",
        "subscribed": False,
        "vars": {"plan": "pro", "company": "Umbrella"},
    }


def test_a_record_lives_its_days_after_its_last_use(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    for at, use in (
        (1, patch(plan="pro")),
        (2, patch(plan="pro")),
        (1, patch(plan="basic")),
        (2, patch(consent=False)),
    ):
        deliver(own, there, use, at, cache_seconds=100)
        (key,) = keys(own, "member")
        assert 30 * 86_400 - 60 < own.redis.ttl(key) <= 30 * 86_400
        own.redis.expire(key, 1000)


def test_record_written_before_the_request_lives_as_long(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    lives: list[int] = []
    there.meanwhile["POST"] = lambda: lives.append(own.redis.ttl(keys(own, "member")[0]))
    deliver(own, there, patch(consent=False))
    assert 30 * 86_400 - 60 < lives[0] <= 30 * 86_400


def test_ledger_keys_hold_no_address_and_depend_on_the_digest_key(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.meanwhile["GET"] = lambda: locks.extend(keys(own, "lock"))
    locks: list[str] = []
    deliver(own, there, patch(plan="pro"))
    stored = keys(own, "member") + locks
    assert len(stored) == 2
    assert not any("jane" in each or "example" in each for each in stored)
    other = replace(own.ledger(), digest_key=b"other")
    lease = only_lease(other.acquire([ADDRESS]))
    assert lease.record.orders == {}


def test_delivery_reports_its_outcome_to_the_gate(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.instead["GET"] = lambda: answered(429, b"", {"Retry-After": "300"})
    deliver(own, there, patch(plan="pro"))
    assert own.gate().state().kind == "throttled"
    assert own.gate().seconds_until_open() > 200
