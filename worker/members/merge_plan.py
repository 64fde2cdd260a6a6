"""Plan the merge of one member's patches: the member to write, and the outcome of each patch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from worker.mailgun.member import Member
from worker.mailgun.outcome import OutcomeKind
from worker.members.merge import (
    SubscriptionRules,
    after_creation,
    after_patch,
    fields_of,
    filling,
    overlaid,
    surviving,
)
from worker.members.record import EventOrder, No, Record, digest_of
from worker.signal.patch import Patch


@dataclass(frozen=True)
class TimedPatch:
    """A patch with the order of its event.

    Attributes:
        patch: The fields that Mailgun should hold.
        order: The order of the event.
        alone: The event's last attempt got no answer, so its member shares no request with others.
    """

    patch: Patch
    order: EventOrder
    alone: bool = False


@dataclass(frozen=True)
class MergePlan:
    """The plan for one member.

    Attributes:
        held: The member as Mailgun holds it; None if Mailgun does not hold it.
        member: The member that Mailgun should hold; None if it should hold none.
        record: The record once Mailgun holds `member`.
        kinds: The outcome of each patch once Mailgun holds `member`: superseded, unchanged or
            delivered.
        repeats_no: `member` is written even if `held` is the same, because Mailgun may hold a "yes"
            by now.
    """

    held: Member | None
    member: Member | None
    record: Record
    kinds: tuple[OutcomeKind, ...]
    repeats_no: bool = False

    @property
    def writes(self) -> bool:
        """Return True if the plan needs a write."""
        return self.member is not None and (self.repeats_no or not same(self.held, self.member))


def plan_merge(
    held: Member | None,
    record: Record,
    wanted: Sequence[TimedPatch],
    rules: SubscriptionRules,
    now: float,
) -> MergePlan:
    """Plan the merge of patches into a member.

    Without patches, the plan overlays a member that Mailgun holds with what events have set; it
    never creates a member.

    Args:
        held: The member as Mailgun holds it; None if Mailgun does not hold it.
        record: What is known of the member, with the reading of `held` taken in.
        wanted: The patches, in the order in which they apply.
        rules: The operator's rules for subscriptions.
        now: The current time, epoch seconds by Redis's clock.
    """
    member, kinds = overlaid(held, record) if held else None, list[OutcomeKind]()
    for each in wanted:
        left = filling(surviving(each.patch, record, each.order), member)
        if is_superseded(each, left):
            kinds.append(OutcomeKind.SUPERSEDED)
            continue
        if member is None:
            record = after_creation(record, left, rules, now)
        record = after_patch(record, left, each.order, rules, now)
        after = overlaid(member or Member(each.patch.address), record)
        kinds.append(OutcomeKind.UNCHANGED if same(member, after) else OutcomeKind.DELIVERED)
        member = after
    written = record if same(held, member) else _confirmed(record, now)
    return MergePlan(held, member, written, tuple(kinds))


def after_yes(plan: MergePlan, confirmed: Member | None, age: float, lag: float) -> MergePlan:
    """Return the plan, which repeats a "no" that a newer "yes" may have overwritten.

    A reading may show a "no" that the recipient said before this program wrote a "yes", in whose
    own reading the "no" was missing still.

    Args:
        plan: The plan after a reading.
        confirmed: The member as Mailgun last confirmed it before that reading; None if unknown.
        age: The seconds since that confirmation.
        lag: MAILGUN_READ_LAG_SECONDS.
    """
    denies = plan.member is not None and not plan.member.subscribed
    overwritten = confirmed is not None and confirmed.subscribed and age < lag
    return replace(plan, repeats_no=True) if denies and overwritten else plan


def noted(record: Record, plan: MergePlan, now: float) -> Record:
    """Return the record that must be stored before a plan is written.

    If a worker is killed once Mailgun has stored the member, a "no" that this program set would
    otherwise look like the recipient's own.

    Args:
        record: What is known of the member.
        plan: The plan.
        now: The time of the write, epoch seconds by Redis's clock.

    Returns:
        A record with the plan's "no" and a digest of the member, or `record` itself if there is
        nothing to note.
    """
    no = plan.record.no
    if plan.member is None or no is None or no.by is None or (record.no and not record.no.sent):
        return record
    return record._replace(no=No(now, no.by, digest_of(plan.member)))


def superseded(wanted: TimedPatch, record: Record) -> bool:
    """Return True if newer events have set all fields that the patch sets."""
    return is_superseded(wanted, surviving(wanted.patch, record, wanted.order))


def is_superseded(wanted: TimedPatch, left: Patch) -> bool:
    """Return True if the patch sets fields, but `left`, what remains of it, sets none."""
    return left is not wanted.patch and not fields_of(left) and bool(fields_of(wanted.patch))


def same(held: Member | None, member: Member | None) -> bool:
    """Return True if both are the same to Mailgun: equal values and equal form fields.

    The form fields are compared because to Python 1 equals True, while their texts differ.
    """
    return held == member and (held is None or member is None or held.form() == member.form())


def _confirmed(record: Record, now: float) -> Record:
    """Return the record after the write: a "no" loses its digest, and a lifted "no" is removed."""
    if record.no is None:
        return record
    if record.is_lifted:
        return record._replace(no=None, lifted_at=now)
    return (
        record._replace(no=record.no._replace(since=now, sent=None)) if record.no.sent else record
    )
