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

from worker.delivery.batch_policy import BatchPolicy, chunked, is_plain_address
from worker.delivery.member_store import MemberStore
from worker.delivery.member_update import MemberUpdate, locked_outcome, on_hold_outcome
from worker.delivery.request_reports import HELD_BY_PACE_SECONDS, REFUSALS, RequestReports
from worker.gate.gate import Gate, HoldChange
from worker.mailgun.client import MailgunClient
from worker.mailgun.member import Member
from worker.mailgun.outcome import (
    Outcome,
    OutcomeKind,
    classify_bulk_write,
    classify_read,
    classify_write,
)
from worker.members.lease import OnHold
from worker.members.merge import SubscriptionRules
from worker.privacy import redacted

logger = logging.getLogger("signal_mailgun.delivery")

Asked = TypeVar("Asked")
Entry = tuple[MemberUpdate, str]  # of a call for many, and its JSON

EVENT_ERRORS = frozenset(
    {OutcomeKind.REJECTED, OutcomeKind.UNEXPECTED_STATUS}
)  # refusals that may be one event's doing, of several
SAMPLE_SIZE = 3  # members that are read back after an answer that proves nothing
CHUNK_SIZE = 32  # members that are asked for one by one between two looks at the hold, several at the same moment


OnHoldChange = Callable[
    [str, str], None
]  # what to do when a hold begins or ends: its kind, and why


def ignore_hold_change(_kind: str, _why: str) -> None:
    """Do nothing: the default of `OnHoldChange`."""


@dataclass(frozen=True)
class Collaborators:
    """What a batch write works with, for one mailing list."""

    mailgun: MailgunClient
    gate: Gate
    member_store: MemberStore  # who has which member
    rules: SubscriptionRules
    batch_policy: BatchPolicy
    pool: Executor  # in which members are read, or written alone, several at once
    clock: Callable[[], datetime]  # UTC
    on_hold_change: OnHoldChange
    lag: float = 0.0  # MAILGUN_READ_LAG_SECONDS


class BatchWrite:
    """One go at the members of some stays. Each stay has its outcome, and its member is released, once it has been run."""

    def __init__(self, collaborators: Collaborators, updates: Sequence[MemberUpdate]) -> None:
        """Each stay's member is this round's alone."""
        self._deps = collaborators
        self._stays = updates
        self._paid = collaborators.gate.rules.event_cost * sum(
            each.paid for update in updates for each in update.wanted
        )
        self._answers = RequestReports(collaborators.gate, collaborators.clock)

    def run(self) -> None:
        """Make Mailgun hold what is wanted. Raises `redis.RedisError`, and whatever our own bugs raise."""
        left = self._stays
        try:
            for update in self._stays:
                update.plan_from_cache(self._deps.rules)
            for updates in self._suspects_last():
                self._read([each for each in updates if each.needs_read])
                self._write([each for each in updates if each.needs_write])
                left = [each for each in left if each not in updates]
                self._close(updates, settling=not left)
        finally:
            self._close(left, settling=True)

    def _close(self, updates: Sequence[MemberUpdate], *, settling: bool) -> None:
        """Release these; `settling` what was paid for and not used, with the last of them."""
        if not updates:
            return
        for update in updates:
            update.lease.looks = update.is_looked_at
        pay = -self._permits if settling else 0.0
        self._tell(
            self._deps.member_store.release(
                [each.lease for each in updates], self._answers.rest(), pay
            )
        )
        for update in updates:
            if update.lease.lost:
                update.lose()

    def _suspects_last(self) -> list[list[MemberUpdate]]:
        """The stays, those apart that got no usable answer lately: the others do not wait for them."""
        suspects = [each for each in self._stays if self._is_suspect(each)]
        return [[each for each in self._stays if each not in suspects], suspects]

    def _is_suspect(self, update: MemberUpdate) -> bool:
        return update.goes_alone or self._deps.batch_policy.is_suspect(update.address)

    # Reading

    def _read(self, updates: Sequence[MemberUpdate]) -> None:
        for part in _parts(self._acquire_permits(updates)):
            self._read_at_once(part)
            if len(part) < len(updates) and not self._answers.stopped:
                self._report_now()
                self._answers.stopped = self._deps.gate.seconds_until_open() > 0

    def _read_at_once(self, updates: Sequence[MemberUpdate]) -> None:
        for update, read in zip(updates, self._each(self._reading, updates), strict=True):
            if isinstance(read, Outcome):
                self._went_alone(update, read)
            else:
                update.plan_from(read, self._deps.rules)

    def _reading(self, update: MemberUpdate) -> Member | Outcome | None:
        """What Mailgun holds; held, where it was not asked any more."""
        if self._answers.stopped:
            return on_hold_outcome(HELD_BY_PACE_SECONDS)
        read = classify_read(
            self._deps.mailgun.read_member(update.address), update.address, self._deps.clock()
        )
        if isinstance(read, Outcome):
            return self._answered(update, read, written=False)
        self._answered(update, Outcome(OutcomeKind.UNCHANGED), written=False)
        return read

    # Writing

    def _write(self, updates: Sequence[MemberUpdate]) -> None:
        sharing = self._deps.batch_policy.shares()
        shared = [each for each in updates if sharing and self._may_share(each)]
        entries = [each.member.entry() for each in shared]
        for call in chunked([len(each) for each in entries], self._deps.batch_policy.size):
            self._write_together(list(zip(shared[call], entries[call], strict=True)))
        together = set(shared)
        self._write_alone([each for each in updates if each not in together])

    def _may_share(self, update: MemberUpdate) -> bool:
        ordinary = update.exists or is_plain_address(update.address)
        return ordinary and not self._is_suspect(update)

    def _write_together(self, entries: Sequence[Entry]) -> None:
        self._settle(*self._call(entries))

    def _call(self, entries: Sequence[Entry]) -> tuple[Sequence[Entry], Outcome]:
        """Write those members that may be written in one request; gives those who have no outcome yet, and what became of it."""
        if len(entries) == 1:
            (update, _) = entries[0]
            self._write_alone([update])
            return [], update.outcome or Outcome(OutcomeKind.UNCHANGED)
        allowed = set(self._authorize([update for update, _ in entries], 1))
        entries = [(update, entry) for update, entry in entries if update in allowed]
        if not entries:
            return [], on_hold_outcome(HELD_BY_PACE_SECONDS)
        updates = [update for update, _ in entries]
        if not all(update.lease.may_write() for update in updates):
            self._too_late(updates)
            return [], locked_outcome()
        answer = self._deps.mailgun.upsert_many([entry for _, entry in entries])
        outcome = classify_bulk_write(answer, self._deps.mailgun.list_address, self._deps.clock())
        for update in updates:
            update.requests += 1
        # What may be one member's doing is about nobody until it is known whose.
        known = outcome.status != 200 and not _may_be_one_members(outcome)
        return entries, self._answers.note(
            [each.address for each in updates] if known else [], outcome
        )

    def _settle(self, entries: Sequence[Entry], outcome: Outcome) -> None:
        if not entries:
            return
        updates = [update for update, _ in entries]
        if outcome.kind is OutcomeKind.DELIVERED:
            self._verify_sample(updates, outcome)
        elif outcome.status == 200:
            self._fall_back_to_single_writes(
                updates, outcome.summary, self._found(updates[:SAMPLE_SIZE])
            )
        elif len(entries) > 1 and _may_be_one_members(outcome):
            if outcome.kind in REFUSALS:  # none of them was stored
                for update in updates:
                    update.refuse()
            self._split(entries)
        else:
            self._give_up(updates, outcome)

    def _split(self, entries: Sequence[Entry]) -> None:
        """Look which half of a call that failed is to blame. Where both get no answer but a 5xx, it is Mailgun."""
        half = len(entries) // 2
        halves = [self._call(each) for each in (entries[:half], entries[half:])]
        if all(
            outcome.kind is OutcomeKind.UNAVAILABLE and outcome.status != 200
            for _, outcome in halves
        ):
            for part, outcome in halves:
                updates = [update for update, _ in part]
                self._answers.blame([each.address for each in updates], outcome)
                self._give_up(updates, outcome)
            return
        for part, outcome in halves:
            self._settle(part, outcome)

    def _give_up(self, updates: Sequence[MemberUpdate], outcome: Outcome) -> None:
        """The call ended so for each of its members. Whoever made it fail goes alone the next time, like all of them."""
        if outcome.kind is OutcomeKind.UNAVAILABLE:
            self._deps.batch_policy.suspect([each.address for each in updates])
        for update in updates:
            update.finish(outcome)

    def _too_late(self, updates: Sequence[MemberUpdate]) -> None:
        """This process was stopped for so long that others may have the members by now."""
        for update in updates:
            update.finish(locked_outcome())

    def _verify_sample(self, updates: Sequence[MemberUpdate], outcome: Outcome) -> None:
        """The answer says that all are stored. A new member is the one that may have been left out without a word."""
        sample = next((each for each in updates if not each.exists), updates[0])
        read = self._read_back([sample]) if self._deps.batch_policy.looks_after() else {}
        if any(_shows_no_write(sample, each) for each in read.values()):
            self._fall_back_to_single_writes(
                updates, "a member was left out of a call that was answered 200", {}
            )
            return
        for update in updates:
            held = read.get(update)
            update.complete(
                replace(outcome, member=held if isinstance(held, Member) else update.member)
            )

    def _read_back(
        self, updates: Sequence[MemberUpdate]
    ) -> dict[MemberUpdate, Member | Outcome | None]:
        """What Mailgun says of each, as far as it may be asked now."""
        return {
            update: self._reading(update) for update in self._acquire_permits(updates, wait=False)
        }

    def _found(self, updates: Sequence[MemberUpdate]) -> dict[MemberUpdate, Member]:
        """Those that Mailgun, asked for each, holds as sent, and as what."""
        looked = self._read_back(updates).items()
        return {
            update: read
            for update, read in looked
            if isinstance(read, Member) and update.is_as_sent(read)
        }

    def _fall_back_to_single_writes(
        self, updates: Sequence[MemberUpdate], why: str, found: Mapping[MemberUpdate, Member]
    ) -> None:
        """Members go alone for a while, these at once; who was `found` as sent is done."""
        if self._deps.batch_policy.suspend():
            logger.warning(
                "Mailgun's answer to a call for many members does not show that they are stored: members go alone for a while",
                extra={"why": redacted(why)[:200], "members": len(updates), "found": len(found)},
            )
        for update, held in found.items():
            update.complete(Outcome(OutcomeKind.DELIVERED, 200, member=held))
        self._write_alone([each for each in updates if each not in found])

    def _write_alone(self, updates: Sequence[MemberUpdate]) -> None:
        granted = self._acquire_permits(updates) if len(updates) > 1 else updates
        for part in _parts(granted):
            self._write_at_once(self._authorize(part, len(part)))

    def _write_at_once(self, updates: Sequence[MemberUpdate]) -> None:
        for update, outcome in zip(updates, self._each(self._writing, updates), strict=True):
            if outcome.kind in EVENT_ERRORS and len(update.wanted) > 1:
                self._write_one_by_one(update)
            else:
                self._went_alone(update, outcome)

    def _writing(self, update: MemberUpdate) -> Outcome:
        """What became of it; held or busy, where Mailgun was not asked any more."""
        if self._answers.stopped:
            return on_hold_outcome(HELD_BY_PACE_SECONDS)
        if not update.lease.may_write():
            return locked_outcome()
        outcome = classify_write(
            self._deps.mailgun.upsert(update.member), update.address, self._deps.clock()
        )
        return self._answered(update, outcome)

    def _went_alone(self, update: MemberUpdate, outcome: Outcome) -> None:
        if outcome.kind is OutcomeKind.UNAVAILABLE:
            self._deps.batch_policy.suspect([update.address])
        elif outcome.kind is OutcomeKind.DELIVERED:
            self._deps.batch_policy.clear(update.address)
        update.finish(outcome)

    def _write_one_by_one(self, update: MemberUpdate) -> None:
        """The member is refused with what several events set: each is tried by itself, on what the ones before it left."""
        held = update.held
        for part in update.split():
            part.plan_after(held, self._deps.rules)
            if part.needs_write:
                self._write_alone([part])
            if part.outcome and part.outcome.kind is OutcomeKind.DELIVERED:
                held = part.outcome.member

    # Asking for leave

    def _acquire_permits(
        self, updates: Sequence[MemberUpdate], *, wait: bool = True
    ) -> Sequence[MemberUpdate]:
        """Those for each of which a request may be made; the rest waits."""
        missing = math.ceil(len(updates) - self._permits - 0.001)
        if missing > 0:
            self._report_now()
            self._paid += self._deps.gate.acquire(missing)
        granted = max(0, min(len(updates), int(self._permits + 0.001)))
        if wait:
            for update in updates[granted:]:
                update.defer(HELD_BY_PACE_SECONDS)
        return updates[:granted]

    def _authorize(self, updates: Sequence[MemberUpdate], requests: int) -> Sequence[MemberUpdate]:
        """Those that may be written now, by so many requests; the rest has its outcome."""
        if self._answers.stopped:
            for update in updates:
                update.defer(HELD_BY_PACE_SECONDS)
            return ()
        if not updates:
            return ()
        self._report_now()
        pay = max(0.0, requests - self._permits)
        notes = [each.noted() for each in updates]
        answer = self._deps.member_store.renew([each.lease for each in updates], notes, pay)
        if isinstance(answer, OnHold):
            self._answers.stopped = True
            for update in updates:
                update.defer(answer.seconds)
            return ()
        self._paid += pay
        for update, note, ours in zip(updates, notes, answer, strict=True):
            if ours:
                update.send(note)
            else:
                update.lose()
        return [update for update, ours in zip(updates, answer, strict=True) if ours]

    # What came of it

    @property
    def _permits(self) -> float:
        """Requests that were paid for and not made."""
        return self._paid - self._answers.requests

    def _answered(self, update: MemberUpdate, outcome: Outcome, *, written: bool = True) -> Outcome:
        update.requests += 1
        noted = self._answers.note([update.address], outcome, written=written)
        if (
            outcome.wait_until
        ):  # others ask meanwhile, and what is under way beside this may take long
            self._report_now()
        return noted

    def _report_now(self) -> None:
        """Report what may begin a hold, before more is asked."""
        self._tell(self._deps.gate.record(self._answers.urgent()))

    def _tell(self, changes: Sequence[HoldChange]) -> None:
        for change in changes:
            self._deps.on_hold_change(*change)

    def _each(
        self, act: Callable[[MemberUpdate], Asked], updates: Sequence[MemberUpdate]
    ) -> Iterator[Asked]:
        """What `act` gives for each; several at once."""
        return map(act, updates) if len(updates) < 2 else self._deps.pool.map(act, updates)


def _may_be_one_members(outcome: Outcome) -> bool:
    """Return whether what a call for many was answered may be because of one of them."""
    failed = outcome.kind is OutcomeKind.UNAVAILABLE and outcome.status not in {None, 200}
    return failed or outcome.kind in REFUSALS


def _shows_no_write(update: MemberUpdate, read: Member | Outcome | None) -> bool:
    """Return True if `read`, what Mailgun says of the member after a call that was answered 200, is not what was sent."""
    if isinstance(read, Member):
        return not update.is_as_sent(read)
    return read is None or read.kind is OutcomeKind.WRONG_MEMBER


def _parts(updates: Sequence[MemberUpdate]) -> Iterator[Sequence[MemberUpdate]]:
    return (updates[start : start + CHUNK_SIZE] for start in range(0, len(updates), CHUNK_SIZE))
