"""The member that stands after a patch."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import members, patches
from worker.delivery.merge import Subscribing, merged_member
from worker.mailgun.member import Member
from worker.signal.patch import Patch

ADDRESS = "jane@example.com"
rules = st.builds(Subscribing, st.booleans(), st.booleans())


def patch(consent: bool | None = None, name: str | None = None, **fields: object) -> Patch:  # noqa: FBT001
    return Patch(ADDRESS, name, fields, consent, None)


# The subscription that stands, for: held (None: a new member), consent (None: unknown).
SUBSCRIBED = {
    (None, None): "as MAILGUN_SUBSCRIBE_NEW says",
    (None, True): True,
    (None, False): False,
    (True, None): True,
    (True, True): True,
    (True, False): False,
    (False, None): False,
    (False, True): "if the no is ours, or with MAILGUN_RESUBSCRIBE",
    (False, False): False,
}


@pytest.mark.parametrize(("held", "consent"), SUBSCRIBED)
@pytest.mark.parametrize(("our_no", "subscribe_new", "resubscribe"), list(product([True, False], repeat=3)))
def test_who_is_subscribed(
    held: bool | None,  # noqa: FBT001
    consent: bool | None,  # noqa: FBT001
    our_no: bool,  # noqa: FBT001
    subscribe_new: bool,  # noqa: FBT001
    resubscribe: bool,  # noqa: FBT001
) -> None:
    expected = SUBSCRIBED[held, consent]
    if (held, consent) == (None, None):
        expected = subscribe_new
    if (held, consent) == (False, True):
        expected = our_no or resubscribe
    member = None if held is None else Member(ADDRESS, subscribed=held)
    found = merged_member(member, patch(consent), Subscribing(subscribe_new, resubscribe), our_no=our_no)
    assert found.subscribed is expected


def test_by_default_a_new_member_is_subscribed_and_an_opt_out_stands() -> None:
    assert merged_member(None, patch(), Subscribing()).subscribed
    assert not merged_member(Member(ADDRESS, subscribed=False), patch(consent=True), Subscribing()).subscribed


def test_what_the_event_sets_replaces_and_what_it_does_not_set_stays() -> None:
    held = Member(ADDRESS, "Jane Doe", vars={"plan": "free", "company": "Acme"})
    found = merged_member(held, patch(plan="pro", last_page_url="/a"), Subscribing())
    assert found == Member(ADDRESS, "Jane Doe", vars={"plan": "pro", "company": "Acme", "last_page_url": "/a"})


def test_a_name_in_the_event_replaces_the_held_one() -> None:
    assert merged_member(Member(ADDRESS, "J"), patch(name="Jane"), Subscribing()).name == "Jane"


@given(members, patches, rules, st.booleans())
def test_every_field_of_the_patch_is_set_and_every_other_is_kept(
    held: Member,
    patch: Patch,
    rules: Subscribing,
    our_no: bool,  # noqa: FBT001
) -> None:
    found = merged_member(held, patch, rules, our_no=our_no)
    assert found.address == patch.address
    assert found.name == (held.name if patch.name is None else patch.name)
    assert found.vars.keys() == held.vars.keys() | patch.vars.keys()
    for name, value in found.vars.items():
        assert value == (patch.vars[name] if name in patch.vars else held.vars[name])


@given(st.none() | members, patches, rules, st.booleans())
def test_merging_twice_is_merging_once(
    held: Member | None,
    patch: Patch,
    rules: Subscribing,
    our_no: bool,  # noqa: FBT001
) -> None:
    once = merged_member(held, patch, rules, our_no=our_no)
    assert merged_member(once, patch, rules, our_no=our_no) == once


@given(members, patches, patches)
def test_patches_of_different_fields_can_come_in_any_order(held: Member, one: Patch, other: Patch) -> None:
    other = replace(other, vars={f"other_{k}": v for k, v in other.vars.items()}, name=None, consent=None)
    both = merged_member(merged_member(held, one, Subscribing()), other, Subscribing())
    assert merged_member(merged_member(held, other, Subscribing()), one, Subscribing()) == both


@given(members, patches)
def test_merging_changes_neither_the_held_member_nor_the_patch(held: Member, patch: Patch) -> None:
    before = dict(held.vars), dict(patch.vars)
    merged_member(held, patch, Subscribing())
    assert (held.vars, patch.vars) == before


@given(members, patches.map(lambda each: replace(each, consent=None)))
def test_without_consent_nobodys_subscription_changes(held: Member, patch: Patch) -> None:
    assert merged_member(held, patch, Subscribing()).subscribed is held.subscribed
