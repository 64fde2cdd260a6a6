"""The member that should stand after a patch: what Mailgun holds, what the event sets, and what newer events have set since.

Fields: last writer by event time wins. Subscription: consent known, that value; consent unknown, what Mailgun holds, and for a
new member `subscribe_new`. But a recipient's own opt-out stands: a granted consent does not undo a "no" that is not ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from worker.mailgun.member import Member
from worker.signal.patch import Patch

CONSENT = "subscribed"


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
        subscribed=_subscribed(held, patch.consent, rules, our_no=our_no),
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


def _subscribed(held: Member | None, consent: bool | None, rules: Subscribing, *, our_no: bool) -> bool:  # noqa: FBT001
    if held is None:
        return rules.subscribe_new and not our_no if consent is None else consent
    if consent is None:
        return held.subscribed
    opted_out = not held.subscribed and not our_no
    if consent and opted_out:
        return rules.resubscribe
    return consent
