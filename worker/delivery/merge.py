"""The member that should stand after a patch: what Mailgun holds, and what the event sets, under the subscription rule.

Consent known: that value. Consent unknown: what Mailgun holds, and for a new member `subscribe_new`.
But a recipient's own opt-out stands: a granted consent does not undo a "no" that is not known to be ours.
"""

from dataclasses import dataclass

from worker.mailgun.member import Member
from worker.signal.patch import Patch


@dataclass(frozen=True)
class Subscribing:
    """The operator's choices on who is subscribed."""

    subscribe_new: bool = True  # MAILGUN_SUBSCRIBE_NEW: a new member whose consent is unknown
    resubscribe: bool = False  # MAILGUN_RESUBSCRIBE: a granted consent lifts a recipient's opt-out


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


def _subscribed(held: Member | None, consent: bool | None, rules: Subscribing, *, our_no: bool) -> bool:  # noqa: FBT001
    if held is None:
        return rules.subscribe_new if consent is None else consent
    if consent is None:
        return held.subscribed
    opted_out = not held.subscribed and not our_no
    if consent and opted_out:
        return rules.resubscribe
    return consent
