"""The member that stands after a patch, whatever came before it, in whatever order, and however old what Mailgun shows is."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.strategies import json_values, members, patches
from worker.mailgun.member import Member
from worker.mailgun.outcome import OutcomeKind
from worker.members.merge import SubscriptionRules, fields_of, without_stale_fields
from worker.members.merge_plan import MergePlan, TimedPatch, plan_merge, pre_write_record
from worker.members.record import (
    ABSENCE_SECONDS,
    CONSENT,
    FIRST,
    UNDATED_AT,
    EventOrder,
    Late,
    No,
    Record,
    after_overwriting,
    after_reading,
    after_sync,
    digest_of,
)
from worker.members.record_json import decode, encode
from worker.signal.patch import Patch

ADDRESS = "jane@example.com"
LAG = 100.0
EVENT = EventOrder(5.0)
rules = st.builds(SubscriptionRules, st.booleans(), st.booleans())


def patch(consent: bool | None = None, name: str | None = None, **fields: object) -> Patch:  # noqa: FBT001
    return Patch(ADDRESS, name, fields, consent, None)


def merged(
    current: Member | None,
    patch: Patch,
    rules: SubscriptionRules | None = None,
    *,
    our_no: bool = False,
) -> Member:
    """What one event makes of the member; `our_no` says that a "no" which Mailgun holds is ours."""
    record = Record(no=No(0.0, FIRST)) if our_no else Record()
    known = after_reading(record, current, 1000.0, 0.0).record if current else record
    member = plan_merge(
        current, known, [TimedPatch(patch, EVENT)], rules or SubscriptionRules(), 1000.0
    ).member
    assert member
    return member


# The subscription that stands, for: current (None: a new member), consent (None: unknown).
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


@pytest.mark.parametrize(("current", "consent"), SUBSCRIBED)
@pytest.mark.parametrize(
    ("our_no", "subscribe_new", "resubscribe"), list(product([True, False], repeat=3))
)
def test_subscription_follows_the_table_of_member_consent_and_settings(
    current: bool | None,  # noqa: FBT001
    consent: bool | None,  # noqa: FBT001
    our_no: bool,  # noqa: FBT001
    subscribe_new: bool,  # noqa: FBT001
    resubscribe: bool,  # noqa: FBT001
) -> None:
    expected = SUBSCRIBED[current, consent]
    if (current, consent) == (None, None):
        expected = (
            subscribe_new and not our_no
        )  # a no of ours that is not there yet, or no longer, is not forgotten
    if (current, consent) == (False, True):
        expected = our_no or resubscribe
    member = None if current is None else Member(ADDRESS, subscribed=current)
    found = merged(
        member, patch(consent), SubscriptionRules(subscribe_new, resubscribe), our_no=our_no
    )
    assert found.subscribed is expected


def test_by_default_a_new_member_is_subscribed_and_an_opt_out_stands() -> None:
    assert merged(None, patch(), SubscriptionRules()).subscribed
    assert not merged(
        Member(ADDRESS, subscribed=False), patch(consent=True), SubscriptionRules()
    ).subscribed


def test_merge_replaces_fields_of_the_event_and_keeps_the_others() -> None:
    current = Member(ADDRESS, "Jane Doe", vars={"plan": "free", "company": "Acme"})
    found = merged(current, patch(plan="pro", last_page_url="/a"), SubscriptionRules())
    assert found == Member(
        ADDRESS, "Jane Doe", vars={"plan": "pro", "company": "Acme", "last_page_url": "/a"}
    )


def test_name_in_the_event_replaces_the_current_one() -> None:
    assert merged(Member(ADDRESS, "J"), patch(name="Jane"), SubscriptionRules()).name == "Jane"


@given(members, patches, rules, st.booleans())
def test_every_field_of_the_patch_is_set_and_every_other_is_kept(
    current: Member,
    patch: Patch,
    rules: SubscriptionRules,
    our_no: bool,  # noqa: FBT001
) -> None:
    found = merged(current, patch, rules, our_no=our_no)
    assert found.address == patch.address
    assert found.name == (current.name if patch.name is None else patch.name)
    assert found.vars.keys() == current.vars.keys() | patch.vars.keys()
    for name, value in found.vars.items():
        assert value == (patch.vars[name] if name in patch.vars else current.vars[name])


@given(st.none() | members, patches, rules, st.booleans())
def test_merging_twice_is_merging_once(
    current: Member | None,
    patch: Patch,
    rules: SubscriptionRules,
    our_no: bool,  # noqa: FBT001
) -> None:
    once = merged(current, patch, rules, our_no=our_no)
    assert merged(once, patch, rules, our_no=our_no) == once


@given(members, patches, patches)
def test_patches_of_different_fields_can_come_in_any_order(
    current: Member, one: Patch, other: Patch
) -> None:
    other = other._replace(
        vars={f"other_{k}": v for k, v in other.vars.items()}, name=None, consent=None
    )
    both = merged(merged(current, one, SubscriptionRules()), other, SubscriptionRules())
    assert merged(merged(current, other, SubscriptionRules()), one, SubscriptionRules()) == both


@given(members, patches)
def test_merging_changes_neither_the_current_member_nor_the_patch(
    current: Member, patch: Patch
) -> None:
    before = dict(current.vars), dict(patch.vars)
    merged(current, patch, SubscriptionRules())
    assert (current.vars, patch.vars) == before


@given(members, patches.map(lambda each: each._replace(consent=None)))
def test_patch_without_consent_keeps_the_subscription(current: Member, patch: Patch) -> None:
    assert merged(current, patch, SubscriptionRules()).subscribed is current.subscribed


# What newer events have set


def owned(fields: Mapping[str, tuple[Any, EventOrder]], **known: Any) -> Record:
    """A record in which events have set these fields to those values."""
    values = {
        name.removeprefix("vars."): value
        for name, (value, _) in fields.items()
        if name.startswith("vars.")
    }
    whole = {"name": fields.get("name", (None,))[0], "consent": fields.get(CONSENT, (None,))[0]}
    return Record(
        vars=values, orders={name: order for name, (_, order) in fields.items()}, **whole, **known
    )


def test_patch_fields_have_the_names_of_the_ledger() -> None:
    found = fields_of(patch(consent=False, name="Jane", plan="pro", name_="x"))
    assert found == ["name", "vars.plan", "vars.name_", CONSENT]
    assert fields_of(patch()) == []


def test_trait_called_name_or_subscribed_is_apart_from_the_members_field() -> None:
    mine = Patch(ADDRESS, "Jane", {"name": "x", "subscribed": "y"}, consent=True, at=None)
    newer = owned({"vars.name": ("x", EventOrder(9)), "vars.subscribed": ("y", EventOrder(9))})
    assert without_stale_fields(mine, newer, EVENT) == mine._replace(vars={})


@pytest.mark.parametrize("field", ["name", "vars.plan", CONSENT])
@pytest.mark.parametrize(
    ("order", "survives"),
    [
        (EventOrder(4.0, 9.0), False),
        (EventOrder(5.0, 1.0), False),
        (EventOrder(5.0, 2.0), True),
        (EventOrder(5.0, 3.0), True),
        (EventOrder(6.0, 0.0), True),
    ],
)
def test_patch_field_survives_unless_a_later_event_has_set_it(
    field: str,
    order: EventOrder,
    survives: bool,  # noqa: FBT001
) -> None:
    mine = patch(consent=True, name="Jane", plan="pro")
    left = without_stale_fields(mine, Record(orders={field: EventOrder(5.0, 2.0)}), order)
    assert list(fields_of(left)) == [each for each in fields_of(mine) if survives or each != field]


@given(patches, st.floats(-1e9, 1e10))
def test_patch_without_a_record_survives_whole(patch: Patch, at: float) -> None:
    assert without_stale_fields(patch, Record(), EventOrder(at)) == patch


# Whose "no" it is


def after(
    current: Member | None, record: Record, *patches: Patch, now: float = 1000.0
) -> MergePlan:
    return plan_merge(
        current, record, [TimedPatch(each, EVENT) for each in patches], SubscriptionRules(), now
    )


@pytest.mark.parametrize("current", [None, Member(ADDRESS)])
def test_denial_for_a_subscribed_or_new_member_is_recorded_as_ours(current: Member | None) -> None:
    assert after(current, Record(), patch(consent=False)).record.no == No(1000.0, EVENT)


def test_denial_after_the_recipients_opt_out_stays_the_recipients() -> None:
    theirs = Record(no=No(1.0, None))
    assert (
        after(Member(ADDRESS, subscribed=False), theirs, patch(consent=False)).record.no
        == theirs.no
    )


def test_denial_is_noted_with_its_write_until_a_reading_confirms_it() -> None:
    plan = after(Member(ADDRESS), Record(), patch(consent=False))
    assert plan.member
    note = pre_write_record(Record(), plan, 1000.0)
    assert note.no == No(1000.0, EVENT, digest_of(plan.member))
    stored = after_reading(note, plan.member, 1001.0, LAG).record.no
    assert stored == No(1000.0, EVENT)


def test_unsubscribed_reading_unlike_our_write_is_the_recipients_opt_out() -> None:
    plan = after(Member(ADDRESS), Record(), patch(consent=False, plan="pro"))
    note = pre_write_record(Record(), plan, 1000.0)
    clicked = Member(ADDRESS, subscribed=False)
    assert after_reading(note, clicked, 1001.0, LAG).record.no == No(1001.0, None)


def test_standing_denial_is_not_noted_again() -> None:
    record = Record(no=No(1.0, EVENT))
    plan = after(Member(ADDRESS, subscribed=False), record, patch(plan="pro"))
    assert pre_write_record(record, plan, 1000.0) is record


def test_grant_lifts_only_an_older_denial() -> None:
    denied = Record(consent=True, orders={CONSENT: EventOrder(4.0)}, no=No(1.0, EVENT))
    assert denied.denies
    assert not denied._replace(orders={CONSENT: EventOrder(6.0)}).denies


def test_lifted_denial_is_removed_once_the_grant_is_written() -> None:
    record = Record(no=No(1.0, FIRST), seen_at=1.0)
    assert after(Member(ADDRESS, subscribed=False), record, patch(consent=True)).record.no is None
    unwritten = after(Member(ADDRESS), record, patch(consent=True)).record
    assert (unwritten.no, unwritten.denies) == (record.no, False)


# What a reading proves


def test_subscribed_reading_within_the_read_lag_does_not_end_a_denial() -> None:
    record = Record(no=No(1000.0, None), seen_at=1000.0)
    soon = after_reading(record, Member(ADDRESS), 1000.0 + LAG - 1, LAG)
    assert (soon.record.denies, soon.doubt) == (True, None)
    assert not after_reading(record, Member(ADDRESS), 1000.0 + LAG, LAG).record.denies


def test_unsubscribed_reading_counts_at_once() -> None:
    assert after_reading(
        Record(seen_at=999.0), Member(ADDRESS, subscribed=False), 1000.0, LAG
    ).record.denies


def test_unsubscribed_reading_soon_after_a_lifted_denial_is_read_again() -> None:
    no, lifted = Member(ADDRESS, subscribed=False), Record(lifted_at=1000.0, seen_at=1000.0)
    found = after_reading(lifted, no, 1002.0, LAG)
    assert found.doubt == 2.0
    assert found.record.no is None
    assert after_reading(lifted, no, 1000.0 + LAG, LAG).record.no == No(1000.0 + LAG, None)


def test_denial_stored_by_an_unanswered_write_is_lifted_again() -> None:
    no = Member(ADDRESS, subscribed=False, vars={"plan": "old"})
    record = owned(
        {CONSENT: (True, EVENT)}, lifted_at=1000.0, seen_at=1000.0, late=Late(990.0, digest_of(no))
    )
    found = after_reading(record, no, 1002.0, LAG)
    assert found.doubt is None
    assert not found.record.denies


@pytest.mark.parametrize("late", [2.0, 3 * LAG])
def test_reading_of_a_late_yes_is_no_proof_however_late_it_is(late: float) -> None:
    yes = Member(ADDRESS, vars={"plan": "old"})
    denied = Record(no=No(1000.0, EVENT), seen_at=1000.0, late=Late(990.0, digest_of(yes)))
    assert after_reading(denied, yes, 1000.0 + late, LAG).record.denies


def test_unanswered_write_explains_no_second_reading_after_the_read_lag() -> None:
    yes = Member(ADDRESS, vars={"plan": "old"})
    denied = Record(no=No(1000.0, EVENT), seen_at=1000.0, late=Late(990.0, digest_of(yes)))
    first = after_reading(denied, yes, 1000.0 + LAG, LAG).record
    assert first.late is None
    assert not after_reading(first, yes, 1000.0 + LAG + 1, LAG).record.denies


def test_member_never_seen_is_new_at_once() -> None:
    assert after_reading(Record(), None, 1000.0, LAG) == (Record(), None)


def test_member_seen_before_is_absent_only_after_three_readings() -> None:
    record = owned({"vars.plan": ("pro", EVENT)}, seen_at=1000.0)
    first = after_reading(record, None, 1000.0 + LAG + 1, LAG)
    assert first.doubt is not None
    assert first.record.orders
    second = after_reading(first.record, None, 1000.0 + LAG + 1 + ABSENCE_SECONDS, LAG)
    assert second.doubt is not None
    third = after_reading(second.record, None, 1000.0 + LAG + 2 + ABSENCE_SECONDS, LAG)
    assert third == (Record(), None)
    seen = second.record._replace(seen_at=1050.0)
    assert after_reading(seen, None, 1050.0 + LAG - 1, LAG).doubt is not None


def test_three_readings_at_once_do_not_confirm_an_absence() -> None:
    record = Record(seen_at=1000.0)
    for seconds in range(3):
        record, doubt = after_reading(record, None, 1000.0 + LAG + seconds, LAG)
        assert doubt is not None


def test_member_that_is_read_again_was_never_absent() -> None:
    record = Record(seen_at=1000.0)
    first = after_reading(record, None, 1200.0, LAG).record
    found = after_reading(first, Member(ADDRESS), 1201.0, LAG).record
    assert found.absent is None
    assert after_reading(found, None, 1400.0, LAG).doubt is not None


@pytest.mark.parametrize("no", [No(1.0, None), No(1.0, EVENT), None])
def test_record_of_an_absent_member_keeps_only_its_denial(no: No | None) -> None:
    consent = (not no, EVENT)
    record = owned({"vars.plan": ("pro", EVENT), CONSENT: consent}, no=no, seen_at=1000.0)
    found = after_sync(record, 2000.0, LAG)
    assert found == (owned({CONSENT: consent}, no=no) if no else Record())
    member = after(None, found, patch(plan="free")).member
    assert member == Member(ADDRESS, subscribed=not no, vars={"plan": "free"})


def test_record_seen_by_a_sync_or_written_since_is_unchanged() -> None:
    record = owned({"vars.plan": ("pro", EVENT)}, seen_at=2000.0)
    assert after_sync(record, 2000.0, LAG) is record
    assert after_sync(record, 2000.0 + LAG, LAG).absent
    assert after_sync(record, 2001.0 + LAG, LAG) == Record()


orders = st.builds(EventOrder, st.floats(0, 4e9), st.floats(0, 4e9))
set_to = st.tuples(json_values.filter(lambda each: each is not None), orders)
records = st.builds(
    owned,
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.tuples(st.text(min_size=1), orders),
            "vars.plan": set_to,
            "vars.name": set_to,
            CONSENT: st.tuples(st.booleans(), orders),
        },
    ),
    no=st.none() | st.builds(No, st.floats(1, 4e9), st.none() | orders, st.none() | st.just("ab")),
    lifted_at=st.none() | st.floats(1, 4e9),
    seen_at=st.none() | st.floats(1, 4e9),
    late=st.none() | st.builds(Late, st.floats(1, 4e9), st.just("ab")),
)


@given(records)
def test_a_record_is_read_as_it_was_stored(record: Record) -> None:
    found = decode(encode(record), record.seen_at)
    for one, other in ((found.orders, record.orders), (found.vars, record.vars)):
        assert repr(sorted(one.items())) == repr(sorted(other.items()))
    assert repr(found._replace(orders={}, vars={})) == repr(record._replace(orders={}, vars={}))


# Consent that was not understood, and time stamps that were not


UNDATED = EventOrder(UNDATED_AT, 7.0)


def unclear(**fields: object) -> Patch:
    return Patch(ADDRESS, None, fields, None, None, consent_unclear=True)


def undated(consent: bool | None = None, name: str | None = None, **fields: object) -> Patch:  # noqa: FBT001
    return patch(consent, name, **fields)._replace(undated=True)


def on(
    current: Member | None,
    record: Record,
    patch: Patch,
    order: EventOrder = UNDATED,
    rules: SubscriptionRules | None = None,
) -> MergePlan:
    return plan_merge(
        current, record, [TimedPatch(patch, order)], rules or SubscriptionRules(), 1000.0
    )


@pytest.mark.parametrize("subscribe_new", [True, False])
def test_consent_not_understood_leaves_new_member_unsubscribed_by_us(
    subscribe_new: bool,  # noqa: FBT001
) -> None:
    created = on(None, Record(), unclear(plan="pro"), EVENT, SubscriptionRules(subscribe_new))
    assert created.member == Member(ADDRESS, subscribed=False, vars={"plan": "pro"})
    assert created.record.no == No(1000.0, FIRST)
    # Even an older one lifts it: no event has set the consent.
    granted = on(created.member, created.record, patch(consent=True), EventOrder(1.0)).member
    assert granted
    assert granted.subscribed


@given(members, patches, rules, st.booleans())
def test_a_consent_that_is_not_understood_changes_nothing_else(
    current: Member,
    patch: Patch,
    rules: SubscriptionRules,
    our_no: bool,  # noqa: FBT001
) -> None:
    unknown = patch._replace(consent=None)
    found = merged(current, unknown._replace(consent_unclear=True), rules, our_no=our_no)
    assert found == merged(current, unknown, rules, our_no=our_no)


def test_undated_event_fills_unset_fields_and_any_dated_one_replaces_them() -> None:
    current, record = (
        Member(ADDRESS, vars={"plan": "pro"}),
        owned({"vars.company": ("x", EventOrder(5))}),
    )
    filled = on(current, record, undated(name="Jane", plan="free", company="Acme", beta=True))
    assert filled.member == Member(
        ADDRESS, "Jane", vars={"plan": "pro", "company": "x", "beta": True}
    )
    assert filled.record.orders == {
        "vars.company": EventOrder(5),
        "name": UNDATED,
        "vars.beta": UNDATED,
    }
    assert on(filled.member, filled.record, undated(name="Joe", beta=False)).kinds == (
        OutcomeKind.SUPERSEDED,
    )
    dated = on(filled.member, filled.record, patch(name="J", beta=2), EventOrder(-1e9))
    assert dated.member == Member(ADDRESS, "J", vars={"plan": "pro", "company": "x", "beta": 2})


# Whether the member is subscribed after an undated consent. For: current (None: a new member), consent, when an event set the
# consent (None: none has), whether a no of ours stands.
UNDATED_CONSENT = {
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


@pytest.mark.parametrize(("current", "consent", "set_at", "our_no"), UNDATED_CONSENT)
@pytest.mark.parametrize("resubscribe", [True, False])
def test_undated_consent_follows_the_table_of_earlier_consents(
    current: bool | None,  # noqa: FBT001
    consent: bool,  # noqa: FBT001
    set_at: float | None,
    our_no: bool,  # noqa: FBT001
    resubscribe: bool,  # noqa: FBT001
) -> None:
    said = {} if set_at is None else {CONSENT: (not our_no, EventOrder(set_at, 3.0))}
    record = owned(said, no=No(1.0, EventOrder(set_at or UNDATED_AT, 3.0)) if our_no else None)
    member = None if current is None else Member(ADDRESS, subscribed=current)
    record = after_reading(record, member, 999.0, LAG * 100).record
    found = on(
        member,
        record,
        undated(consent, plan="pro"),
        rules=SubscriptionRules(resubscribe=resubscribe),
    ).member
    assert found
    assert found.subscribed is UNDATED_CONSENT[current, consent, set_at, our_no]


@given(members, patches, patches, rules)
def test_an_undated_event_erases_nothing(
    start: Member, dated: Patch, late: Patch, rules: SubscriptionRules
) -> None:
    record = after_reading(Record(), start, 999.0, LAG).record
    before = on(start, record, dated, EVENT, rules)
    found = on(before.member, before.record, late._replace(undated=True), rules=rules).member
    assert before.member
    assert found
    assert found.name == (before.member.name or late.name or "") or "name" in before.record.orders
    assert {name: found.vars[name] for name in before.member.vars} == before.member.vars
    assert found.subscribed <= before.member.subscribed


# Events in any order, again and again, on readings of any age


@dataclass
class SimulatedMailgun:
    """Mailgun, which shows what it stored a while ago; the ledger; and time, which passes with each step."""

    shows: Callable[[], float]
    """How old what it shows is, each time it is asked; seconds."""
    rules: SubscriptionRules = field(default_factory=SubscriptionRules)
    record: Record = field(default_factory=Record)
    now: float = 10_000.0
    absent: Callable[[], bool] = lambda: False
    """Does it answer, each time it is asked, that there is no such member?"""
    past: list[tuple[float, Member | None]] = field(default_factory=list)
    seen_no: bool = False
    confirmed: tuple[Member | None, float] = (None, 0.0)
    """The ledger's copy, and since when."""

    def store(self, member: Member | None) -> "SimulatedMailgun":
        """It holds that from now on."""
        self.past.append((self.now, member))
        return self

    @property
    def current(self) -> Member | None:
        """What it holds now."""
        return self.past[-1][1] if self.past else None

    def read(self) -> Member | None:
        """What it shows."""
        if self.absent():
            return None
        then = self.now - self.shows()
        shown = [member for at, member in self.past if at <= then]
        current = shown[-1] if shown else None
        self.seen_no = self.seen_no or (current is not None and not current.subscribed)
        return current

    def deliver(self, *timed_patches: TimedPatch, deferred: bool = False) -> None:
        """Events are delivered, at the second try or at the tenth; or no permit is left to write."""
        for _ in range(40):
            self.now += 1.0
            current = self.read()
            self.record, doubt = after_reading(self.record, current, self.now, LAG)
            if doubt is None:
                break
            self.now += doubt
        confirmed, at = self.confirmed
        if current and not current.subscribed and confirmed and confirmed.subscribed:
            self.record = after_overwriting(self.record, self.now - at, LAG)
        plan = plan_merge(current, self.record, timed_patches, self.rules, self.now)
        if deferred and plan.writes:
            self.confirmed = (current, self.now)
            return
        self.record, self.confirmed = plan.record, (plan.member, self.now)
        if plan.writes:
            self.store(plan.member)
            self.record = plan.record._replace(seen_at=self.now)

    def opt_out(self) -> None:
        """The recipient clicks the link."""
        self.now += 1.0
        if self.current:
            self.store(replace(self.current, subscribed=False))


ages = st.lists(st.floats(0, LAG - 2), min_size=1, max_size=20)
orders = st.builds(EventOrder, st.integers(0, 5).map(float), st.floats(0, 1e6))
timed_patches = st.builds(TimedPatch, patches, orders, alone=st.just(value=False))
events = st.lists(timed_patches, min_size=1, max_size=6, unique_by=lambda each: each.order)


def lagging(ages: list[float]) -> Callable[[], float]:
    """These ages in turn, again and again."""
    asked = [0]

    def age() -> float:
        asked[0] += 1
        return ages[asked[0] % len(ages)]

    return age


def in_order(events: Sequence[TimedPatch]) -> list[TimedPatch]:
    return sorted(events, key=lambda each: each.order)


def expected(current: Member | None, events: Sequence[TimedPatch], subscribe_new: bool) -> str:  # noqa: FBT001
    """The member after all events in their order, by a rule of its own; as text: to Python 1 equals true."""
    name, subscribed, vars_ = (
        (current.name, current.subscribed, dict(current.vars))
        if current
        else ("", subscribe_new, {})
    )
    for each in in_order(events):
        name = name if each.patch.name is None else each.patch.name
        subscribed = subscribed if each.patch.consent is None else each.patch.consent
        vars_ |= each.patch.vars
    return json.dumps([name, subscribed, vars_], sort_keys=True)


def shown(member: Member | None) -> str:
    assert member
    return json.dumps([member.name, member.subscribed, member.vars], sort_keys=True)


starts = st.none() | members.map(lambda each: replace(each, subscribed=True))


@given(starts, events, ages, st.booleans(), st.data())
def test_events_in_any_order_repeated_on_old_readings_end_the_same(
    start: Member | None,
    events: list[TimedPatch],
    ages: list[float],
    subscribe_new: bool,  # noqa: FBT001
    data: st.DataObject,
) -> None:
    mailgun = SimulatedMailgun(lagging(ages), SubscriptionRules(subscribe_new))
    if start:
        mailgun.store(start)
    mailgun.now += LAG
    again = data.draw(st.lists(st.sampled_from(events), max_size=4))
    arriving = data.draw(st.permutations([*events, *again]))
    while arriving:
        together = data.draw(st.integers(1, 3))
        mailgun.deliver(*arriving[:together])
        arriving = arriving[together:]
    assert shown(mailgun.current) == expected(start, events, subscribe_new)


@given(starts.filter(bool), events, ages, st.lists(st.booleans(), min_size=1))
def test_members_hidden_from_readings_for_a_moment_end_the_same(
    start: Member, events: list[TimedPatch], ages: list[float], missing: list[bool]
) -> None:
    turns = iter(missing)
    mailgun = SimulatedMailgun(lagging(ages)).store(start)
    mailgun.now += LAG
    mailgun.deliver(TimedPatch(patch(), FIRST))
    before = [0]

    def passing() -> bool:
        before[0] = before[0] + 1 if before[0] < 2 and next(turns, False) else 0
        return before[0] > 0

    mailgun.absent = passing
    for each in events:
        mailgun.deliver(each)
    assert shown(mailgun.current) == expected(start, events, subscribe_new=True)


steps = st.lists(st.just("opt-out") | timed_patches, max_size=8)
deferrals = st.lists(st.booleans(), min_size=8, max_size=8)
NAMED = TimedPatch(Patch("jane@example.com", "Jane", {}, None, None), EventOrder(0.0))
CHANGES_NOTHING = TimedPatch(Patch("jane@example.com", None, {}, None, None), EventOrder(0.0))


@given(starts.filter(bool), steps, ages, st.booleans(), deferrals)
@example(
    Member("jane@example.com", "", subscribed=True, vars={}),
    [NAMED, "opt-out", CHANGES_NOTHING, CHANGES_NOTHING],
    [3.0, 2.0],
    False,  # noqa: FBT003
    [False] * 8,
)
@example(
    Member("jane@example.com", "", subscribed=True, vars={}),
    [NAMED, "opt-out", CHANGES_NOTHING, CHANGES_NOTHING, CHANGES_NOTHING],
    [3.0, 2.0],
    False,  # noqa: FBT003
    [False, False, False, True, False, False, False, False],
)
def test_recipients_opt_out_that_was_read_is_never_undone(
    start: Member,
    steps: list[Any],
    ages: list[float],
    subscribe_new: bool,  # noqa: FBT001
    deferrals: list[bool],
) -> None:
    rules = SubscriptionRules(subscribe_new, resubscribe=False)
    mailgun = SimulatedMailgun(lagging(ages), rules).store(start)
    mailgun.now += LAG
    seen = False
    for step, deferred in zip(steps, deferrals, strict=False):
        if step == "opt-out":
            mailgun.opt_out()
        else:
            patch = step.patch._replace(consent=step.patch.consent or None)
            mailgun.deliver(step._replace(patch=patch), deferred=deferred)
        seen = seen or mailgun.seen_no
        assert deferred or not (seen and mailgun.current and mailgun.current.subscribed)


@given(starts.filter(bool), events, st.booleans())
def test_opt_out_is_never_undone_when_readings_do_not_lag(
    start: Member,
    events: list[TimedPatch],
    subscribe_new: bool,  # noqa: FBT001
) -> None:
    mailgun = SimulatedMailgun(lambda: 0.0, SubscriptionRules(subscribe_new)).store(start)
    mailgun.now += LAG
    mailgun.opt_out()
    for each in events:
        mailgun.deliver(each)
        assert mailgun.current
        assert not mailgun.current.subscribed


@given(starts, events, ages)
def test_with_resubscribe_the_newest_known_consent_stands(
    start: Member | None, events: list[TimedPatch], ages: list[float]
) -> None:
    mailgun = SimulatedMailgun(lagging(ages), SubscriptionRules(resubscribe=True))
    if start:
        mailgun.store(replace(start, subscribed=False))
    mailgun.now += LAG
    for each in events:
        mailgun.deliver(each)
    known = [each.patch.consent for each in in_order(events) if each.patch.consent is not None]
    assert mailgun.current
    if known:
        assert mailgun.current.subscribed is known[-1]


@given(starts.filter(bool), events, events, st.sampled_from([5.0, 3 * LAG]))
def test_fields_overwritten_by_a_late_write_are_written_again(
    start: Member, before: list[TimedPatch], after: list[TimedPatch], looks_after: float
) -> None:
    mailgun = SimulatedMailgun(lambda: 0.0).store(start)
    mailgun.now += LAG
    for each in before:
        mailgun.deliver(each)
    late = mailgun.current
    mailgun.record = mailgun.record._replace(
        late=Late(mailgun.now, digest_of(late)) if late else None
    )
    for each in after:
        mailgun.deliver(each)
    right = mailgun.current
    assert late
    assert right
    # A "no" that shows up after the time in which Mailgun may apply ours is the recipient's.
    is_the_recipients = looks_after > LAG and not late.subscribed
    mailgun.now += looks_after
    mailgun.store(late)
    mailgun.deliver()
    expected = replace(right, subscribed=right.subscribed and not is_the_recipients)
    assert shown(mailgun.current) == shown(expected)


@given(starts.filter(bool), events, ages)
def test_deleted_member_comes_back_with_the_next_event_alone(
    start: Member, events: list[TimedPatch], ages: list[float]
) -> None:
    mailgun = SimulatedMailgun(lagging(ages)).store(start)
    mailgun.now += LAG
    for each in events:
        mailgun.deliver(each)
    denied = mailgun.record.denies
    mailgun.store(None)
    mailgun.now += 2 * LAG
    mailgun.deliver(TimedPatch(patch(only="this"), EventOrder(100.0)))
    assert mailgun.current == Member(ADDRESS, subscribed=not denied, vars={"only": "this"})
