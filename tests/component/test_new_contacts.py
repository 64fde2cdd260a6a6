"""New contacts with a trusted ledger: no request of their own, and no "yes" over a known "no"."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.accounts import LIST, REFRESH_SECONDS, Account, address, wants
from tests.integrations import OwnIntegration, deliver_all
from tests.sandboxes import RunningSandbox
from worker.delivery.bulk_trust import FIRST_SAMPLE
from worker.delivery.deliverer import Deliverer
from worker.mailgun.member import Member
from worker.mailgun.outcome import OutcomeKind
from worker.members.entry import forget, look_up
from worker.members.merge_plan import TimedPatch
from worker.members.opt_outs import OptOutScanner
from worker.members.page_import import AnotherList
from worker.settings import Settings
from worker.wiring import deliverer_for, list_sync_for, utc_now

EVENTS = 500
DAY = 86_400.0
# Readings, and seconds between them, after which a member that Mailgun held counts as deleted.
LOOKS, LOOK_SECONDS = 3, 300.0


@pytest.fixture
def account(own: OwnIntegration, sandbox: RunningSandbox) -> Account:
    """Return an account whose list has three members, one of them unsubscribed."""
    found = Account(own, sandbox)
    found.hold(range(10_000, 10_002), plan="free")
    found.hold([10_002], subscribed=False, plan="free")
    return found


def deliver(here: Deliverer, wanted: list[TimedPatch]) -> set[OutcomeKind]:
    """Deliver the events, a hundred at a time as a worker does."""
    return {
        each.kind
        for start in range(0, len(wanted), 100)
        for each in deliver_all(here, wanted[start : start + 100])
    }


def scan(account: Account) -> None:
    """Read all members who unsubscribed, as workers do again and again."""
    scanner = OptOutScanner(account.sync_of().page_importer, 1e-6, 500)
    turn = scanner.try_start()
    assert turn
    assert isinstance(scanner.run(turn), float)


def reads(account: Account, *wanted: TimedPatch) -> int:
    """Deliver the events, and return how many members were read for them."""
    before = account.last()
    deliver(account.delivery(batch=1), list(wanted))
    return account.requests(before)["GET member"]


@pytest.mark.parametrize("form", ["list", "list_and_task_id", "message_only"])
def test_new_contacts_cost_a_hundredth_of_a_request_each(account: Account, form: str) -> None:
    account.sync()
    account.sandbox.control.switches(bulk_answer=form)
    before = account.last()
    found = deliver(account.delivery(), [wants(each, plan="pro") for each in range(EVENTS)])
    assert found == {OutcomeKind.DELIVERED}
    asked = account.requests(before)
    assert asked["POST members.json"] == EVENTS / 100
    assert asked["POST members"] == 0
    assert asked["GET member"] <= EVENTS / 100 + FIRST_SAMPLE
    held = account.sandbox.control.members()
    assert [held[address(each)].vars for each in range(EVENTS)] == [{"plan": "pro"}] * EVENTS
    assert all(held[address(each)].subscribed for each in range(EVENTS))


def test_new_contacts_among_known_members_cost_no_read(account: Account) -> None:
    account.hold(range(0, 200, 2), company="Acme")
    account.sync()
    before = account.last()
    found = deliver(account.delivery(), [wants(each, plan="pro") for each in range(200)])
    assert found == {OutcomeKind.DELIVERED}
    assert account.requests(before)["GET member"] <= 2
    held = account.held()
    assert [held[address(each)] for each in range(200)] == [
        {"company": "Acme", "plan": "pro"} if each % 2 == 0 else {"plan": "pro"}
        for each in range(200)
    ]


def test_new_contact_of_a_lone_message_is_one_request(account: Account) -> None:
    account.sync()
    before = account.last()
    assert deliver(account.delivery(batch=1), [wants(1, plan="pro")]) == {OutcomeKind.DELIVERED}
    assert account.requests(before) == {"POST members": 1}


def test_denied_consent_of_a_new_contact_makes_it_unsubscribed(account: Account) -> None:
    account.sync()
    assert reads(account, wants(1, consent=False)) == 0
    assert not account.sandbox.control.members()[address(1)].subscribed


def test_address_that_the_sync_has_seen_is_no_new_contact(account: Account) -> None:
    account.sync()
    assert reads(account, wants(10_000, company="Acme")) == 0
    assert account.held()[address(10_000)] == {"plan": "free", "company": "Acme"}
    deliver(account.delivery(batch=1), [wants(10_002, consent=True)])
    assert not account.sandbox.control.members()[address(10_002)].subscribed


def test_member_in_capitals_on_the_list_is_no_new_contact(account: Account) -> None:
    entry = Member("Jane.Doe@Example.COM", subscribed=False, vars={"plan": "free"}).entry()
    account.mailgun.upsert_many([entry])
    account.sync()
    patch = wants(0, consent=True, company="Acme").patch._replace(address="jane.doe@example.com")
    assert deliver(account.delivery(batch=1), [TimedPatch(patch, wants(0).order)]) == {
        OutcomeKind.DELIVERED
    }
    member = account.sandbox.control.members()["jane.doe@example.com"]
    assert (member.subscribed, member.vars) == (False, {"plan": "free", "company": "Acme"})


def test_member_of_whom_the_ledger_has_no_copy_is_read(account: Account) -> None:
    account.sync()
    _, key = account.ledger().keys_of(address(10_000))
    account.own.redis.hdel(key, "copy", "copy_at")
    assert reads(account, wants(10_000, company="Acme")) == 1
    assert account.held()[address(10_000)] == {"plan": "free", "company": "Acme"}


def never_synced(_account: Account) -> None:
    """Only the unsubscribed were read."""
    scan(_account)


def synced_before_the_ledger_forgets(account: Account) -> None:
    account.sync()
    account.own.later(30 * DAY)
    scan(account)


def unsubscribed_not_read_lately(account: Account) -> None:
    account.sync()
    account.own.later(2 * REFRESH_SECONDS + 1)


def unsubscribed_not_read_since_the_sync(account: Account) -> None:
    account.sync()
    key = f"signal:{account.own.name}:opt_outs"
    account.own.redis.hset(key, "fresh_from", account.own.now() - 60)


def one_was_forgotten(account: Account) -> None:
    account.sync()
    forget(account.ledger(), "someone@example.com")


def read_of_another_list(account: Account) -> None:
    account.sync(list_mark="another")


def synced_of_a_list_that_is_not_known(account: Account) -> None:
    """The state of the scans has expired since."""
    account.sync(list_mark="another")
    account.own.redis.delete(f"signal:{account.own.name}:opt_outs")
    scan(account)


def read_before_the_list_was_noted(account: Account) -> None:
    """Workers of an earlier version have read it."""
    account.sync()
    account.own.redis.hdel(f"signal:{account.own.name}:opt_outs", "list")


@pytest.mark.parametrize(
    "doubt",
    [
        never_synced,
        synced_before_the_ledger_forgets,
        unsubscribed_not_read_lately,
        unsubscribed_not_read_since_the_sync,
        one_was_forgotten,
        read_of_another_list,
        synced_of_a_list_that_is_not_known,
        read_before_the_list_was_noted,
    ],
)
def test_unknown_address_is_read_if_the_ledger_may_not_know_all(
    account: Account, doubt: Callable[[Account], None]
) -> None:
    doubt(account)
    assert reads(account, wants(1, plan="pro")) == 1


def test_unknown_address_in_another_form_than_plain_is_read(account: Account) -> None:
    account.sync()
    patch = wants(1, plan="pro").patch._replace(address="jané@example.com")
    assert reads(account, TimedPatch(patch, wants(1).order)) == 1


def test_with_read_every_new_contact_is_read(account: Account) -> None:
    account.sync()
    before = account.last()
    here = account.delivery(refresh_seconds=None)
    deliver(here, [wants(each, plan="pro") for each in range(5)])
    assert account.requests(before)["GET member"] >= 5


def test_opt_out_of_a_member_added_elsewhere_stands_once_scanned(
    account: Account,
) -> None:
    account.sync()
    account.hold([1], subscribed=False, plan="free")
    scan(account)
    deliver(account.delivery(batch=1), [wants(1, consent=True, company="Acme")])
    member = account.sandbox.control.members()[address(1)]
    assert (member.subscribed, member.vars) == (False, {"plan": "free", "company": "Acme"})


def test_opt_out_of_a_forgotten_member_stands(account: Account) -> None:
    account.sync()
    forget(account.ledger(), address(10_002))
    deliver(account.delivery(batch=1), [wants(10_002, consent=True)])
    assert not account.sandbox.control.members()[address(10_002)].subscribed


def test_after_a_member_was_forgotten_the_next_scan_ends_the_reads(account: Account) -> None:
    account.sync()
    forget(account.ledger(), address(10_002))
    scan(account)
    assert reads(account, wants(1, plan="pro")) == 0
    deliver(account.delivery(batch=1), [wants(10_002, consent=True)])
    assert not account.sandbox.control.members()[address(10_002)].subscribed


def test_member_forgotten_while_a_sync_runs_is_not_taken_for_new(account: Account) -> None:
    sync = account.sync_of()
    begun = sync.begin(anew=True)
    steps = sync.steps(begun)
    next(steps)
    forget(account.ledger(), address(10_002))
    assert len(list(steps)) == 1
    deliver(account.delivery(batch=1), [wants(10_002, consent=True)])
    assert not account.sandbox.control.members()[address(10_002)].subscribed


def test_no_stands_after_the_digest_key_was_changed(account: Account) -> None:
    def deployed(key: str | None) -> tuple[Settings, Deliverer]:
        given: dict[str, Any] = {
            "mailgun_api_key": "sandbox-key",
            "mailgun_allow_custom_host": True,
            "mailgun_api_base_url": account.sandbox.base_url,
            "mailgun_list_address": LIST,
            "mailgun_member_state": "ledger",
            "signal_digest_key": key,
        }
        settings = Settings(_env_file=None, signal_integration=account.own.name, **given)
        return settings, deliverer_for(settings, account.own.redis, utc_now)

    sync = list_sync_for(*deployed(None))
    assert list(sync.steps(sync.begin(anew=True)))
    _, rotated = deployed("a secret")
    before = account.last()
    deliver(rotated, [wants(10_002, consent=True)])
    assert account.requests(before)["GET member"] == 1
    assert not account.sandbox.control.members()[address(10_002)].subscribed


def test_what_was_read_of_another_list_is_forgotten_and_read_anew(account: Account) -> None:
    account.sync(list_mark="another")
    scan(account)
    assert account.own.redis.get(f"signal:{account.own.name}:synced") is None
    account.sync()
    assert reads(account, wants(1, plan="pro")) == 0


def unread(_account: Account) -> None:
    """No worker has read this list yet."""


@pytest.mark.parametrize("read", [unread, scan])
def test_copy_of_a_member_of_another_list_counts_for_nothing(
    account: Account, read: Callable[[Account], None]
) -> None:
    account.hold([1, 2], plan="free", company="Acme")
    account.sync(list_mark="another")
    account.sandbox.control.reset()
    account.hold([2], company="Globex")
    read(account)
    for _ in range(LOOKS):
        deliver(account.delivery(batch=1, cache_seconds=DAY), [wants(1, plan="free")])
        account.own.later(LOOK_SECONDS)
    deliver(account.delivery(batch=1, cache_seconds=DAY), [wants(2, plan="pro")])
    assert account.held() == {
        address(1): {"plan": "free"},
        address(2): {"company": "Globex", "plan": "pro"},
    }


def test_pages_read_before_the_first_worker_started_are_trusted(account: Account) -> None:
    sync = account.sync_of()
    steps = sync.steps(sync.begin(anew=True))
    next(steps)
    scan(account)
    assert list(steps)
    assert reads(account, wants(10_000, plan="pro")) == 0


def test_worker_with_another_list_than_the_others_leaves_no_copy(account: Account) -> None:
    scan(account)
    deliver(account.delivery(batch=1, list_mark="another"), [wants(1, plan="free")])
    found = look_up(account.ledger(), address(1))
    assert found
    assert found.copy is None


def test_sync_of_another_list_stores_nothing_once_workers_have_this_one(account: Account) -> None:
    scan(account)
    with pytest.raises(AnotherList):
        account.sync(list_mark="another")
    assert look_up(account.ledger(), address(10_000)) is None
    assert account.own.redis.get(f"signal:{account.own.name}:synced") is None
    assert reads(account, wants(1, plan="pro")) == 1


@pytest.mark.parametrize("by_hand", [True, False])
def test_interrupted_sync_of_another_list_is_not_resumed(account: Account, by_hand: bool) -> None:  # noqa: FBT001
    other = account.sync_of(list_mark="another")
    next(other.steps(other.begin(anew=True)))
    sync = account.sync_of()
    so_far = sync.begin(anew=False) if by_hand else sync.try_start()
    assert so_far
    assert so_far.members == 0
