"""The member that should stand after a patch: what Mailgun holds, what the event sets, and what newer events have set since.

Fields: last writer by event time wins. Subscription: consent known, that value; consent unknown, what Mailgun holds, and for a
new member `subscribe_new`; consent that was not understood never subscribes a new one. But a recipient's own opt-out stands: a
granted consent does not undo a "no" that is not ours.

An undated patch, whose time stamp was not understood, sets only what is not set yet. Its "no" is overruled by nothing but the
consent of an event with a time; its "yes" overrules nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from worker.mailgun.member import Member
from worker.signal.patch import Patch

CONSENT = "subscribed"
UNDATED_AT = -62135596800.0  # epoch seconds of the year 1: what an undated event sets, any dated one may set anew


@dataclass(frozen=True)
class Subscribing:
    """The operator's choices on who is subscribed."""

    subscribe_new: bool = True  # MAILGUN_SUBSCRIBE_NEW: a new member whose consent is unknown
    resubscribe: bool = False  # MAILGUN_RESUBSCRIBE: a granted consent lifts a recipient's opt-out


@dataclass(frozen=True)
class Known:
    """What the ledger knows of a member."""

    times: Mapping[str, float] = field(default_factory=dict)  # field -> event time that set it, epoch seconds
    our_no: bool = False  # the "no" that Mailgun holds was written by us, not by the recipient


def surviving(patch: Patch, known: Known, at: float) -> Patch:
    """What is left of `patch`, an event of the time `at`, after the fields that newer events have set."""
    if patch.undated:
        return _surviving_undated(patch, known)
    if not any(each > at for each in known.times.values()):
        return patch

    def stands(name: str) -> bool:
        return known.times.get(name, at) <= at

    return replace(
        patch,
        name=patch.name if stands("name") else None,
        vars={name: value for name, value in patch.vars.items() if stands(f"vars.{name}")},
        consent=patch.consent if stands(CONSENT) else None,
    )


def _surviving_undated(patch: Patch, known: Known) -> Patch:
    """What no event has set yet; a denied consent also over that of other undated events."""
    said = patch.consent
    overruled = CONSENT in known.times or known.our_no if said else known.times.get(CONSENT, UNDATED_AT) > UNDATED_AT
    return replace(
        patch,
        name=patch.name if "name" not in known.times else None,
        vars={name: value for name, value in patch.vars.items() if f"vars.{name}" not in known.times},
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


def merged_member(held: Member | None, patch: Patch, rules: Subscribing, *, our_no: bool = False) -> Member:
    """The whole member to stand: every field of `patch` set, every other field as `held` has it.

    `our_no` says that the "no" which Mailgun holds is known to be ours, not the recipient's.
    """
    return Member(
        address=patch.address,
        name=patch.name if patch.name is not None else (held.name if held else ""),
        subscribed=_subscribed(held, patch, rules, our_no=our_no),
        vars={**(held.vars if held else {}), **patch.vars},
    )


def known_after(known: Known, patch: Patch, at: float, held: Member | None, member: Member) -> Known:
    """What the ledger knows once `member` stands where `held` stood, by a `patch` of the time `at`."""
    return Known({**known.times, **dict.fromkeys(fields_of(patch), at)}, our_no=our_no_after(known, held, member))


def our_no_after(known: Known, held: Member | None, member: Member) -> bool:
    """Is the "no" of `member` ours? It is where we turned a "yes", or nothing, into it, and where it was ours before."""
    if member.subscribed:
        return False
    return known.our_no if held and not held.subscribed else True


def _subscribed(held: Member | None, patch: Patch, rules: Subscribing, *, our_no: bool) -> bool:
    consent = patch.consent
    if held is None:
        may_subscribe = rules.subscribe_new and not our_no and not patch.consent_unclear
        return may_subscribe if consent is None else consent
    if consent is None:
        return held.subscribed
    opted_out = not held.subscribed and not our_no
    if consent and opted_out:
        return rules.resubscribe
    return consent
