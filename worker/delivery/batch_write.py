"""Batch write of leased members: read those that need it, write them together, release the leases.

The gate permits reads when the leases are acquired, and again after each CHUNK_SIZE of them. It
permits each write immediately before, in the script that renews the leases.

A 429 to a call is the outcome of each of its members. One member may be the cause of a refusal or a
5xx, so the call is split in halves until that member is alone. If both halves get a 5xx, Mailgun is
the cause. If many members are refused, no single member is the cause: a few of them get the refusal
as their outcome, and the others wait.

After a 200, a sample of the call is read back unless such answers have earned trust
(`bulk_trust.py`). If it is missing, the members are written alone; or, if Mailgun may store them
later, their events wait and the members are looked after like those of a write without an answer.
If samples were waited for as long as that together, a later batch sends the calls that are left.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from worker.delivery.batch_policy import BatchPolicy, chunked, is_plain_address
from worker.delivery.bulk_sample import Look, look_at, sample_of
from worker.delivery.bulk_trust import BulkTrust, Form, form_of
from worker.delivery.member_store import MemberStore
from worker.delivery.member_update import (
    MemberUpdate,
    locked_outcome,
    on_hold_outcome,
    unproved_outcome,
)
from worker.delivery.permits import ROUNDING, Permits
from worker.delivery.request_reports import DEFER_SECONDS, REFUSALS, RequestReports
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

logger = logging.getLogger("signal_mailgun.delivery")

Asked = TypeVar("Asked")
Entry = tuple[MemberUpdate, str]  # a member of a bulk call, and its JSON

# Refusals that one of several events of the member may cause.
EVENT_ERRORS = frozenset({OutcomeKind.REJECTED, OutcomeKind.UNEXPECTED_STATUS})
# Members that are requested one by one, in several threads, between two checks of the hold.
CHUNK_SIZE = 32
LEFT_OUT = "a member was missing after a 200"


# Called when a hold begins or ends, with its kind and the reason.
OnHoldChange = Callable[[str, str], None]


def ignore_hold_change(_kind: str, _why: str) -> None:
    """Do nothing: the default of `OnHoldChange`."""


@dataclass(frozen=True)
class Collaborators:
    """The collaborators of a batch write, for one mailing list.

    Attributes:
        mailgun: The client of the list.
        gate: The circuit breaker and the token bucket.
        member_store: Leases the members.
        rules: The rules for subscriptions.
        batch_policy: Says which members share calls.
        bulk_trust: Says whether members share calls, and which call is sampled.
        pool: Reads members, or writes them alone, several at a time.
        clock: Returns the current time, UTC.
        on_hold_change: Called when a hold begins or ends.
        lag: MAILGUN_READ_LAG_SECONDS.
    """

    mailgun: MailgunClient
    gate: Gate
    member_store: MemberStore
    rules: SubscriptionRules
    batch_policy: BatchPolicy
    bulk_trust: BulkTrust
    pool: Executor
    clock: Callable[[], datetime]
    on_hold_change: OnHoldChange
    lag: float = 0.0


class BatchWrite:
    """The reads and writes for some leased members.

    After `run`, each update has its outcome, if it was to be written, and its lease is released.
    """

    def __init__(
        self, collaborators: Collaborators, updates: Sequence[MemberUpdate], permits: Permits
    ) -> None:
        """Take over the leases of `updates`, and send requests with `permits`."""
        self._deps = collaborators
        self._updates = updates
        self._permits = permits
        self._answers = RequestReports(collaborators.gate, collaborators.clock)
        # Seconds for which samples of calls were waited for.
        self._sampled_seconds = 0.0

    def run(self) -> None:
        """Read and write the members, and release their leases.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        left = self._updates
        try:
            for update in self._updates:
                update.plan_from_cache(self._deps.rules)
            for updates in self._suspects_last():
                self._read([each for each in updates if each.needs_read])
                self._write([each for each in updates if each.needs_write])
                left = [each for each in left if each not in updates]
                self._close(updates)
        finally:
            self._close(left)

    def _close(self, updates: Sequence[MemberUpdate]) -> None:
        """Release the leases of `updates`, and charge the requests that had no permit."""
        if not updates:
            return
        for update in updates:
            update.lease.looks = update.is_looked_at
        charge = max(0.0, -self._permits.left)
        self._announce(
            self._deps.member_store.release(
                [each.lease for each in updates], self._answers.rest(), charge
            )
        )
        self._permits.add(charge)
        for update in updates:
            if update.lease.lost:
                update.lose()

    def _suspects_last(self) -> list[list[MemberUpdate]]:
        """Return the updates in two groups: the second one's members lately got no usable answer.

        So the first group does not wait for them.
        """
        suspects = [each for each in self._updates if self._is_suspect(each)]
        return [[each for each in self._updates if each not in suspects], suspects]

    def _is_suspect(self, update: MemberUpdate) -> bool:
        return update.goes_alone or self._deps.batch_policy.is_suspect(update.address)

    # Reading

    def _read(self, updates: Sequence[MemberUpdate]) -> None:
        for part in _parts(self._acquire_permits(updates, self._requests_of_a_read_member)):
            self._read_at_once(part)
            if len(part) < len(updates):
                self._is_open()

    def _read_at_once(self, updates: Sequence[MemberUpdate]) -> None:
        for update, read in zip(updates, self._each(self._read_one, updates), strict=True):
            if isinstance(read, Outcome):
                self._went_alone(update, read)
            else:
                update.plan_from(read, self._deps.rules)

    def _read_one(self, update: MemberUpdate) -> Member | Outcome | None:
        """Return the member as Mailgun holds it; `on_hold` if no more requests are to be sent."""
        if self._answers.stopped:
            return on_hold_outcome(DEFER_SECONDS)
        read = classify_read(
            self._deps.mailgun.read_member(update.address), update.address, self._deps.clock()
        )
        if isinstance(read, Outcome):
            return self._note_answer(update, read, written=False)
        self._note_answer(update, Outcome(OutcomeKind.UNCHANGED), written=False)
        return read

    # Writing

    def _write(self, updates: Sequence[MemberUpdate]) -> None:
        trust, size = self._deps.bulk_trust, self._deps.batch_policy.size
        sharing = size > 1 and len(updates) > 1 and trust.shares()
        shared = [each for each in updates if sharing and self._may_share(each)]
        entries = [each.member.entry() for each in shared]
        together = set(shared)
        alone = [each for each in updates if each not in together]
        for call in chunked(
            [len(each) for each in entries], trust.call_size(size) if shared else 1
        ):
            if not trust.shares():
                alone += shared[call]
            elif self._sampled_seconds >= trust.longest_look:
                for update in shared[call]:
                    update.defer(DEFER_SECONDS)
            else:
                self._write_together(list(zip(shared[call], entries[call], strict=True)))
        self._write_alone(alone)

    def _may_share(self, update: MemberUpdate) -> bool:
        ordinary = update.exists or is_plain_address(update.address)
        return ordinary and not self._is_suspect(update)

    def _write_together(self, entries: Sequence[Entry]) -> None:
        self._settle(*self._call(entries))

    def _call(self, entries: Sequence[Entry]) -> tuple[Sequence[Entry], Outcome]:
        """Write in one request the members that may be written.

        Returns:
            The entries whose updates have no outcome yet, and the outcome of the request.
        """
        if len(entries) == 1:
            (update, _) = entries[0]
            self._write_alone([update])
            return [], update.outcome or Outcome(OutcomeKind.UNCHANGED)
        allowed = set(self._authorize([update for update, _ in entries], 1))
        entries = [(update, entry) for update, entry in entries if update in allowed]
        if not entries:
            return [], on_hold_outcome(DEFER_SECONDS)
        updates = [update for update, _ in entries]
        if not all(update.lease.may_write() for update in updates):
            self._too_late(updates)
            return [], locked_outcome()
        answer = self._deps.mailgun.upsert_many([entry for _, entry in entries])
        outcome = classify_bulk_write(answer, self._deps.mailgun.list_address, self._deps.clock())
        self._permits.use()
        for update in updates:
            update.requests += 1
        if outcome.status == 200 and form_of(outcome) is Form.OTHER:
            return entries, outcome  # the report waits until it is known what the answer is worth
        # If one of the members may be the cause, the report names none until the cause is known.
        known = outcome.status != 200 and not _may_be_one_members(outcome)
        return entries, self._answers.note(
            [each.address for each in updates] if known else [], outcome
        )

    def _settle(self, entries: Sequence[Entry], outcome: Outcome) -> None:
        if not entries:
            return
        updates = [update for update, _ in entries]
        if outcome.status == 200:
            self._check_call(updates, outcome, form_of(outcome))
        elif len(entries) > 1 and _may_be_one_members(outcome):
            if outcome.kind in REFUSALS:  # none of them was stored
                for update in updates:
                    update.refuse()
            self._split(entries)
        else:
            self._give_up(updates, outcome)

    def _split(self, entries: Sequence[Entry]) -> None:
        """Write each half of a failed call. If both get a 5xx or no answer, Mailgun failed."""
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
        """Set the outcome for each member of a failed call.

        If there was no usable answer, each of them is written alone the next time, because one of
        them may be the cause.
        """
        if outcome.kind is OutcomeKind.UNAVAILABLE:
            self._deps.batch_policy.suspect([each.address for each in updates])
        for update in updates:
            update.finish(outcome)

    def _too_late(self, updates: Sequence[MemberUpdate]) -> None:
        """Set the outcome of leases that may have ended, because the process was suspended."""
        for update in updates:
            update.finish(locked_outcome())

    def _check_call(self, updates: Sequence[MemberUpdate], outcome: Outcome, form: Form) -> None:
        """Complete the updates of a call that was answered 200, if no sample leaves a doubt."""
        trust, look = self._deps.bulk_trust, None
        if form.may_come_later:  # from now on Redis or this process may fail
            for update in updates:
                update.finish(unproved_outcome())
        if size := trust.sample_size(form):
            look = self._look_at(sample_of(updates, size, form), form)
            if look.proved:
                trust.note_held(form, look.seconds)
            elif look.missing or not trust.believes(form):
                self._note_other(form, outcome)
                self._doubt(updates, form, look)
                return
        stored = replace(outcome, kind=OutcomeKind.DELIVERED, unsettled=False)
        self._note_other(form, stored)
        for update in updates:
            current = look.shown.get(update) if look else None
            update.complete(replace(stored, member=current or update.member))

    def _note_other(self, form: Form, outcome: Outcome) -> None:
        if form is Form.OTHER:
            self._answers.note([], outcome)

    def _look_at(self, sample: Sequence[MemberUpdate], form: Form) -> Look:
        trust = self._deps.bulk_trust
        longest = trust.longest(form) if self._sampled_seconds < trust.longest_look else 0.0
        began = trust.clock()
        look = look_at(
            *(sample, form, trust, longest),
            *(self._read_back, self._is_open),
        )
        self._sampled_seconds += trust.clock() - began
        return look

    def _doubt(self, updates: Sequence[MemberUpdate], form: Form, look: Look) -> None:
        """Let members of an unproved call wait, or write them alone if Mailgun stores none later.

        If Mailgun was seen not to hold one, members go alone for a while.
        """
        if look.counts and self._deps.bulk_trust.note_missing(form, LEFT_OUT):
            logger.warning(
                "Mailgun does not hold a member of a call that it answered with 200: "
                "members go alone for a while",
                extra={"answer": form.value, "members": len(updates), "found": len(look.shown)},
            )
        for update, current in look.shown.items():
            update.complete(Outcome(OutcomeKind.DELIVERED, 200, member=current))
        if not form.may_come_later:
            self._write_alone([each for each in updates if each not in look.shown])

    def _read_back(
        self, updates: Sequence[MemberUpdate]
    ) -> dict[MemberUpdate, Member | Outcome | None]:
        """Read members, and return the result of each. `_close` charges what had no permit.

        Under a pace the other workers leave no permit, and a sample must not wait for one.
        """
        return {update: self._read_one(update) for update in updates}

    def _write_alone(self, updates: Sequence[MemberUpdate]) -> None:
        granted = self._acquire_permits(updates) if len(updates) > 1 else updates
        for part in _parts(granted):
            self._write_at_once(self._authorize(part, len(part)))

    def _write_at_once(self, updates: Sequence[MemberUpdate]) -> None:
        for update, outcome in zip(updates, self._each(self._write_one, updates), strict=True):
            if outcome.kind in EVENT_ERRORS and len(update.patches) > 1:
                self._write_one_by_one(update)
            else:
                self._went_alone(update, outcome)

    def _write_one(self, update: MemberUpdate) -> Outcome:
        """Write a member alone, and return the outcome.

        It is `on_hold` if no more requests are to be sent, `locked` if the lease may end too early.
        """
        if self._answers.stopped:
            return on_hold_outcome(DEFER_SECONDS)
        if not update.lease.may_write():
            return locked_outcome()
        outcome = classify_write(
            self._deps.mailgun.upsert(update.member), update.address, self._deps.clock()
        )
        return self._note_answer(update, outcome)

    def _went_alone(self, update: MemberUpdate, outcome: Outcome) -> None:
        if outcome.kind is OutcomeKind.UNAVAILABLE:
            self._deps.batch_policy.suspect([update.address])
        elif outcome.kind is OutcomeKind.DELIVERED:
            self._deps.batch_policy.clear(update.address)
        update.finish(outcome)

    def _write_one_by_one(self, update: MemberUpdate) -> None:
        """Write the patches of a refused member one by one, each on top of those before it."""
        current = update.current
        for part in update.split():
            part.plan_after(current, self._deps.rules)
            if part.needs_write:
                self._write_alone([part])
            if part.outcome and part.outcome.kind is OutcomeKind.DELIVERED:
                current = part.outcome.member

    # Permits

    def _acquire_permits(
        self, updates: Sequence[MemberUpdate], requests: float = 1.0
    ) -> Sequence[MemberUpdate]:
        """Return the updates for which there are permits, and acquire those that are missing.

        The other updates are deferred.

        Args:
            updates: The members to request.
            requests: The requests that each of them needs. A single permit is enough for the first
                of them, because a write is never refused for lack of permits.
        """
        missing = requests * len(updates) - self._permits.left
        if missing > ROUNDING:
            self._report_now()
            self._permits.acquire(missing)
        left = self._permits.left + ROUNDING
        granted = max(0, min(len(updates), max(int(left / requests), int(left >= 1))))
        for update in updates[granted:]:
            update.defer(DEFER_SECONDS)
        return updates[:granted]

    def _authorize(self, updates: Sequence[MemberUpdate], requests: int) -> Sequence[MemberUpdate]:
        """Renew the leases, and charge for the write.

        Args:
            updates: The members to write.
            requests: The number of requests that write them.

        Returns:
            The updates that may be written now. The others have their outcome.
        """
        if self._answers.stopped:
            for update in updates:
                update.defer(DEFER_SECONDS)
            return ()
        if not updates:
            return ()
        self._report_now()
        charge = max(0.0, requests - self._permits.left)
        notes = [each.pre_write_record() for each in updates]
        answer = self._deps.member_store.renew([each.lease for each in updates], notes, charge)
        if isinstance(answer, OnHold):
            self._answers.stopped = True
            for update in updates:
                update.defer(answer.seconds)
            return ()
        self._permits.add(charge)
        for update, note, ours in zip(updates, notes, answer, strict=True):
            if ours:
                update.send(note)
            else:
                update.lose()
        return [update for update, ours in zip(updates, answer, strict=True) if ours]

    # Results

    @property
    def _requests_of_a_read_member(self) -> float:
        """Return the requests of a member that is read: that read, and its share of a write."""
        return 1.0 + 1.0 / self._deps.batch_policy.size

    def _note_answer(
        self, update: MemberUpdate, outcome: Outcome, *, written: bool = True
    ) -> Outcome:
        update.requests += 1
        self._permits.use()
        pre_write_record = self._answers.note([update.address], outcome, written=written)
        # Other workers go on sending, and the other requests of this batch may take long.
        if outcome.wait_until:
            self._report_now()
        return pre_write_record

    def _is_open(self) -> bool:
        """Return whether more requests may be sent, once the gate knows of those that were sent."""
        if not self._answers.stopped:
            self._report_now()
            self._answers.stopped = self._deps.gate.seconds_until_open() > 0
        return not self._answers.stopped

    def _report_now(self) -> None:
        """Report to the gate what may begin a hold, before more requests are sent."""
        self._announce(self._deps.gate.record(self._answers.urgent()))

    def _announce(self, changes: Sequence[HoldChange]) -> None:
        for change in changes:
            self._deps.on_hold_change(*change)

    def _each(
        self, act: Callable[[MemberUpdate], Asked], updates: Sequence[MemberUpdate]
    ) -> Iterator[Asked]:
        """Yield what `act` returns for each update; several run at the same time."""
        return map(act, updates) if len(updates) < 2 else self._deps.pool.map(act, updates)


def _may_be_one_members(outcome: Outcome) -> bool:
    """Return whether one member of a shared call may be the cause of its outcome."""
    failed = outcome.kind is OutcomeKind.UNAVAILABLE and outcome.status not in {None, 200}
    return failed or outcome.kind in REFUSALS


def _parts(updates: Sequence[MemberUpdate]) -> Iterator[Sequence[MemberUpdate]]:
    return (updates[start : start + CHUNK_SIZE] for start in range(0, len(updates), CHUNK_SIZE))
