"""Requests for single members: the permits, the reads, the writes, and the reports to the gate.

The gate permits reads when the leases are acquired, and again after each CHUNK_SIZE of them. It
permits each write immediately before, in the script that renews the leases.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from worker.delivery.collaborators import Collaborators
from worker.delivery.member_update import MemberUpdate
from worker.delivery.permits import ROUNDING, Permits
from worker.delivery.request_reports import DEFER_SECONDS, RequestReports
from worker.delivery.waiting_outcomes import locked_outcome, on_hold_outcome
from worker.gate.reports import HoldChange
from worker.greenlets import sleep
from worker.mailgun.member import Member
from worker.mailgun.outcome import Outcome, OutcomeKind, classify_read, classify_write
from worker.members.lease import OnHold

Asked = TypeVar("Asked")

# Refusals that one of several events of the member may cause.
EVENT_ERRORS = frozenset({OutcomeKind.REJECTED, OutcomeKind.UNEXPECTED_STATUS})
# Members that are requested one by one, several at once, between two checks of the hold.
CHUNK_SIZE = 32


class MemberRequests:
    """The requests of one batch write that are about one member each.

    Attributes:
        reports: The answers to all requests of the batch write.
    """

    def __init__(self, collaborators: Collaborators, permits: Permits) -> None:
        """Send requests with `permits`."""
        self._deps = collaborators
        self._permits = permits
        self.reports = RequestReports(collaborators.gate, collaborators.clock)

    # Reading

    def permitted(self, updates: Sequence[MemberUpdate]) -> Iterator[Sequence[MemberUpdate]]:
        """Yield the updates in parts that have permits for their reads and their write.

        All are one part, except near the usual limit: there the next part waits until the one
        before it was written. Members to read that get no permits are deferred.
        """
        others = [each for each in updates if not each.needs_read]
        to_read = [each for each in updates if each.needs_read]
        for part in self._granted(to_read, self._requests_of_a_read_member):
            yield [*others, *part]
            others = []
        if others:
            yield others

    def read(self, updates: Sequence[MemberUpdate]) -> None:
        """Read the members, for which there are permits, and plan their writes."""
        for part in _parts(updates):
            self._read_at_once(part)
            if len(part) < len(updates):
                self.is_open()

    def _read_at_once(self, updates: Sequence[MemberUpdate]) -> None:
        for update, read in zip(updates, self._each(self._read_one, updates), strict=True):
            if isinstance(read, Outcome):
                self._went_alone(update, read)
            else:
                update.plan_from(read, self._deps.rules)

    def _read_one(self, update: MemberUpdate) -> Member | Outcome | None:
        """Return the member as Mailgun holds it; `on_hold` if no more requests are to be sent."""
        if not self.may_send():
            return on_hold_outcome(DEFER_SECONDS)
        read = classify_read(
            self._deps.mailgun.read_member(update.address), update.address, self._deps.clock()
        )
        if isinstance(read, Outcome):
            return self._note_answer(update, read, written=False)
        self._note_answer(update, Outcome(OutcomeKind.UNCHANGED), written=False)
        return read

    def read_back(
        self, updates: Sequence[MemberUpdate]
    ) -> dict[MemberUpdate, Member | Outcome | None]:
        """Read members, and return the result of each. The release charges what had no permit.

        Under a pace the other workers leave no permit, and a sample must not wait for one.
        """
        return {update: self._read_one(update) for update in updates}

    # Writing

    def write(self, updates: Sequence[MemberUpdate]) -> None:
        """Write the members for which there are permits, each alone; defer the others."""
        granted = self._granted(updates) if len(updates) > 1 else [updates]
        for some in granted:
            for part in _parts(some):
                self._write_at_once(self.authorize(part, len(part)))

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
        if not self.may_send():
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
                self.write([part])
            if part.outcome and part.outcome.kind is OutcomeKind.DELIVERED:
                current = part.outcome.member

    # Permits

    def _granted(
        self, updates: Sequence[MemberUpdate], requests: float = 1.0
    ) -> Iterator[Sequence[MemberUpdate]]:
        """Yield the updates for which there are permits, and defer the others.

        Near the usual limit, the updates without a permit wait for it here.

        Args:
            updates: The members to request.
            requests: The requests that each of them needs.
        """
        left = updates
        while left:
            count, wait = self._acquire_permits(len(left), requests)
            if count:
                yield left[:count]
            left = left[count:]
            if left and not wait:
                break
            if left:
                if not count:
                    sleep(wait)
                self.announce(self._deps.gate.record(self.reports.rest()))
        for update in left:
            update.defer(DEFER_SECONDS)

    def _acquire_permits(self, members: int, requests: float) -> tuple[int, float]:
        """Acquire the permits that are missing.

        Args:
            members: The number of members to request.
            requests: The requests that each of them needs. A single permit is enough for the first
                of them, because a write is never refused for lack of permits.

        Returns:
            The number of members for which there are permits; and the seconds after which to ask
            for the others if they only wait for the usual limit, else 0.0.
        """
        missing, wait = requests * members - self._permits.left, 0.0
        if missing > ROUNDING:
            self._report_now()
            wait = self._permits.acquire(missing)
        left = self._permits.left + ROUNDING
        return max(0, min(members, max(int(left / requests), int(left >= 1)))), wait

    def authorize(self, updates: Sequence[MemberUpdate], requests: int) -> Sequence[MemberUpdate]:
        """Renew the leases, and charge for the write.

        Args:
            updates: The members to write.
            requests: The number of requests that write them.

        Returns:
            The updates that may be written now. The others have their outcome.
        """
        if self.reports.stopped:
            for update in updates:
                update.defer(DEFER_SECONDS)
            return ()
        if not updates:
            return ()
        self._report_now()
        charge = max(0.0, requests - self._permits.left)
        notes = [each.pre_write_record() for each in updates]
        throttles = self._deps.gate.throttles
        answer = self._deps.member_store.renew([each.lease for each in updates], notes, charge)
        if isinstance(answer, OnHold):
            self.reports.stopped = True
            for update in updates:
                update.defer(answer.seconds)
            return ()
        self._permits.note_permitted(throttles)
        self._permits.add(charge)
        for update, note, ours in zip(updates, notes, answer, strict=True):
            if ours:
                update.send(note)
            else:
                update.lose()
        return [update for update, ours in zip(updates, answer, strict=True) if ours]

    @property
    def _requests_of_a_read_member(self) -> float:
        """Return the requests of a member that is read: that read, and its share of a write."""
        return 1.0 + 1.0 / self._deps.batch_policy.size

    # Results

    def _note_answer(
        self, update: MemberUpdate, outcome: Outcome, *, written: bool = True
    ) -> Outcome:
        update.requests += 1
        self._permits.use()
        result = self.reports.note([update.address], outcome, written=written)
        # Other workers go on sending, and the other requests of this batch may take long.
        if outcome.kind is OutcomeKind.THROTTLED:
            self.report_throttled()
        elif outcome.wait_until:
            self._report_now()
        return result

    def report_throttled(self) -> None:
        """Report a 429 to the gate, so that no delivery sends what was permitted before."""
        self._deps.gate.note_throttled()
        self._report_now()
        self._deps.gate.note_throttled()  # a delivery that asked meanwhile asks again

    def may_send(self) -> bool:
        """Return whether a permitted request may still be sent: a 429 may have come since."""
        while self._permits.are_stale and self.is_open():
            pass
        return not self.reports.stopped

    def is_open(self) -> bool:
        """Return whether more requests may be sent, once the gate knows of those that were sent."""
        if not self.reports.stopped:
            throttles = self._deps.gate.throttles
            self._report_now()
            if self._deps.gate.seconds_until_open() > 0:
                self.reports.stopped = True
            else:
                self._permits.note_permitted(throttles)
        return not self.reports.stopped

    def _report_now(self) -> None:
        """Report to the gate what may begin a hold, before more requests are sent."""
        self.announce(self._deps.gate.record(self.reports.urgent()))

    def announce(self, changes: Sequence[HoldChange]) -> None:
        """Call `on_hold_change` with each hold that began or ended."""
        for change in changes:
            self._deps.on_hold_change(*change)

    def _each(
        self, act: Callable[[MemberUpdate], Asked], updates: Sequence[MemberUpdate]
    ) -> list[Asked]:
        """Return what `act` returns for each update; several run at the same time."""
        return [act(updates[0])] if len(updates) == 1 else self._deps.pool.map(act, updates)


def _parts(updates: Sequence[MemberUpdate]) -> Iterator[Sequence[MemberUpdate]]:
    return (updates[start : start + CHUNK_SIZE] for start in range(0, len(updates), CHUNK_SIZE))
