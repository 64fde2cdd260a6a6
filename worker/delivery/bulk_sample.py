"""Samples of bulk calls: some members of a call are read back until Mailgun shows them as sent."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from worker.delivery.bulk_trust import BulkTrust, Form
from worker.delivery.member_update import MemberUpdate
from worker.mailgun.member import Member
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.merge_plan import same_on_mailgun

Read = Member | Outcome | None
# Outcomes of a reading that may be due to its member alone.
UNREADABLE = frozenset(
    {
        *(OutcomeKind.UNAVAILABLE, OutcomeKind.UNREADABLE_MEMBER, OutcomeKind.REJECTED),
        OutcomeKind.UNEXPECTED_STATUS,
    }
)
# Reads members, and returns the result of each.
ReadBack = Callable[[Sequence[MemberUpdate]], Mapping[MemberUpdate, Read]]


@dataclass(frozen=True)
class Look:
    """The result of a look at a sample.

    Attributes:
        shown: The members of the sample that Mailgun holds as they were sent.
        missing: Mailgun last showed a member of the sample otherwise, or not at all.
        counts: It was still missing in the last look, at the end of the wait.
        proved: The whole sample was shown.
        seconds: The seconds from the answer until the whole sample was shown; 0.0: in the first
            look, so at that time or earlier.
        unreadable: The members that Mailgun could not show, for which others were read.
    """

    shown: Mapping[MemberUpdate, Member] = field(default_factory=dict)
    missing: bool = False
    counts: bool = False
    proved: bool = False
    seconds: float = 0.0
    unreadable: Set[MemberUpdate] = frozenset()


def by_worth(updates: Sequence[MemberUpdate], form: Form) -> Sequence[MemberUpdate]:
    """Return the members of a call, those first that a sample shows most by.

    These are the new ones, which Mailgun may have left out. Then come those of whom more was
    changed than the subscription. Of a background job the last ones come first, because it may
    store one after the other.
    """
    ordered = updates[::-1] if form.may_come_later else updates
    return sorted(ordered, key=lambda each: (each.exists, _is_only_subscription(each)))


def look_at(
    updates: Sequence[MemberUpdate],
    size: int,
    form: Form,
    trust: BulkTrust,
    longest: float,
    read_back: ReadBack,
    may_go_on: Callable[[], bool],
) -> Look:
    """Read a sample again and again until it is shown, or until it was waited for long enough.

    A member that Mailgun cannot show says nothing of the call, so another one is read in its place,
    `size` others at most; but none in place of a member that was seen to be missing.

    Args:
        updates: The members of the call, as `by_worth` sorts them.
        size: The number of members in the sample.
        form: The form of the answer to the call.
        trust: Says how long to wait before each look.
        longest: Seconds to wait at most; 0: the sample is read once.
        read_back: Reads members.
        may_go_on: Returns whether further requests may be sent; asked after each look in vain.
    """
    began, sample = trust.clock(), _Sample(list(updates[:size]), list(updates[size : 2 * size]))
    missed_at: float | None = None
    seconds = 0.0
    for pause in trust.pauses(form, longest):
        if pause:
            trust.sleep(pause)
        if missed_at is not None:  # a look that failed shows no delay
            seconds, missed_at = missed_at + pause, None
        sample.take_in(read_back(sample.left))
        if not sample.left:
            return sample.result(proved=True, seconds=seconds)
        if sample.unshown:
            missed_at = trust.clock() - began
        if trust.clock() - began > trust.longest_look:
            break  # slow reads count, too, or the leases would end
        if not may_go_on():
            return sample.result()
    return sample.result(counts=bool(sample.unshown) and longest > 0)


@dataclass
class _Sample:
    """A sample that is read again and again.

    Attributes:
        left: The members to read: those that Mailgun has not shown.
        spare: Other members of the call, to read in place of unreadable ones.
        shown: The members that Mailgun holds as they were sent.
        unshown: The members that the last look showed otherwise, or not at all.
        missing: The members that any look showed so, and none showed since.
        unreadable: The members that Mailgun could not show, for which others are read.
    """

    left: list[MemberUpdate]
    spare: list[MemberUpdate]
    shown: dict[MemberUpdate, Member] = field(default_factory=dict)
    unshown: Set[MemberUpdate] = frozenset()
    missing: Set[MemberUpdate] = frozenset()
    unreadable: set[MemberUpdate] = field(default_factory=set)

    def take_in(self, reads: Mapping[MemberUpdate, Read]) -> None:
        self.shown |= {
            update: read
            for update, read in reads.items()
            if isinstance(read, Member) and _shows_write(update, read)
        }
        self.unshown = {each for each, read in reads.items() if _shows_no_write(each, read)}
        self.missing = (self.missing | self.unshown) - self.shown.keys()
        self.left = [each for each in self.left if each not in self.shown]
        self._replace_unreadable(reads)

    def _replace_unreadable(self, reads: Mapping[MemberUpdate, Read]) -> None:
        unable = [
            each for each in self.left if _is_unreadable(reads[each]) and each not in self.missing
        ]
        for update, other in zip(unable, self.spare, strict=False):
            self.unreadable.add(update)
            self.left[self.left.index(update)] = other
        del self.spare[: len(unable)]

    def result(self, *, counts: bool = False, proved: bool = False, seconds: float = 0.0) -> Look:
        return Look(self.shown, bool(self.missing), counts, proved, seconds, self.unreadable)


def _is_only_subscription(update: MemberUpdate) -> bool:
    """Return whether a write changes nothing of a member but its subscription."""
    return update.current is not None and update.is_as_sent(update.current)


def _shows_write(update: MemberUpdate, read: Member) -> bool:
    """Return whether a reading shows that a member was stored as it was sent.

    The recipient may have opted out since, which shows neither.
    """
    compares = _is_only_subscription(update) or not update.member.subscribed
    return same_on_mailgun(read, update.member) if compares else update.is_as_sent(read)


def _is_unreadable(read: Read) -> bool:
    """Return whether Mailgun failed to show a member, and may show others."""
    return isinstance(read, Outcome) and read.kind in UNREADABLE


def _shows_no_write(update: MemberUpdate, read: Read) -> bool:
    """Return whether what was read shows that a member was not stored as it was sent."""
    if isinstance(read, Member):
        overruled = read.subscribed and not update.member.subscribed
        return overruled or not update.is_as_sent(read)
    return read is None or read.kind is OutcomeKind.WRONG_MEMBER
