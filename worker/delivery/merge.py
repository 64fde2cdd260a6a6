"""The member that should stand: what Mailgun holds, overlaid with every field that an event has set, the newest event first.

Fields: the last writer by event order wins, and owns the field. Subscription: a "no" stands, whoever said it, until a newer
granted consent lifts it; the recipient's own is lifted by none. A new member whose consent is unknown is subscribed as
`subscribe_new` says; one whose consent was not understood is not.

An undated patch, whose time stamp was not understood, sets only what is not set yet. Its "no" is overruled by nothing but
the consent of an event with a time; its "yes" overrules nothing.
"""

from dataclasses import dataclass, replace
from typing import Any

from worker.delivery.record import CONSENT, FIRST, UNDATED_AT, EventOrder, No, Owned, Record
from worker.mailgun.member import Member
from worker.signal.patch import Patch


@dataclass(frozen=True)
class Subscribing:
    """The operator's choices on who is subscribed."""

    subscribe_new: bool = True  # MAILGUN_SUBSCRIBE_NEW: a new member whose consent is unknown
    resubscribe: bool = False  # MAILGUN_RESUBSCRIBE: a granted consent lifts a recipient's opt-out


def surviving(patch: Patch, record: Record, order: EventOrder) -> Patch:
    """What is left of `patch`, of an event of that order, after the fields that newer events have set."""
    owned = record.owned
    if patch.undated:
        return _surviving_undated(patch, record)
    if not any(each.order > order for each in owned.values()):
        return patch

    def stands(name: str) -> bool:
        return name not in owned or owned[name].order <= order

    return replace(
        patch,
        name=patch.name if stands("name") else None,
        vars={name: value for name, value in patch.vars.items() if stands(f"vars.{name}")},
        consent=patch.consent if stands(CONSENT) else None,
    )


def _surviving_undated(patch: Patch, record: Record) -> Patch:
    """What no event has set yet; a denied consent also over that of other undated events."""
    owned, said = record.owned, patch.consent
    consent = owned.get(CONSENT)
    overruled = (consent or record.no) if said else (consent and consent.order.at > UNDATED_AT)
    return replace(
        patch,
        name=patch.name if "name" not in owned else None,
        vars={name: value for name, value in patch.vars.items() if f"vars.{name}" not in owned},
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


def fields_of(patch: Patch) -> dict[str, Any]:
    """The fields that `patch` sets, as the ledger names them, with their values."""
    named = {"name": patch.name} if patch.name is not None else {}
    consented = {CONSENT: patch.consent} if patch.consent is not None else {}
    return {**named, **{f"vars.{name}": value for name, value in patch.vars.items()}, **consented}


def after_patch(record: Record, patch: Patch, order: EventOrder, rules: Subscribing, now: float) -> Record:
    """What is known once `patch`, an event of that order of which nothing is superseded, stands since the moment `now`."""
    sets = {name: Owned(value, order) for name, value in fields_of(patch).items()}
    record = replace(record, owned={**record.owned, **sets})
    match patch.consent:
        case True if record.no and rules.resubscribe:
            return replace(record, no=record.no._replace(by=order))
        case False if record.no is None:
            return replace(record, no=No(now, order))
        case False if record.no and record.no.by:
            return replace(record, no=record.no._replace(by=order))
        case _:
            return record


def after_creation(record: Record, patch: Patch, rules: Subscribing, now: float) -> Record:
    """What is known of a member that Mailgun does not hold, once `patch` creates it at the moment `now`."""
    consent = record.owned.get(CONSENT)
    subscribes = consent.value if consent else rules.subscribe_new and not patch.consent_unclear
    if record.no or patch.consent is not None or subscribes:
        return record
    return replace(record, no=No(now, consent.order if consent else FIRST))


def standing(held: Member, record: Record) -> Member:
    """The whole member to stand: `held`, overlaid with what events have set."""
    own = record.owned
    vars_ = {name[5:]: each.value for name, each in own.items() if name.startswith("vars.")}
    name = own["name"].value if "name" in own else held.name
    return Member(held.address, name, not record.denies, {**held.vars, **vars_})
