"""One go at several members at once: each is read where that is needed, then they are written together, then released.

Every request is asked for straight before it is made, in the step that renews the members' leases. A 429 to a whole call holds
for each of its members. A refusal or a 5xx may be one member's doing, so the call is split in halves until the culprit is alone;
where both halves get a 5xx it is Mailgun's doing. Where many members are refused it is nobody's: a handful pay for it, the rest
wait.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from worker.delivery.batch_policy import Batching, calls, is_ordinary
from worker.delivery.member_store import Desk
from worker.delivery.member_update import Stay, busy_outcome, held_outcome
from worker.delivery.request_reports import HELD_BY_PACE_SECONDS, REFUSALS, Answers
from worker.gate.gate import Change, Flow
from worker.mailgun.client import Mailgun
from worker.mailgun.member import Member
from worker.mailgun.outcome import Kind, Outcome, read_outcome, write_many_outcome, write_outcome
from worker.members.lease import Held
from worker.members.merge import Subscribing
from worker.privacy import redacted

logger = logging.getLogger("signal_mailgun.delivery")

Asked = TypeVar("Asked")
Entry = tuple[Stay, str]  # of a call for many, and its JSON

OF_ONE_EVENT = frozenset({Kind.REJECTED, Kind.UNEXPECTED_STATUS})  # refusals that may be one event's doing, of several
SAMPLE = 3  # members that are read back after an answer that proves nothing
AT_ONCE = 32  # members that are asked for one by one between two looks at the hold, several at the same moment


OnHoldChange = Callable[[str, str], None]  # what to do when a hold begins or ends: its kind, and why


def ignore_hold_change(_kind: str, _why: str) -> None:
    """Do nothing: the default of `OnHoldChange`."""


@dataclass(frozen=True)
class Collaborators:
    """What a batch write works with, for one mailing list."""

    mailgun: Mailgun
    flow: Flow
    desk: Desk  # who has which member
    rules: Subscribing
    batching: Batching
    pool: Executor  # in which members are read, or written alone, several at once
    clock: Callable[[], datetime]  # UTC
    told: OnHoldChange
    lag: float = 0.0  # MAILGUN_READ_LAG_SECONDS


class Round:
    """One go at the members of some stays. Each stay has its outcome, and its member is released, once it has been run."""

    def __init__(self, collaborators: Collaborators, stays: Sequence[Stay]) -> None:
        """Each stay's member is this round's alone."""
        self._it = collaborators
        self._stays = stays
        self._paid = collaborators.flow.rules.event_cost * sum(each.paid for stay in stays for each in stay.wanted)
        self._answers = Answers(collaborators.flow, collaborators.clock)

    def run(self) -> None:
        """Make Mailgun hold what is wanted. Raises `redis.RedisError`, and whatever our own bugs raise."""
        left = self._stays
        try:
            for stay in self._stays:
                stay.plan_unread(self._it.rules)
            for stays in self._suspects_last():
                self._read([each for each in stays if each.is_unread])
                self._write([each for each in stays if each.is_unwritten])
                left = [each for each in left if each not in stays]
                self._close(stays, settling=not left)
        finally:
            self._close(left, settling=True)

    def _close(self, stays: Sequence[Stay], *, settling: bool) -> None:
        """Release these; `settling` what was paid for and not used, with the last of them."""
        if not stays:
            return
        for stay in stays:
            stay.visit.looks = stay.is_looked_at
        pay = -self._purse if settling else 0.0
        self._tell(self._it.desk.close([each.visit for each in stays], self._answers.rest(), pay))
        for stay in stays:
            if stay.visit.lost:
                stay.lose()

    def _suspects_last(self) -> list[list[Stay]]:
        """The stays, those apart that got no usable answer lately: the others do not wait for them."""
        suspects = [each for each in self._stays if self._is_suspect(each)]
        return [[each for each in self._stays if each not in suspects], suspects]

    def _is_suspect(self, stay: Stay) -> bool:
        return stay.goes_alone or self._it.batching.is_suspect(stay.address)

    # Reading

    def _read(self, stays: Sequence[Stay]) -> None:
        for part in _parts(self._granted(stays)):
            self._read_at_once(part)
            if len(part) < len(stays) and not self._answers.stopped:
                self._report_now()
                self._answers.stopped = self._it.flow.ask() > 0

    def _read_at_once(self, stays: Sequence[Stay]) -> None:
        for stay, read in zip(stays, self._each(self._reading, stays), strict=True):
            if isinstance(read, Outcome):
                self._went_alone(stay, read)
            else:
                stay.plan_on(read, self._it.rules)

    def _reading(self, stay: Stay) -> Member | Outcome | None:
        """What Mailgun holds; held, where it was not asked any more."""
        if self._answers.stopped:
            return held_outcome(HELD_BY_PACE_SECONDS)
        read = read_outcome(self._it.mailgun.read_member(stay.address), stay.address, self._it.clock())
        if isinstance(read, Outcome):
            return self._answered(stay, read, written=False)
        self._answered(stay, Outcome(Kind.UNCHANGED), written=False)
        return read

    # Writing

    def _write(self, stays: Sequence[Stay]) -> None:
        sharing = self._it.batching.shares()
        shared = [each for each in stays if sharing and self._may_share(each)]
        entries = [each.member.entry() for each in shared]
        for call in calls([len(each) for each in entries], self._it.batching.size):
            self._write_together(list(zip(shared[call], entries[call], strict=True)))
        together = set(shared)
        self._write_alone([each for each in stays if each not in together])

    def _may_share(self, stay: Stay) -> bool:
        ordinary = stay.exists or is_ordinary(stay.address)
        return ordinary and not self._is_suspect(stay)

    def _write_together(self, entries: Sequence[Entry]) -> None:
        self._settle(*self._call(entries))

    def _call(self, entries: Sequence[Entry]) -> tuple[Sequence[Entry], Outcome]:
        """Write those members that may be written in one request; gives those who have no outcome yet, and what became of it."""
        if len(entries) == 1:
            (stay, _) = entries[0]
            self._write_alone([stay])
            return [], stay.outcome or Outcome(Kind.UNCHANGED)
        allowed = set(self._allowed([stay for stay, _ in entries], 1))
        entries = [(stay, entry) for stay, entry in entries if stay in allowed]
        if not entries:
            return [], held_outcome(HELD_BY_PACE_SECONDS)
        stays = [stay for stay, _ in entries]
        if not all(stay.visit.may_write() for stay in stays):
            self._too_late(stays)
            return [], busy_outcome()
        answer = self._it.mailgun.upsert_many([entry for _, entry in entries])
        outcome = write_many_outcome(answer, self._it.mailgun.list_address, self._it.clock())
        for stay in stays:
            stay.requests += 1
        # What may be one member's doing is about nobody until it is known whose.
        known = outcome.status != 200 and not _may_be_one_members(outcome)
        return entries, self._answers.note([each.address for each in stays] if known else [], outcome)

    def _settle(self, entries: Sequence[Entry], outcome: Outcome) -> None:
        if not entries:
            return
        stays = [stay for stay, _ in entries]
        if outcome.kind is Kind.DELIVERED:
            self._look_after(stays, outcome)
        elif outcome.status == 200:
            self._distrust(stays, outcome.summary, self._found(stays[:SAMPLE]))
        elif len(entries) > 1 and _may_be_one_members(outcome):
            if outcome.kind in REFUSALS:  # none of them was stored
                for stay in stays:
                    stay.refuse()
            self._split(entries)
        else:
            self._give_up(stays, outcome)

    def _split(self, entries: Sequence[Entry]) -> None:
        """Look which half of a call that failed is to blame. Where both get no answer but a 5xx, it is Mailgun."""
        half = len(entries) // 2
        halves = [self._call(each) for each in (entries[:half], entries[half:])]
        if all(outcome.kind is Kind.UNAVAILABLE and outcome.status != 200 for _, outcome in halves):
            for part, outcome in halves:
                stays = [stay for stay, _ in part]
                self._answers.blame([each.address for each in stays], outcome)
                self._give_up(stays, outcome)
            return
        for part, outcome in halves:
            self._settle(part, outcome)

    def _give_up(self, stays: Sequence[Stay], outcome: Outcome) -> None:
        """The call ended so for each of its members. Whoever made it fail goes alone the next time, like all of them."""
        if outcome.kind is Kind.UNAVAILABLE:
            self._it.batching.suspect([each.address for each in stays])
        for stay in stays:
            stay.conclude(outcome)

    def _too_late(self, stays: Sequence[Stay]) -> None:
        """This process was stopped for so long that others may have the members by now."""
        for stay in stays:
            stay.conclude(busy_outcome())

    def _look_after(self, stays: Sequence[Stay], outcome: Outcome) -> None:
        """The answer says that all are stored. A new member is the one that may have been left out without a word."""
        sample = next((each for each in stays if not each.exists), stays[0])
        read = self._looked([sample]) if self._it.batching.looks_after() else {}
        if any(_shows_no_write(sample, each) for each in read.values()):
            self._distrust(stays, "a member was left out of a call that was answered 200", {})
            return
        for stay in stays:
            held = read.get(stay)
            stay.deliver(replace(outcome, member=held if isinstance(held, Member) else stay.member))

    def _looked(self, stays: Sequence[Stay]) -> dict[Stay, Member | Outcome | None]:
        """What Mailgun says of each, as far as it may be asked now."""
        return {stay: self._reading(stay) for stay in self._granted(stays, wait=False)}

    def _found(self, stays: Sequence[Stay]) -> dict[Stay, Member]:
        """Those that Mailgun, asked for each, holds as sent, and as what."""
        looked = self._looked(stays).items()
        return {stay: read for stay, read in looked if isinstance(read, Member) and stay.is_as_sent(read)}

    def _distrust(self, stays: Sequence[Stay], why: str, found: Mapping[Stay, Member]) -> None:
        """Members go alone for a while, these at once; who was `found` as sent is done."""
        if self._it.batching.distrust():
            logger.warning(
                "Mailgun's answer to a call for many members does not show that they are stored: members go alone for a while",
                extra={"why": redacted(why)[:200], "members": len(stays), "found": len(found)},
            )
        for stay, held in found.items():
            stay.deliver(Outcome(Kind.DELIVERED, 200, member=held))
        self._write_alone([each for each in stays if each not in found])

    def _write_alone(self, stays: Sequence[Stay]) -> None:
        granted = self._granted(stays) if len(stays) > 1 else stays
        for part in _parts(granted):
            self._write_at_once(self._allowed(part, len(part)))

    def _write_at_once(self, stays: Sequence[Stay]) -> None:
        for stay, outcome in zip(stays, self._each(self._writing, stays), strict=True):
            if outcome.kind in OF_ONE_EVENT and len(stay.wanted) > 1:
                self._write_one_by_one(stay)
            else:
                self._went_alone(stay, outcome)

    def _writing(self, stay: Stay) -> Outcome:
        """What became of it; held or busy, where Mailgun was not asked any more."""
        if self._answers.stopped:
            return held_outcome(HELD_BY_PACE_SECONDS)
        if not stay.visit.may_write():
            return busy_outcome()
        outcome = write_outcome(self._it.mailgun.upsert(stay.member), stay.address, self._it.clock())
        return self._answered(stay, outcome)

    def _went_alone(self, stay: Stay, outcome: Outcome) -> None:
        if outcome.kind is Kind.UNAVAILABLE:
            self._it.batching.suspect([stay.address])
        elif outcome.kind is Kind.DELIVERED:
            self._it.batching.clear(stay.address)
        stay.conclude(outcome)

    def _write_one_by_one(self, stay: Stay) -> None:
        """The member is refused with what several events set: each is tried by itself, on what the ones before it left."""
        held = stay.held
        for part in stay.split():
            part.plan_after(held, self._it.rules)
            if part.is_unwritten:
                self._write_alone([part])
            if part.outcome and part.outcome.kind is Kind.DELIVERED:
                held = part.outcome.member

    # Asking for leave

    def _granted(self, stays: Sequence[Stay], *, wait: bool = True) -> Sequence[Stay]:
        """Those for each of which a request may be made; the rest waits."""
        missing = math.ceil(len(stays) - self._purse - 0.001)
        if missing > 0:
            self._report_now()
            self._paid += self._it.flow.grant(missing)
        granted = max(0, min(len(stays), int(self._purse + 0.001)))
        if wait:
            for stay in stays[granted:]:
                stay.hold(HELD_BY_PACE_SECONDS)
        return stays[:granted]

    def _allowed(self, stays: Sequence[Stay], requests: int) -> Sequence[Stay]:
        """Those that may be written now, by so many requests; the rest has its outcome."""
        if self._answers.stopped:
            for stay in stays:
                stay.hold(HELD_BY_PACE_SECONDS)
            return ()
        if not stays:
            return ()
        self._report_now()
        pay = max(0.0, requests - self._purse)
        notes = [each.noted() for each in stays]
        answer = self._it.desk.ask_again([each.visit for each in stays], notes, pay)
        if isinstance(answer, Held):
            self._answers.stopped = True
            for stay in stays:
                stay.hold(answer.seconds)
            return ()
        self._paid += pay
        for stay, note, ours in zip(stays, notes, answer, strict=True):
            if ours:
                stay.send(note)
            else:
                stay.lose()
        return [stay for stay, ours in zip(stays, answer, strict=True) if ours]

    # What came of it

    @property
    def _purse(self) -> float:
        """Requests that were paid for and not made."""
        return self._paid - self._answers.requests

    def _answered(self, stay: Stay, outcome: Outcome, *, written: bool = True) -> Outcome:
        stay.requests += 1
        noted = self._answers.note([stay.address], outcome, written=written)
        if outcome.wait_until:  # others ask meanwhile, and what is under way beside this may take long
            self._report_now()
        return noted

    def _report_now(self) -> None:
        """Report what may begin a hold, before more is asked."""
        self._tell(self._it.flow.report_all(self._answers.urgent()))

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._it.told(*change)

    def _each(self, act: Callable[[Stay], Asked], stays: Sequence[Stay]) -> Iterator[Asked]:
        """What `act` gives for each; several at once."""
        return map(act, stays) if len(stays) < 2 else self._it.pool.map(act, stays)


def _may_be_one_members(outcome: Outcome) -> bool:
    """Return whether what a call for many was answered may be because of one of them."""
    failed = outcome.kind is Kind.UNAVAILABLE and outcome.status not in {None, 200}
    return failed or outcome.kind in REFUSALS


def _shows_no_write(stay: Stay, read: Member | Outcome | None) -> bool:
    """Return True if `read`, what Mailgun says of the member after a call that was answered 200, is not what was sent."""
    if isinstance(read, Member):
        return not stay.is_as_sent(read)
    return read is None or read.kind is Kind.WRONG_MEMBER


def _parts(stays: Sequence[Stay]) -> Iterator[Sequence[Stay]]:
    return (stays[start : start + AT_ONCE] for start in range(0, len(stays), AT_ONCE))
