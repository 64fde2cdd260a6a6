"""The ledger: one delivery per member at a time, and the member ends right whatever comes between – on a real server."""

import json
from concurrent.futures import ThreadPoolExecutor
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


def bring(
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


def only_visit(opened: list[LeaseResult] | OnHold) -> MemberLease:
    """The one member that was opened."""
    assert not isinstance(opened, OnHold)
    (lease,) = opened
    assert isinstance(lease, MemberLease)
    return lease


def opened(own: OwnIntegration, **ledger: Any) -> MemberLease:
    return only_visit(own.ledger(**ledger).acquire([ADDRESS]))


# One delivery per member at a time


def test_over_many_threads_one_delivery_has_a_member_at_a_time_and_no_field_is_lost(
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
                lambda: _unless_busy(deliver_one(delivery, mine, 1000.0 - number).kind), 60
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


def _unless_busy(kind: OutcomeKind) -> OutcomeKind | None:
    return None if kind is OutcomeKind.BUSY else kind


def test_a_member_that_another_delivery_has_is_busy_and_nothing_is_asked(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    opened(own)
    found = bring(own, there, patch(plan="pro"))
    assert (found.kind, found.requests) == (OutcomeKind.BUSY, 0)
    assert there.asked() == []


def test_another_member_is_not_busy(own: OwnIntegration) -> None:
    opened(own)
    only_visit(own.ledger().acquire(["john@example.com"]))


def test_another_integrations_member_is_another(own: OwnIntegration) -> None:
    opened(own)
    only_visit(OwnIntegration(own.redis, f"{own.name}-other").ledger().acquire([ADDRESS]))


def test_the_lock_of_a_delivery_that_died_ends_with_its_lease(own: OwnIntegration) -> None:
    opened(own, lease_seconds=60)
    (lock,) = keys(own, "lock")
    assert 0 < own.redis.pttl(lock) <= 60_000
    own.redis.pexpire(lock, 100)
    eventually(lambda: isinstance(own.ledger().acquire([ADDRESS])[0], MemberLease))  # type: ignore[index]


def test_a_delivery_ends_with_the_lock_released(own: OwnIntegration) -> None:
    for refused in (None, 400, 401, 429, 503):
        there = HoldsOneMember(None)
        if refused:
            there.instead["GET"] = lambda status=refused: answered(status)  # type: ignore[misc]
        bring(own, there, patch(plan="pro"))
        assert keys(own, "lock") == []


def test_after_a_write_without_an_answer_nobody_has_the_member_until_that_has_settled(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.afterwards["POST"] = timed_out
    assert bring(own, there, patch(plan="pro"), settle_seconds=60).kind is OutcomeKind.UNAVAILABLE
    (lock,) = keys(own, "lock")
    assert 0 < own.redis.pttl(lock) <= 60_000
    assert bring(own, there, patch(plan="pro"), settle_seconds=60).kind is OutcomeKind.BUSY
    own.redis.delete(lock)  # the time is over
    assert bring(own, there, patch(plan="pro"), settle_seconds=60).kind is OutcomeKind.UNCHANGED
    assert keys(own, "lock") == []


@pytest.mark.parametrize(
    ("method", "status"), [("GET", None), ("GET", 503), ("POST", 503), ("POST", 400)]
)
def test_a_read_or_a_write_that_was_answered_has_nothing_to_settle(
    own: OwnIntegration, method: str, status: int | None
) -> None:
    there = HoldsOneMember(HELD)
    there.instead[method] = timed_out if status is None else lambda: answered(status)
    bring(own, there, patch(plan="pro"), settle_seconds=60)
    assert keys(own, "lock") == []


def somebody_else_has_it(own: OwnIntegration) -> MemberLease:
    own.redis.delete(*keys(own, "lock"))
    return opened(own)


def test_a_delivery_whose_lease_ended_before_it_writes_does_not_write(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.meanwhile["GET"] = lambda: somebody_else_has_it(own)
    found = bring(own, there, patch(consent=False, plan="pro"))
    assert (found.kind, there.asked(), there.held) == (OutcomeKind.BUSY, ["GET"], HELD)
    assert len(keys(own, "lock")) == 1
    (key,) = keys(own, "member")
    assert own.redis.hkeys(key) == ["late_at"]


def test_a_delivery_whose_lease_ended_while_it_wrote_leaves_the_others_lock_and_record(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.meanwhile["POST"] = lambda: somebody_else_has_it(own)
    assert bring(own, there, patch(plan="pro")).kind is OutcomeKind.BUSY
    assert len(keys(own, "lock")) == 1
    (key,) = keys(own, "member")
    assert own.redis.hkeys(key) == ["late_at"]


# Newer and older


def test_an_older_event_sets_only_what_newer_ones_have_not(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(plan="pro", name="J. Doe"), at=20)
    assert (
        bring(own, there, patch(plan="basic", name="Jane", company="Umbrella"), at=10).kind
        is OutcomeKind.DELIVERED
    )
    assert vars_of(there) == {"plan": "pro", "company": "Umbrella"}
    assert there.held
    assert there.held["name"] == "J. Doe"


def test_an_older_event_that_has_nothing_left_to_set_is_superseded_without_a_request(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(plan="pro"), at=20)
    there.far.requests.clear()
    found = bring(own, there, patch(plan="basic"), at=10)
    assert (found.kind, found.requests, there.asked()) == (OutcomeKind.SUPERSEDED, 0, [])


def test_an_older_event_leaves_the_time_of_a_newer_field_as_it_is(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(plan="pro"), at=20)
    bring(own, there, patch(plan="basic", company="Umbrella"), at=10)
    assert bring(own, there, patch(plan="free"), at=15).kind is OutcomeKind.SUPERSEDED
    assert vars_of(there) == {"plan": "pro", "company": "Umbrella"}


def test_an_event_that_changed_nothing_still_goes_before_an_older_one(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    assert bring(own, there, patch(plan="free"), at=20).kind is OutcomeKind.UNCHANGED
    assert bring(own, there, patch(plan="pro"), at=10).kind is OutcomeKind.SUPERSEDED


def test_an_event_that_failed_does_not_go_before_an_older_one(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = lambda: answered(400)
    assert bring(own, there, patch(plan="enterprise"), at=20).kind is OutcomeKind.REJECTED
    assert bring(own, there, patch(plan="pro"), at=10).kind is OutcomeKind.DELIVERED


def test_the_same_event_again_asks_and_changes_nothing_more(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    assert bring(own, there, patch(plan="pro", consent=False), at=20).kind is OutcomeKind.DELIVERED
    held = there.held
    assert bring(own, there, patch(plan="pro", consent=False), at=20).kind is OutcomeKind.UNCHANGED
    assert there.held == held


def test_an_event_that_says_nothing_but_who_makes_a_new_member(own: OwnIntegration) -> None:
    there = HoldsOneMember(None)
    assert bring(own, there, patch()).kind is OutcomeKind.DELIVERED
    assert bring(own, there, patch()).kind is OutcomeKind.UNCHANGED


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_member_ends_the_same_in_every_order(
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
        bring(own, there, events[number], at=number, cache_seconds=60)
    assert there.held == {
        "address": ADDRESS,
        "name": "Jane",
        "subscribed": True,
        "vars": {"plan": "pro", "company": "Umbrella", "last_page_url": "/b"},
    }


def test_a_dead_letter_replayed_days_later_sets_only_what_nothing_newer_set(
    own: OwnIntegration,
) -> None:
    day = 86_400.0
    there = HoldsOneMember(HELD)
    dead = patch(plan="basic", company="Umbrella", consent=True)
    there.instead["POST"] = lambda: answered(400)
    bring(own, there, dead, at=0)
    bring(own, there, patch(plan="pro", consent=False), at=day)
    bring(own, there, patch(last_page_url="/a"), at=2 * day)
    own.later(3 * day)
    assert bring(own, there, dead, at=0).kind is OutcomeKind.DELIVERED
    assert vars_of(there) == {"plan": "pro", "company": "Umbrella", "last_page_url": "/a"}
    assert not is_subscribed(there)


def test_times_are_kept_exactly(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    at = 1714557600.1234567
    bring(own, there, patch(plan="pro"), at=at)
    assert bring(own, there, patch(plan="basic"), at=at - 1e-6).kind is OutcomeKind.SUPERSEDED
    assert bring(own, there, patch(plan="basic"), at=at + 1e-6).kind is OutcomeKind.DELIVERED


# The copy


def test_within_its_time_the_copy_shows_that_nothing_needs_writing(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(plan="pro"), 1, cache_seconds=100)
    there.far.requests.clear()
    found = bring(own, there, patch(plan="pro", company="Acme"), 2, cache_seconds=100)
    assert (found.kind, found.requests, there.asked()) == (OutcomeKind.UNCHANGED, 0, [])
    assert (
        bring(own, there, patch(plan="basic"), 1.5, cache_seconds=100).kind
        is OutcomeKind.SUPERSEDED
    )


def test_what_was_read_and_not_written_is_a_copy_too(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    for at in (1, 2):
        assert (
            bring(own, there, patch(plan="free"), at, cache_seconds=100).kind
            is OutcomeKind.UNCHANGED
        )
    assert there.asked() == ["GET"]


@pytest.mark.parametrize("between", [[], [50], [30, 30]])
def test_after_its_time_the_copy_is_not_used_and_its_use_does_not_lengthen_it(
    own: OwnIntegration, between: list[float]
) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(plan="pro"), cache_seconds=100)
    for seconds in between:
        own.later(seconds)
        bring(own, there, patch(plan="pro"), cache_seconds=100)
    assert there.asked() == ["GET", "POST"]
    own.later(100 - sum(between))
    bring(own, there, patch(plan="pro"), cache_seconds=100)
    assert there.asked() == ["GET", "POST", "GET"]


def test_without_a_cache_each_event_reads(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    for _ in range(3):
        bring(own, there, patch(plan="free"), cache_seconds=0)
    assert there.asked() == ["GET"] * 3


def test_a_yes_is_never_written_from_the_copy_so_an_opt_out_in_between_stands(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(plan="pro", consent=True), 1, cache_seconds=100)
    there.unsubscribe()
    assert (
        bring(own, there, patch(plan="basic", consent=True), 2, cache_seconds=100).kind
        is OutcomeKind.DELIVERED
    )
    assert not is_subscribed(there)
    assert vars_of(there)["plan"] == "basic"


def test_an_opt_out_stands_where_the_copy_shows_that_nothing_needs_writing(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(plan="pro", consent=True), 1, cache_seconds=100)
    there.unsubscribe()
    assert (
        bring(own, there, patch(plan="pro", consent=True), 2, cache_seconds=100).kind
        is OutcomeKind.UNCHANGED
    )
    own.later(100)
    bring(own, there, patch(plan="basic", consent=True), 3, cache_seconds=100)
    assert not is_subscribed(there)


def test_an_opt_out_that_the_copy_does_not_show_is_not_taken_for_our_no(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(plan="pro"), 1, cache_seconds=100)
    there.unsubscribe()
    bring(own, there, patch(consent=False), 2, cache_seconds=100)
    bring(own, there, patch(consent=True), 3, cache_seconds=100)
    assert not is_subscribed(there)


def test_a_copy_is_never_written_back_not_even_for_whoever_is_unsubscribed(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember({**HELD, "subscribed": False})
    bring(own, there, patch(plan="pro"), 1, cache_seconds=100)
    there.held = {**HELD, "subscribed": True}
    assert (
        bring(own, there, patch(plan="basic"), 2, cache_seconds=100).kind is OutcomeKind.DELIVERED
    )
    assert there.held == {**HELD, "subscribed": True, "vars": {"plan": "basic", "company": "Acme"}}


def test_the_copy_is_not_trusted_after_a_delivery_that_died(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(plan="pro"), cache_seconds=100)
    lease = opened(own, cache_seconds=100)
    assert lease.cached
    assert own.ledger().renew([lease], [lease.record], 0) == [True]
    own.redis.delete(*keys(own, "lock"))
    assert opened(own, cache_seconds=100).cached is None


def test_the_copy_is_not_trusted_after_a_write_without_an_answer(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(plan="pro"), 1, cache_seconds=100)
    there.afterwards["POST"] = timed_out
    assert (
        bring(own, there, patch(plan="basic"), 2, cache_seconds=100).kind is OutcomeKind.UNAVAILABLE
    )
    there.far.requests.clear()
    bring(own, there, patch(plan="pro"), 3, cache_seconds=100)
    assert there.asked()[0] == "GET"
    assert vars_of(there)["plan"] == "pro"


def test_a_copy_keeps_every_value_and_its_json_type(own: OwnIntegration) -> None:
    held = {
        **HELD,
        "name": "Jäne 😀",
        "vars": {"a": 1, "b": True, "c": None, "d": [], "e": {}, "f": 1.5, "g": "ü"},
    }
    there = HoldsOneMember(held)
    bring(own, there, patch(a=1), 1, cache_seconds=100)
    again = patch(**held["vars"])  # type: ignore[arg-type]
    assert bring(own, there, again, 2, cache_seconds=100).kind is OutcomeKind.UNCHANGED
    assert there.asked() == ["GET"]


# Whose "no" it is


def refused() -> Any:
    return answered(400)


def happens(own: OwnIntegration, there: HoldsOneMember, what: str, at: float) -> None:
    """What one letter stands for."""
    match what:
        case "denied":
            bring(own, there, patch(consent=False), at)
        case "denied, the answer lost":
            there.afterwards["POST"] = timed_out
            bring(own, there, patch(consent=False), at)
        case "denied, refused":
            there.instead["POST"] = refused
            bring(own, there, patch(consent=False), at)
        case "granted":
            bring(own, there, patch(consent=True), at)
        case "opt-out":
            there.unsubscribe()
    there.afterwards.clear()
    there.instead.clear()


WHAT_HAPPENS = ["denied", "denied, the answer lost", "denied, refused", "granted", "opt-out"]


@pytest.mark.parametrize("first", WHAT_HAPPENS)
def test_a_granted_consent_undoes_our_no_and_never_the_recipients_whatever_came_before(
    own: OwnIntegration, first: str
) -> None:
    for number, rest in enumerate(product(WHAT_HAPPENS, repeat=3)):
        each = OwnIntegration(own.redis, f"{own.name}-{number}")
        there, opted_out = HoldsOneMember(HELD), False
        for at, what in enumerate((first, *rest, "granted")):
            opted_out = opted_out or (what == "opt-out" and is_subscribed(there))
            happens(each, there, what, at)
        assert is_subscribed(there) is not opted_out, (first, *rest)


def test_a_no_is_known_to_be_ours_before_it_is_asked(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    records: list[dict[str, Any]] = []

    def look() -> None:
        (key,) = keys(own, "member")
        records.append(json.loads(str(own.redis.hget(key, "record"))))

    there.meanwhile["POST"] = look
    bring(own, there, patch(consent=False, plan="pro"), at=5)
    (record,) = records
    assert record.keys() == {"no"}
    assert record["no"][1] == [5, 0]


def test_a_no_that_was_stored_by_a_delivery_that_was_killed_is_ours(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)

    class Killed(BaseException):
        pass

    def killed() -> Any:
        own.redis.delete(*keys(own, "lock"))
        raise Killed

    there.afterwards["POST"] = killed
    with pytest.raises(Killed):
        bring(own, there, patch(consent=False), at=1)
    assert not is_subscribed(there)
    bring(own, there, patch(consent=True), at=2)
    assert is_subscribed(there)


def test_a_no_that_mailgun_did_not_store_is_no_longer_ours_once_a_yes_was_read(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = lambda: answered(503)
    bring(own, there, patch(consent=False), at=1)
    there.instead["POST"] = lambda: answered(503)
    bring(own, there, patch(plan="pro"), at=2)
    there.unsubscribe()
    bring(own, there, patch(consent=True), at=3)
    assert not is_subscribed(there)


def test_a_no_that_was_stored_at_the_second_try_without_an_answer_is_ours(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = lambda: answered(503)
    bring(own, there, patch(consent=False), at=1)
    there.afterwards["POST"] = timed_out
    bring(own, there, patch(consent=False), at=1)
    assert not is_subscribed(there)
    bring(own, there, patch(consent=True), at=2)
    assert is_subscribed(there)


def test_a_new_member_whom_we_did_not_subscribe_can_be_subscribed(own: OwnIntegration) -> None:
    there = HoldsOneMember(None)
    rules = SubscriptionRules(subscribe_new=False)
    bring(own, there, patch(plan="pro"), 1, rules=rules)
    assert not is_subscribed(there)
    bring(own, there, patch(consent=True), 2, rules=rules)
    assert is_subscribed(there)


def test_with_resubscribe_a_granted_consent_undoes_an_opt_out(own: OwnIntegration) -> None:
    there = HoldsOneMember({**HELD, "subscribed": False})
    bring(own, there, patch(consent=True), rules=SubscriptionRules(resubscribe=True))
    assert is_subscribed(there)


def test_a_granted_consent_that_is_older_than_our_no_does_not_undo_it(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(consent=False), at=20)
    bring(own, there, patch(consent=True, plan="pro"), at=10)
    assert not is_subscribed(there)
    assert vars_of(there)["plan"] == "pro"


# What is stored


def test_without_the_ledger_mailgun_is_read_and_nothing_it_holds_is_lost(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    bring(own, there, patch(plan="pro", name="J. Doe"), 1, cache_seconds=100)
    there.unsubscribe()
    own.redis.flushdb()
    assert (
        bring(own, there, patch(company="Umbrella", consent=True), 2, cache_seconds=100).kind
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
        bring(own, there, use, at, cache_seconds=100)
        (key,) = keys(own, "member")
        assert 30 * 86_400 - 60 < own.redis.ttl(key) <= 30 * 86_400
        own.redis.expire(key, 1000)


def test_what_is_known_before_it_is_asked_lives_as_long(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    lives: list[int] = []
    there.meanwhile["POST"] = lambda: lives.append(own.redis.ttl(keys(own, "member")[0]))
    bring(own, there, patch(consent=False))
    assert 30 * 86_400 - 60 < lives[0] <= 30 * 86_400


def test_no_key_holds_an_address_and_another_digest_key_gives_another(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.meanwhile["GET"] = lambda: locks.extend(keys(own, "lock"))
    locks: list[str] = []
    bring(own, there, patch(plan="pro"))
    stored = keys(own, "member") + locks
    assert len(stored) == 2
    assert not any("jane" in each or "example" in each for each in stored)
    other = own.ledger()
    other = type(other)(other.gate, own.name, b"other", 60, 0, 30)
    lease = only_visit(other.acquire([ADDRESS]))
    assert lease.record.orders == {}


def test_a_delivery_reports_what_came_of_it_to_the_flow(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.instead["GET"] = lambda: answered(429, b"", {"Retry-After": "300"})
    bring(own, there, patch(plan="pro"))
    assert own.gate().state().kind == "throttled"
    assert own.gate().seconds_until_open() > 200
