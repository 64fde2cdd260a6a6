"""Plan the merge of one member's patches: the member to write, and the outcome of each patch."""

from collections.abc import Sequence
from typing import NamedTuple

from worker.mailgun.member import Member
from worker.mailgun.outcome import OutcomeKind
from worker.members.merge import (
    SubscriptionRules,
    after_creation,
    after_patch,
    fields_of,
    filling,
    overlaid,
    without_stale_fields,
)
from worker.members.record import EventOrder, No, Record, digest_of
from worker.signal.patch import Patch


class TimedPatch(NamedTuple):
    """A patch with the order of its event.

    Attributes:
        patch: The fields that Mailgun should hold.
        order: The order of the event.
        alone: The event's last attempt got no answer, so its member shares no request with others.
    """

    patch: Patch
    order: EventOrder
    alone: bool = False


class MergePlan(NamedTuple):
    """The plan for one member.

    Attributes:
        current: The member as Mailgun holds it; None if Mailgun does not hold it.
        member: The member that Mailgun should hold; None if it should hold none.
        record: The record once Mailgun holds `member`.
        kinds: The outcome of each patch once Mailgun holds `member`: superseded, unchanged or
            delivered.
        writes: Mailgun does not hold `member` yet, or it is written again.
        repeats_no: `member` is written even if `current` is the same, because Mailgun may hold a
            "yes" by now.
    """

    current: Member | None
    member: Member | None
    record: Record
    kinds: tuple[OutcomeKind, ...]
    writes: bool
    repeats_no: bool


def plan_merge(
    current: Member | None,
    record: Record,
    patches: Sequence[TimedPatch],
    rules: SubscriptionRules,
    now: float,
) -> MergePlan:
    """Plan the merge of patches into a member.

    Without patches, the plan overlays a member that Mailgun holds with what events have set; it
    never creates a member.

    Args:
        current: The member as Mailgun holds it; None if Mailgun does not hold it.
        record: What is known of the member, with the reading of `current` taken in.
        patches: The patches, in the order in which they apply.
        rules: The operator's rules for subscriptions.
        now: The current time, epoch seconds by Redis's clock.
    """
    member, kinds = overlaid(current, record) if current else None, list[OutcomeKind]()
    for each in patches:
        left = filling(without_stale_fields(each.patch, record, each.order), member)
        if sets_nothing_left(each, left):
            kinds.append(OutcomeKind.SUPERSEDED)
            continue
        if member is None:
            record = after_creation(record, left, rules, now)
        record = after_patch(record, left, each.order, rules, now)
        after = overlaid(member or Member(each.patch.address), record)
        kinds.append(
            OutcomeKind.UNCHANGED if same_on_mailgun(member, after) else OutcomeKind.DELIVERED
        )
        member = after
    repeats_no = bool(record.no and record.no.repeat and member and not member.subscribed)
    writes = member is not None and (repeats_no or not same_on_mailgun(current, member))
    if writes:
        record = _confirmed(record, now)
    return MergePlan(current, member, record, tuple(kinds), writes, repeats_no)


def pre_write_record(record: Record, plan: MergePlan, now: float) -> Record:
    """Return the record that must be stored before a plan is written.

    If a worker is killed once Mailgun has stored the member, a "no" that this program set would
    otherwise look like the recipient's own.

    Args:
        record: What is known of the member.
        plan: The plan.
        now: The time of the write, epoch seconds by Redis's clock.

    Returns:
        A record with the plan's "no" and a digest of the member, or `record` itself if there is
        nothing to note. A "no" that is to be written again is noted as it is.
    """
    no = plan.record.no
    if plan.repeats_no:
        return record._replace()
    if plan.member is None or no is None or no.by is None or (record.no and not record.no.sent):
        return record
    return record._replace(no=No(now, no.by, digest_of(plan.member)))


def is_superseded(timed: TimedPatch, record: Record) -> bool:
    """Return True if newer events have set all fields that the patch sets."""
    return sets_nothing_left(timed, without_stale_fields(timed.patch, record, timed.order))


def sets_nothing_left(timed: TimedPatch, left: Patch) -> bool:
    """Return True if the patch sets fields, but `left`, what remains of it, sets none."""
    return left is not timed.patch and not fields_of(left) and bool(fields_of(timed.patch))


def same_on_mailgun(current: Member | None, member: Member | None) -> bool:
    """Return True if both are the same to Mailgun: equal values and equal form fields.

    The form fields are compared because to Python 1 equals True, while their texts differ.
    """
    return current == member and (
        current is None or member is None or current.form() == member.form()
    )


def _confirmed(record: Record, now: float) -> Record:
    """Return the record after the write: a "no" is stored by it, and a lifted "no" is removed."""
    if record.no is None:
        return record
    if record.is_lifted:
        return record._replace(no=None, lifted_at=now)
    if record.no.sent or record.no.repeat:
        return record._replace(no=record.no._replace(since=now, sent=None, repeat=False))
    return record
