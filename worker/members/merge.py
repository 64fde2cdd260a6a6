"""The member that should stand: what Mailgun holds, overlaid with every field that an event has set, the newest event first.

Fields: the last writer by event order wins, and owns the field. Subscription: a "no" stands, whoever said it, until a newer
granted consent lifts it; the recipient's own is lifted by none. A new member whose consent is unknown is subscribed as
`subscribe_new` says; one whose consent was not understood is not.

An undated patch, whose time stamp was not understood, sets only what is not set yet. Its "no" is overruled by nothing but
the consent of an event with a time; its "yes" overrules nothing.
"""

from dataclasses import dataclass, replace

from worker.mailgun.member import Member
from worker.members.record import CONSENT, FIRST, UNDATED_AT, EventOrder, No, Record
from worker.signal.patch import Patch


@dataclass(frozen=True)
class SubscriptionRules:
    """The operator's choices on who is subscribed."""

    subscribe_new: bool = True  # MAILGUN_SUBSCRIBE_NEW: a new member whose consent is unknown
    resubscribe: bool = False  # MAILGUN_RESUBSCRIBE: a granted consent lifts a recipient's opt-out


def surviving(patch: Patch, record: Record, order: EventOrder) -> Patch:
    """What is left of `patch`, of an event of that order, after the fields that newer events have set."""
    if patch.undated:
        return _surviving_undated(patch, record)
    orders = record.orders
    if not any(each > order for each in orders.values()):
        return patch

    def stands(name: str) -> bool:
        return name not in orders or orders[name] <= order

    return replace(
        patch,
        name=patch.name if stands("name") else None,
        vars={name: value for name, value in patch.vars.items() if stands(f"vars.{name}")},
        consent=patch.consent if stands(CONSENT) else None,
    )


def _surviving_undated(patch: Patch, record: Record) -> Patch:
    """What no event has set yet; a denied consent also over that of other undated events."""
    orders, said = record.orders, patch.consent
    known = CONSENT in orders
    overruled = (known or record.no) if said else (known and orders[CONSENT].at > UNDATED_AT)
    return replace(
        patch,
        name=patch.name if "name" not in orders else None,
        vars={name: value for name, value in patch.vars.items() if f"vars.{name}" not in orders},
        consent=None if overruled else said,
    )


def filling(patch: Patch, held: Member | None) -> Patch:
    """Return what is left of an undated `patch` beside what Mailgun holds: it erases nothing and lifts no "no".

    A patch with a time is returned as it is.
    """
    if not patch.undated or held is None:
        return patch
    return replace(
        patch,
        name=None if held.name else patch.name,
        vars={name: value for name, value in patch.vars.items() if name not in held.vars},
        consent=None if patch.consent and not held.subscribed else patch.consent,
    )


def fields_of(patch: Patch) -> list[str]:
    """The fields that `patch` sets, as the ledger names them."""
    named = ["name"] if patch.name is not None else []
    consented = [CONSENT] if patch.consent is not None else []
    return [*named, *(f"vars.{name}" for name in patch.vars), *consented]


def after_patch(
    record: Record, patch: Patch, order: EventOrder, rules: SubscriptionRules, now: float
) -> Record:
    """What is known once `patch`, an event of that order of which nothing is superseded, stands since the moment `now`."""
    known = dict.fromkeys(fields_of(patch), order)
    record = record._replace(vars={**record.vars, **patch.vars}, orders={**record.orders, **known})
    if patch.name is not None:
        record = record._replace(name=patch.name)
    if patch.consent is not None:
        record = record._replace(
            consent=patch.consent, no=_no_after(record.no, patch.consent, order, rules, now)
        )
    return record


def _no_after(
    no: No | None, consent: bool, order: EventOrder, rules: SubscriptionRules, now: float
) -> No | None:  # noqa: FBT001
    match consent, no:
        case True, No() if rules.resubscribe:
            return no._replace(by=order)
        case False, None:
            return No(now, order)
        case False, No(by=EventOrder()):
            return no._replace(by=order)
        case _:
            return no


def after_creation(record: Record, patch: Patch, rules: SubscriptionRules, now: float) -> Record:
    """What is known of a member that Mailgun does not hold, once `patch` creates it at the moment `now`."""
    subscribes = (
        rules.subscribe_new and not patch.consent_unclear
        if record.consent is None
        else record.consent
    )
    if record.no or patch.consent is not None or subscribes:
        return record
    return record._replace(no=No(now, record.orders.get(CONSENT, FIRST)))


def retry_state(held: Member, record: Record) -> Member:
    """The whole member to stand: `held`, overlaid with what events have set."""
    name = held.name if record.name is None else record.name
    return Member(held.address, name, not record.denies, {**held.vars, **record.vars})
