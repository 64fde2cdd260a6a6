"""Merge events into a member, last writer wins per field: Mailgun's member plus what events set.

Fields: the newest event by event order wins, and owns the field. Subscription: a "no" stands,
whatever its origin, until a newer granted consent lifts it. The recipient's own "no" is lifted only
under `SubscriptionRules.resubscribe`. A new member whose consent is unknown is subscribed as
`subscribe_new` says; one whose consent was not understood is not subscribed.

An undated patch, whose time stamp was not understood, sets only what no event has set yet. Only the
consent of an event with a time overrules its "no"; its "yes" overrules nothing.
"""

from dataclasses import dataclass

from worker.mailgun.member import Member
from worker.members.record import CONSENT, FIRST, UNDATED_AT, EventOrder, No, Record
from worker.signal.patch import Patch


@dataclass(frozen=True)
class SubscriptionRules:
    """The operator's rules for subscriptions.

    Attributes:
        subscribe_new: MAILGUN_SUBSCRIBE_NEW: subscribe a new member whose consent is unknown.
        resubscribe: MAILGUN_RESUBSCRIBE: a granted consent lifts a recipient's opt-out.
    """

    subscribe_new: bool = True
    resubscribe: bool = False


def without_stale_fields(patch: Patch, record: Record, order: EventOrder) -> Patch:
    """Return `patch` without the fields that newer events have set.

    Args:
        patch: The patch of an event.
        record: What is known of the member.
        order: The order of that event.
    """
    if patch.undated:
        return _without_set_fields(patch, record)
    orders = record.orders
    if not orders or max(orders.values()) <= order:
        return patch

    def stands(name: str) -> bool:
        return name not in orders or orders[name] <= order

    return patch._replace(
        name=patch.name if stands("name") else None,
        vars={name: value for name, value in patch.vars.items() if stands(f"vars.{name}")},
        consent=patch.consent if stands(CONSENT) else None,
    )


def _without_set_fields(patch: Patch, record: Record) -> Patch:
    """Return the fields of an undated patch that no event has set yet.

    A denied consent stays unless an event with a time has set the consent.
    """
    orders, said = record.orders, patch.consent
    known = CONSENT in orders
    overruled = (known or record.no) if said else (known and orders[CONSENT].at > UNDATED_AT)
    return patch._replace(
        name=patch.name if "name" not in orders else None,
        vars={name: value for name, value in patch.vars.items() if f"vars.{name}" not in orders},
        consent=None if overruled else said,
    )


def filling(patch: Patch, current: Member | None) -> Patch:
    """Return an undated patch without the fields that Mailgun holds already.

    So it erases nothing and lifts no "no". A patch with a time is returned unchanged.

    Args:
        patch: The patch.
        current: The member as Mailgun holds it; None if Mailgun does not hold it.
    """
    if not patch.undated or current is None:
        return patch
    return patch._replace(
        name=None if current.name else patch.name,
        vars={name: value for name, value in patch.vars.items() if name not in current.vars},
        consent=None if patch.consent and not current.subscribed else patch.consent,
    )


def fields_of(patch: Patch) -> list[str]:
    """Return the names of the fields that `patch` sets, as the ledger spells them."""
    named = ["name"] if patch.name is not None else []
    consented = [CONSENT] if patch.consent is not None else []
    return [*named, *(f"vars.{name}" for name in patch.vars), *consented]


def after_patch(
    record: Record, patch: Patch, order: EventOrder, rules: SubscriptionRules, now: float
) -> Record:
    """Return the record after a patch was applied.

    Args:
        record: What is known before.
        patch: The patch of an event, without superseded fields.
        order: The order of that event.
        rules: The operator's rules for subscriptions.
        now: The time of the change, epoch seconds by Redis's clock.
    """
    known = dict.fromkeys(fields_of(patch), order)
    consent, no = record.consent, record.no
    if patch.consent is not None:
        consent, no = patch.consent, _no_after(no, patch.consent, order, rules, now)
    return record._replace(
        name=record.name if patch.name is None else patch.name,
        vars={**record.vars, **patch.vars},
        consent=consent,
        orders={**record.orders, **known},
        no=no,
    )


def _no_after(
    no: No | None,
    consent: bool,  # noqa: FBT001
    order: EventOrder,
    rules: SubscriptionRules,
    now: float,
) -> No | None:
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
    """Return the record before `patch` creates a member that Mailgun does not hold.

    It gets a "no" if no consent is known and the rules do not subscribe such a member, so that
    `after_patch` plans the member as unsubscribed.

    Args:
        record: What is known of the member.
        patch: The patch that creates it.
        rules: The operator's rules for subscriptions.
        now: The time of the creation, epoch seconds by Redis's clock.
    """
    subscribes = (
        rules.subscribe_new and not patch.consent_unclear
        if record.consent is None
        else record.consent
    )
    if record.no or patch.consent is not None or subscribes:
        return record
    return record._replace(no=No(now, record.orders.get(CONSENT, FIRST)))


def overlaid(current: Member, record: Record) -> Member:
    """Return the whole member that Mailgun should hold: `current` with what events set."""
    name = current.name if record.name is None else record.name
    return Member(current.address, name, not record.denies, {**current.vars, **record.vars})
