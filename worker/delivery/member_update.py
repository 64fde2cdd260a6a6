"""Update of one leased member: its patches, the merge plan, and what came of the write.

`member_requests.py` and `bulk_calls.py` send the requests.

    unread ──▶ planned ──▶ sent ──▶ stored
      │           │          ├───▶ refused: as before it was sent
      ▼           ▼          └───▶ perhaps stored: the ledger knows what was sent, and keeps no copy
    finished   nothing to write
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from worker.delivery.waiting_outcomes import doubtful_outcome, locked_outcome, on_hold_outcome
from worker.mailgun.member import Member
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.lease import MemberLease, Trust
from worker.members.merge import SubscriptionRules
from worker.members.merge_plan import (
    MergePlan,
    TimedPatch,
    is_superseded,
    plan_merge,
    pre_write_record,
    same_on_mailgun,
)
from worker.members.record import (
    Late,
    Record,
    after_overwriting,
    after_reading,
    digest_of,
    next_look_at,
)
from worker.members.stored import Copy

NOT_SENT = frozenset({OutcomeKind.ON_HOLD, OutcomeKind.LOCKED})


@dataclass(eq=False)
class MemberUpdate:
    """A leased member and the patches for it.

    Attributes:
        lease: The lease of the member.
        patches: The patches, in the order in which they came; empty for a later look at a member.
        positions: The positions of the patches among those of the delivery.
        lag: MAILGUN_READ_LAG_SECONDS.
        plan: What to write; None before it is planned.
        outcome: The outcome, set once no more requests are to be sent for the member; None if there
            was nothing to write.
        requests: The number of requests that the member was part of.
        parts: The updates of the single patches, if each was tried alone.
    """

    lease: MemberLease
    patches: list[TimedPatch]
    positions: list[int]
    lag: float = 0.0
    plan: MergePlan | None = None
    outcome: Outcome | None = None
    requests: int = 0
    parts: "tuple[MemberUpdate, ...]" = ()
    # The lease's record, copy and pending write before the member was sent.
    _before: tuple[Record, Copy | None, bool] = (Record(), None, False)

    @property
    def address(self) -> str:
        """Return the member's address."""
        return self.lease.address

    @property
    def member(self) -> Member:
        """Return the member to write.

        Raises:
            LookupError: There is nothing to write.
        """
        if self._planned.member is None:
            raise LookupError("nothing is to be stored")
        return self._planned.member

    @property
    def current(self) -> Member | None:
        """Return the member as Mailgun holds it; None if it holds none, or nothing is planned."""
        return self.plan.current if self.plan else None

    @property
    def exists(self) -> bool:
        """Return whether Mailgun holds the member already."""
        return self.current is not None

    @property
    def needs_read(self) -> bool:
        """Return whether the member has to be read."""
        return self.plan is None and self.outcome is None

    @property
    def needs_write(self) -> bool:
        """Return whether the member has to be written."""
        return self.outcome is None and self.plan is not None and self.plan.writes

    @property
    def is_looked_at(self) -> bool:
        """Return whether this was a later look at the member, and succeeded.

        It succeeded if Mailgun holds the member as it should be. A member in a form that cannot be
        read counts, too.
        """
        if self.outcome and self.outcome.kind is OutcomeKind.UNREADABLE_MEMBER:
            return not self.patches  # another look would find the same
        done = self.outcome is None or self.outcome.kind is OutcomeKind.DELIVERED
        return not self.patches and self.plan is not None and done

    @property
    def goes_alone(self) -> bool:
        """Return whether the member is to be written alone.

        The last attempt of one of its events got no answer, so it may make a shared call fail.
        """
        return any(each.alone for each in self.patches)

    def is_as_sent(self, current: Member) -> bool:
        """Return whether `current` is what was sent.

        The subscription is not compared, because the recipient may have changed it since.
        """
        return same_on_mailgun(replace(current, subscribed=self.member.subscribed), self.member)

    def plan_from_cache(self, rules: SubscriptionRules) -> None:
        """Plan without a reading, if the ledger's record or copy is enough for that.

        A copy that is merely fresh may show that nothing has to be written. No write is based on
        it: the recipient or an operator may have changed the member since, and a "yes" from the
        copy would undo an opt-out. A trusted copy replaces a reading.

        If Mailgun contradicted itself about the member lately, the outcome is `doubtful` until the
        next look is due.
        """
        lease = self.lease
        if self.patches and all(is_superseded(each, lease.record) for each in self.patches):
            self.outcome = Outcome(OutcomeKind.SUPERSEDED)
            return
        if self.patches and lease.trust:
            current = lease.cached.member if lease.cached else None
            plan = plan_merge(current, lease.record, self.patches, rules, lease.now())
            if lease.trust is Trust.STANDS or not plan.writes:
                lease.found = lease.cached
                self._plan(plan)
                return
        again = next_look_at(lease.record)
        if again is not None and again > lease.now():
            self.outcome = doubtful_outcome(again - lease.now())

    def plan_from(self, current: Member | None, rules: SubscriptionRules) -> None:
        """Plan from a reading under this lease.

        If the reading contradicts what Mailgun confirmed lately, the outcome is `doubtful`.

        Args:
            current: The member as Mailgun holds it; None if it holds none.
            rules: The rules for subscriptions.
        """
        lease = self.lease
        lease.record, doubt = after_reading(lease.record, current, lease.opened_at, self.lag)
        if current and not current.subscribed and lease.cached and lease.cached.member.subscribed:
            age = lease.opened_at - float(lease.cached.at or 0)
            lease.record = after_overwriting(lease.record, age, self.lag)
        lease.found = Copy(current) if current else None
        if doubt is None:
            self._plan(plan_merge(current, lease.record, self.patches, rules, lease.now()))
        else:
            self.outcome = doubtful_outcome(doubt)

    def plan_after(self, current: Member | None, rules: SubscriptionRules) -> None:
        """Plan from `current`, what an earlier write under this lease left."""
        self._plan(plan_merge(current, self.lease.record, self.patches, rules, self.lease.now()))

    def pre_write_record(self) -> Record:
        """Return the record that the ledger must hold before the member is written."""
        return pre_write_record(self.lease.record, self._planned, self.lease.now())

    def send(self, note: Record) -> None:
        """Prepare the lease for the write; until an answer comes, its effect is unknown.

        Args:
            note: The record of `pre_write_record`.
        """
        self._before = self.lease.record, self.lease.found, self.lease.write_pending
        self.lease.record, self.lease.found = note, None

    def refuse(self) -> None:
        """Restore record and copy: Mailgun did not store what was sent, or was not sent it."""
        self.lease.record, self.lease.found, _ = self._before

    def lose(self) -> None:
        """Set the outcome for a lost lease: it ended, or an imported page contradicts the copy."""
        self.parts, self.outcome = (), locked_outcome()

    def defer(self, seconds: float) -> None:
        """Set the outcome for an integration on hold: no request may be sent for `seconds`."""
        self.outcome = on_hold_outcome(seconds)

    def complete(self, outcome: Outcome) -> None:
        """Set the outcome, and take its member as what Mailgun holds now.

        If it was not certain before that Mailgun has applied the write, it is now.
        """
        lease = self.lease
        self.outcome = outcome
        before, _, lease.write_pending = self._before
        lease.record = self._planned.record._replace(
            seen_at=lease.now(), absent=None, late=before.late
        )
        lease.found = Copy(outcome.member) if outcome.member else None

    def finish(self, outcome: Outcome) -> None:
        """Set the outcome, and update the lease's record and copy.

        A member that was not sent, or that Mailgun refused by 4xx, is not stored. After any other
        failure it may be stored.
        """
        if outcome.kind is OutcomeKind.DELIVERED:
            self.complete(outcome)
            return
        self.outcome = outcome
        if self.plan is None:
            return
        if outcome.is_refusal or outcome.kind in NOT_SENT:
            self.refuse()
        elif outcome.unsettled:
            self.lease.write_pending = True
            late = Late(self.lease.now(), digest_of(self.member))
            self.lease.record = self.lease.record._replace(late=late)

    def split(self) -> "tuple[MemberUpdate, ...]":
        """Return an update for each patch, after all of them together were refused."""
        self.refuse()
        self.parts = tuple(
            MemberUpdate(self.lease, [patches], [position], self.lag, requests=self.requests)
            for patches, position in zip(self.patches, self.positions, strict=True)
        )
        return self.parts

    def outcomes(self) -> Iterator[tuple[int, Outcome]]:
        """Yield the position of each patch, and its outcome."""
        for part in self.parts:
            yield from part.outcomes()
        if not self.parts:
            outcome = self.outcome.with_requests(self.requests) if self.outcome else None
            for number, position in enumerate(self.positions):
                yield position, self._of(number, outcome)

    @property
    def _planned(self) -> MergePlan:
        if self.plan is None:
            raise LookupError("nothing is planned")
        return self.plan

    def _plan(self, plan: MergePlan) -> None:
        self.plan = plan
        if not plan.writes:
            self.lease.record = plan.record

    def _of(self, number: int, outcome: Outcome | None) -> Outcome:
        if self.plan is None or (outcome is None and self.plan.writes):
            # Without an outcome no request was sent, so the patch is not done.
            return outcome or Outcome(OutcomeKind.CRASHED)
        kind = self.plan.kinds[number]
        if outcome is None:
            settled = kind if kind is OutcomeKind.SUPERSEDED else OutcomeKind.UNCHANGED
            return Outcome(settled, member=self.plan.member, requests=self.requests)
        if outcome.kind is OutcomeKind.DELIVERED and kind is not OutcomeKind.DELIVERED:
            return outcome._replace(kind=kind)
        return outcome
