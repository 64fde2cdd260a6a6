"""What the patches of one member make of it, one after the other: the member to stand, and how each patch will have ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.delivery.merge import Known, Subscribing, fields_of, filling, known_after, merged_member, surviving
from worker.mailgun.member import Member
from worker.mailgun.outcome import Kind
from worker.signal.patch import Patch


@dataclass(frozen=True)
class Wanted:
    """One patch that Mailgun should hold."""

    patch: Patch
    at: float  # the event's time, epoch seconds
    paid: bool = True  # its first request was paid for when it was taken


@dataclass(frozen=True)
class Plan:
    """What is to become of one member."""

    held: Member | None  # as Mailgun holds it; None: it does not
    member: Member | None  # to stand; None where newer events have set all that the patches would
    known: Known  # once it stands
    kinds: tuple[Kind, ...]  # of each patch, once it stands: superseded, unchanged or delivered

    @property
    def writes(self) -> bool:
        """Does Mailgun have to be asked to store anything?"""
        return self.member is not None and not same(self.held, self.member)


UNREAD = Plan(None, None, Known(), ())  # stands for a plan where it is not known what Mailgun holds


def planned(held: Member | None, known: Known, wanted: Sequence[Wanted], rules: Subscribing) -> Plan:
    """What `wanted`, in this order, makes of the member that Mailgun holds."""
    member, kinds, sets = held, list[Kind](), False
    for each in wanted:
        left = filling(surviving(each.patch, known, each.at), member)
        if is_superseded(each, left):
            kinds.append(Kind.SUPERSEDED)
            continue
        after = merged_member(member, left, rules, our_no=known.our_no)
        kinds.append(Kind.UNCHANGED if same(member, after) else Kind.DELIVERED)
        known = known_after(known, left, each.at, member, after)
        member, sets = after, True
    return Plan(held, member if sets else None, known, tuple(kinds))


def superseded(wanted: Wanted, known: Known) -> bool:
    """Have newer events set all that the patch would?"""
    return is_superseded(wanted, surviving(wanted.patch, known, wanted.at))


def is_superseded(wanted: Wanted, left: Patch) -> bool:
    """Is nothing left of what the patch would set?"""
    return left is not wanted.patch and not fields_of(left) and bool(fields_of(wanted.patch))


def same(held: Member | None, member: Member | None) -> bool:
    """Are these the same to Mailgun? To Python 1 equals true; as texts they differ."""
    return held == member and (held is None or member is None or held.form() == member.form())
