"""What the patches of one member make of it, one after the other: the member to stand, and how each patch will have ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.mailgun.member import Member
from worker.mailgun.outcome import OutcomeKind
from worker.members.merge import (
    SubscriptionRules,
    after_creation,
    after_patch,
    fields_of,
    filling,
    retry_state,
    surviving,
)
from worker.members.record import EventOrder, No, Record, digest_of
from worker.signal.patch import Patch


@dataclass(frozen=True)
class TimedPatch:
    """One patch that Mailgun should hold."""

    patch: Patch
    order: EventOrder
    paid: bool = True  # its first request was paid for when it was taken
    alone: bool = False  # its last attempt had no answer: it shares no request with other members


@dataclass(frozen=True)
class MergePlan:
    """What is to become of one member."""

    held: Member | None  # as Mailgun holds it; None: it does not
    member: Member | None  # to stand; None: there is to be none
    record: Record  # once it stands
    kinds: tuple[
        OutcomeKind, ...
    ]  # of each patch, once it stands: superseded, unchanged or delivered

    @property
    def writes(self) -> bool:
        """Does Mailgun have to be asked to store anything?"""
        return self.member is not None and not same(self.held, self.member)


def plan_merge(
    held: Member | None,
    record: Record,
    wanted: Sequence[TimedPatch],
    rules: SubscriptionRules,
    now: float,
) -> MergePlan:
    """What `wanted`, in this order, makes at the moment `now` of the member that Mailgun holds.

    `record` has taken in that reading. Without anything wanted the member that stands is planned all the same, but none is
    created.
    """
    member, kinds = retry_state(held, record) if held else None, list[OutcomeKind]()
    for each in wanted:
        left = filling(surviving(each.patch, record, each.order), member)
        if is_superseded(each, left):
            kinds.append(OutcomeKind.SUPERSEDED)
            continue
        if member is None:
            record = after_creation(record, left, rules, now)
        record = after_patch(record, left, each.order, rules, now)
        after = retry_state(member or Member(each.patch.address), record)
        kinds.append(OutcomeKind.UNCHANGED if same(member, after) else OutcomeKind.DELIVERED)
        member = after
    written = record if same(held, member) else _confirmed(record, now)
    return MergePlan(held, member, written, tuple(kinds))


def noted(record: Record, plan: MergePlan, now: float) -> Record:
    """What must be known before the member is written at the moment `now`: were the worker killed once it is stored, a "no" of
    this program would look like the recipient's."""
    no = plan.record.no
    if plan.member is None or no is None or no.by is None or (record.no and not record.no.sent):
        return record
    return record._replace(no=No(now, no.by, digest_of(plan.member)))


def superseded(wanted: TimedPatch, record: Record) -> bool:
    """Have newer events set all that the patch would?"""
    return is_superseded(wanted, surviving(wanted.patch, record, wanted.order))


def is_superseded(wanted: TimedPatch, left: Patch) -> bool:
    """Is nothing left of what the patch would set?"""
    return left is not wanted.patch and not fields_of(left) and bool(fields_of(wanted.patch))


def same(held: Member | None, member: Member | None) -> bool:
    """Are these the same to Mailgun? To Python 1 equals true; as texts they differ."""
    return held == member and (held is None or member is None or held.form() == member.form())


def _confirmed(record: Record, now: float) -> Record:
    """Once the member is written, a "no" needs no proof any more, and one that is lifted is none."""
    if record.no is None:
        return record
    if record.is_lifted:
        return record._replace(no=None, lifted_at=now)
    return (
        record._replace(no=record.no._replace(since=now, sent=None)) if record.no.sent else record
    )
