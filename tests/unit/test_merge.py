"""The member that stands after a patch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import members, patches
from worker.delivery.merge import (
    CONSENT,
    UNDATED_AT,
    Known,
    Subscribing,
    fields_of,
    filling,
    known_after,
    merged_member,
    our_no_after,
    surviving,
)
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
        expected = subscribe_new and not our_no  # a no of ours that is not there yet, or no longer, is not forgotten
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


# What newer events have set


def test_the_fields_of_a_patch_are_named_as_the_ledger_names_them() -> None:
    assert fields_of(patch(consent=False, name="Jane", plan="pro", name_="x")) == [
        "name",
        "vars.plan",
        "vars.name_",
        CONSENT,
    ]
    assert fields_of(patch()) == []


def test_a_trait_called_name_or_subscribed_is_another_field_than_the_members_own() -> None:
    known = Known({"vars.name": 9.0, "vars.subscribed": 9.0})
    mine = Patch(ADDRESS, "Jane", {"name": "x", "subscribed": "y"}, consent=True, at=None)
    assert surviving(mine, known, 5.0) == replace(mine, vars={})


@pytest.mark.parametrize("field", ["name", "vars.plan", CONSENT])
@pytest.mark.parametrize(("at", "survives"), [(4.0, False), (5.0, True), (6.0, True)])
def test_a_field_survives_unless_a_newer_event_has_set_it(field: str, at: float, survives: bool) -> None:  # noqa: FBT001
    mine = patch(consent=True, name="Jane", plan="pro")
    left = surviving(mine, Known({field: 5.0}), at)
    assert fields_of(left) == [each for each in fields_of(mine) if survives or each != field]


@given(patches, st.floats(-1e9, 1e10))
def test_where_nothing_is_known_all_of_a_patch_survives(patch: Patch, at: float) -> None:
    assert surviving(patch, Known(), at) == patch


# Is the "no" ours afterwards? For: held (None: a new member), whether its "no" was ours, what stands.
OURS = {
    (None, False, True): False,
    (None, False, False): True,
    (True, False, True): False,
    (True, False, False): True,
    (False, False, True): False,
    (False, False, False): False,
    (None, True, True): False,
    (None, True, False): True,
    (True, True, True): False,
    (True, True, False): True,
    (False, True, True): False,
    (False, True, False): True,
}


@pytest.mark.parametrize(("held", "was_ours", "stands"), OURS)
def test_whose_no_it_is(held: bool | None, was_ours: bool, stands: bool) -> None:  # noqa: FBT001
    member = None if held is None else Member(ADDRESS, subscribed=held)
    found = our_no_after(Known(our_no=was_ours), member, Member(ADDRESS, subscribed=stands))
    assert found is OURS[held, was_ours, stands]


def test_what_is_known_after_has_the_time_of_each_field_set_and_keeps_the_others() -> None:
    known = Known({"name": 1.0, "vars.plan": 2.0})
    found = known_after(known, patch(consent=False, plan="pro"), 5.0, None, Member(ADDRESS, subscribed=False))
    assert found == Known({"name": 1.0, "vars.plan": 5.0, CONSENT: 5.0}, our_no=True)
    assert known == Known({"name": 1.0, "vars.plan": 2.0})


# Events in any order: a member at Mailgun, and what the ledger knows of it


@dataclass(frozen=True)
class There:
    """What Mailgun holds, and what the ledger knows."""

    held: Member | None
    known: Known = field(default_factory=Known)

    def after(self, patch: Patch, at: float, rules: Subscribing) -> "There":
        """The same after one event was delivered."""
        left = filling(surviving(patch, self.known, at), self.held)
        if fields_of(patch) and not fields_of(left):
            return self
        member = merged_member(self.held, left, rules, our_no=self.known.our_no)
        return There(member, known_after(self.known, left, at, self.held, member))

    def after_all(self, events: Sequence[tuple[float, Patch]], rules: Subscribing) -> "There":
        """The same after all `events`, each with its time, in this order."""
        there = self
        for at, each in events:
            there = there.after(each, at, rules)
        return there

    def opted_out(self) -> "There":
        """The same after the recipient clicked the link; nobody tells the ledger."""
        return replace(self, held=replace(self.held, subscribed=False) if self.held else None)


def shown(there: There) -> str:
    """All of it as text: to Python 1 equals true."""
    assert there.held
    held = there.held
    return json.dumps([held.name, held.subscribed, held.vars, there.known.times], sort_keys=True)


events = st.lists(st.tuples(st.integers(0, 1000).map(float), patches), min_size=1, max_size=6, unique_by=lambda e: e[0])
starts = st.builds(There, st.none() | members)


@given(starts, events, rules, st.data())
def test_events_of_different_times_end_the_same_in_every_order(
    there: There, events: list[tuple[float, Patch]], rules: Subscribing, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(events))
    assert shown(there.after_all(shuffled, rules)) == shown(there.after_all(sorted(events, key=_time), rules))


def _time(event: tuple[float, Patch]) -> float:
    return event[0]


@given(starts, events, rules, st.data())
def test_an_event_that_comes_again_changes_nothing(
    there: There, events: list[tuple[float, Patch]], rules: Subscribing, data: st.DataObject
) -> None:
    there = there.after_all(events, rules)
    at, again = data.draw(st.sampled_from(events))
    assert there.after(again, at, rules) == there


@given(starts, events, rules)
def test_each_field_ends_as_the_newest_event_that_sets_it_says_and_no_other_is_lost(
    there: There, events: list[tuple[float, Patch]], rules: Subscribing
) -> None:
    found = there.after_all(events, rules).held
    newest = dict(there.held.vars) if there.held else {}
    name = there.held.name if there.held else ""
    for _, each in sorted(events, key=_time):
        newest.update(each.vars)
        name = name if each.name is None else each.name
    assert found
    assert found.name == name
    assert json.dumps(found.vars, sort_keys=True) == json.dumps(newest, sort_keys=True)


@given(starts, events, rules)
def test_an_older_event_never_replaces_what_a_newer_one_set(
    there: There, events: list[tuple[float, Patch]], rules: Subscribing
) -> None:
    before = there.after_all(events, rules)
    older = Patch(ADDRESS, "older", {"plan": "older", "only": "here"}, consent=True, at=None)
    after = before.after(older, -1.0, rules)
    assert before.held
    assert after.held
    for name in {name for _, each in events for name in fields_of(each)}:
        assert _value(after.held, name) == _value(before.held, name)
    assert after.held.vars["only"] == "here"


def _value(member: Member, field: str) -> Any:
    match field.partition("."):
        case ("vars", _, name):
            return repr(member.vars[name])
        case _:
            return getattr(member, field)


steps = st.lists(st.just("opt-out") | st.tuples(st.integers(0, 1000).map(float), patches), max_size=8)


@given(starts, steps, st.booleans())
def test_an_opt_out_is_never_undone(there: There, steps: list[Any], subscribe_new: bool) -> None:  # noqa: FBT001
    rules = Subscribing(subscribe_new, resubscribe=False)
    opted_out = there.held is not None and not there.held.subscribed
    for step in steps:
        if step == "opt-out":
            opted_out = opted_out or (there.held is not None and there.held.subscribed)
            there = there.opted_out()
        else:
            there = there.after(step[1], step[0], rules)
        assert not (opted_out and there.held and there.held.subscribed)


@given(starts, events)
def test_with_resubscribe_the_newest_known_consent_stands(there: There, events: list[tuple[float, Patch]]) -> None:
    found = there.opted_out().after_all(events, Subscribing(resubscribe=True)).held
    known = [each.consent for _, each in sorted(events, key=_time) if each.consent is not None]
    assert found
    if known:
        assert found.subscribed is known[-1]


@given(events, rules)
def test_a_no_that_we_wrote_is_undone_by_a_newer_granted_consent(
    events: list[tuple[float, Patch]], rules: Subscribing
) -> None:
    there = There(None).after_all(events, rules)
    denied = there.after(patch(consent=False), 2000.0, rules)
    granted = denied.after(patch(consent=True), 3000.0, rules)
    assert (denied.held and denied.held.subscribed, granted.held and granted.held.subscribed) == (False, True)


# Consent that was not understood, and time stamps that were not


def unclear(**fields: object) -> Patch:
    return replace(patch(**fields), consent_unclear=True)


def undated(consent: bool | None = None, name: str | None = None, **fields: object) -> Patch:  # noqa: FBT001
    return replace(patch(consent, name, **fields), undated=True)


@pytest.mark.parametrize("subscribe_new", [True, False])
def test_a_consent_that_is_not_understood_subscribes_no_new_member_and_that_no_is_ours(subscribe_new: bool) -> None:  # noqa: FBT001
    rules = Subscribing(subscribe_new)
    there = There(None).after(unclear(plan="pro"), 5.0, rules)
    assert there.held == Member(ADDRESS, subscribed=False, vars={"plan": "pro"})
    assert there.known == Known({"vars.plan": 5.0}, our_no=True)
    granted = there.after(patch(consent=True), 1.0, rules)  # even an older one: none has set the consent
    assert granted.held
    assert granted.held.subscribed


@given(members, patches, rules, st.booleans())
def test_a_consent_that_is_not_understood_changes_nothing_else(
    held: Member,
    patch: Patch,
    rules: Subscribing,
    our_no: bool,  # noqa: FBT001
) -> None:
    unknown = replace(patch, consent=None)
    found = merged_member(held, replace(unknown, consent_unclear=True), rules, our_no=our_no)
    assert found == merged_member(held, unknown, rules, our_no=our_no)


def test_an_undated_event_fills_what_is_not_set_and_any_dated_one_sets_it_anew() -> None:
    held = Member(ADDRESS, vars={"plan": "pro"})
    there = There(held, Known({"vars.company": 5.0})).after(
        undated(name="Jane", plan="free", company="Acme", beta=True), UNDATED_AT, Subscribing()
    )
    assert there.held == Member(ADDRESS, "Jane", vars={"plan": "pro", "beta": True})
    assert there.known.times == {"vars.company": 5.0, "name": UNDATED_AT, "vars.beta": UNDATED_AT}
    again = there.after(undated(name="Joe", beta=False), UNDATED_AT, Subscribing())
    assert again == there
    dated = there.after(patch(name="J", beta=2), -1e9, Subscribing())
    assert dated.held == Member(ADDRESS, "J", vars={"plan": "pro", "beta": 2})


# Whether the member is subscribed after an undated consent. For: held (None: a new member), consent, when an event set the
# consent (None: none has), whether its no is ours.
UNDATED = {
    (None, True, None, False): True,
    (None, True, None, True): False,
    (None, False, None, False): False,
    (None, False, UNDATED_AT, False): False,
    (True, False, None, False): False,
    (True, False, UNDATED_AT, False): False,
    (True, False, 5.0, False): True,
    (True, True, None, False): True,
    (False, True, None, False): False,
    (False, True, None, True): False,
    (False, True, UNDATED_AT, True): False,
    (False, True, 5.0, True): False,
    (False, False, None, False): False,
}


@pytest.mark.parametrize(("held", "consent", "set_at", "our_no"), UNDATED)
@pytest.mark.parametrize("resubscribe", [True, False])
def test_an_undated_no_counts_unless_a_dated_event_said_otherwise_and_an_undated_yes_lifts_none(
    held: bool | None,  # noqa: FBT001
    consent: bool,  # noqa: FBT001
    set_at: float | None,
    our_no: bool,  # noqa: FBT001
    resubscribe: bool,  # noqa: FBT001
) -> None:
    member = None if held is None else Member(ADDRESS, subscribed=held)
    known = Known({} if set_at is None else {CONSENT: set_at}, our_no=our_no)
    after = There(member, known).after(undated(consent, plan="pro"), UNDATED_AT, Subscribing(resubscribe=resubscribe))
    assert after.held
    assert after.held.subscribed is UNDATED[held, consent, set_at, our_no]


@given(starts, events, patches, rules)
def test_an_undated_event_erases_nothing(
    there: There, events: list[tuple[float, Patch]], patch: Patch, rules: Subscribing
) -> None:
    before = there.after_all(events, rules)
    after = before.after(replace(patch, undated=True), UNDATED_AT, rules)
    assert before.held
    assert after.held
    assert after.held.name == (before.held.name or patch.name or "") or "name" in before.known.times
    assert {name: after.held.vars[name] for name in before.held.vars} == before.held.vars
    assert after.held.subscribed <= before.held.subscribed
