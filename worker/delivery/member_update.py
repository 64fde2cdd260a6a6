"""One member that a delivery has to itself, what is wanted of it, and what came of that. Asking Mailgun is the round's work.

    unread ──▶ planned ──▶ sent ──▶ stored
      │           │          ├───▶ refused: as before it was sent
      ▼           ▼          └───▶ perhaps stored: the ledger knows what was sent, and no copy is kept
    over       nothing to write

`outcome` is set as soon as nothing more is to be asked for the member; None where nothing was to be stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from worker.mailgun.member import Member
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.lease import MemberLease, Trust
from worker.members.merge import SubscriptionRules
from worker.members.merge_plan import MergePlan, TimedPatch, noted, plan_merge, same, superseded
from worker.members.record import Late, Record, after_reading, digest_of, looked_at
from worker.members.stored import Copy

NOT_SENT = frozenset({OutcomeKind.HELD, OutcomeKind.BUSY})


@dataclass(eq=False)
class MemberUpdate:
    """A member and the patches for it, in the order in which they came; without any, it is looked after."""

    lease: MemberLease
    wanted: list[TimedPatch]
    places: list[int]  # of the patches, in whatever they were taken from
    lag: float = 0.0  # MAILGUN_READ_LAG_SECONDS
    plan: MergePlan | None = None
    outcome: Outcome | None = None
    requests: int = 0  # in which the member had a part
    parts: "tuple[MemberUpdate, ...]" = ()  # where each patch was tried by itself
    # What was known, and found, before it was sent.
    _before: tuple[Record, Copy | None] = (Record(), None)

    @property
    def address(self) -> str:
        """The member's."""
        return self.lease.address

    @property
    def member(self) -> Member:
        """The member to be stored. Raises `LookupError` where there is none."""
        if self._planned.member is None:
            raise LookupError("nothing is to be stored")
        return self._planned.member

    @property
    def held(self) -> Member | None:
        """As Mailgun holds it; None: it does not, or nothing is planned."""
        return self.plan.held if self.plan else None

    @property
    def exists(self) -> bool:
        """Does Mailgun hold the member already?"""
        return self.held is not None

    @property
    def needs_read(self) -> bool:
        """Does the member have to be read?"""
        return self.plan is None and self.outcome is None

    @property
    def needs_write(self) -> bool:
        """Does the member have to be stored?"""
        return self.outcome is None and self.plan is not None and self.plan.writes

    @property
    def is_looked_at(self) -> bool:
        """Was the member looked at, without an event, and is it as it should be?"""
        if self.outcome and self.outcome.kind is OutcomeKind.UNREADABLE_MEMBER:
            return not self.wanted  # no look will tell more
        done = self.outcome is None or self.outcome.kind is OutcomeKind.DELIVERED
        return not self.wanted and self.plan is not None and done

    @property
    def goes_alone(self) -> bool:
        """Return whether an event of it had no answer the last time: it could cost the others of a request theirs."""
        return any(each.alone for each in self.wanted)

    def is_as_sent(self, held: Member) -> bool:
        """Does Mailgun hold what was sent? Who is subscribed may have changed since by the recipient's doing."""
        return same(replace(held, subscribed=self.member.subscribed), self.member)

    def plan_from_cache(self, rules: SubscriptionRules) -> None:
        """Plan on what is known without a reading, where that will do.

        A copy that is merely fresh shows that nothing needs writing. It is never written back: a recipient, or anybody, may
        have changed the member since, and a "yes" from a copy would undo an opt-out. A trusted one stands for a reading.
        """
        lease = self.lease
        if self.wanted and all(superseded(each, lease.record) for each in self.wanted):
            self.outcome = Outcome(OutcomeKind.SUPERSEDED)
            return
        if self.wanted and lease.trust:
            held = lease.cached.member if lease.cached else None
            plan = plan_merge(held, lease.record, self.wanted, rules, lease.now())
            if lease.trust is Trust.STANDS or not plan.writes:
                lease.found = lease.cached
                self._plan(plan)
                return
        again = looked_at(lease.record)
        if again is not None and again > lease.now():
            self.outcome = doubtful_outcome(again - lease.now())

    def plan_from(self, held: Member | None, rules: SubscriptionRules) -> None:
        """Plan on what Mailgun, read on this visit, holds. Where that may be no proof, the member waits for another look."""
        lease = self.lease
        lease.record, doubt = after_reading(lease.record, held, lease.opened_at, self.lag)
        lease.found = Copy(held) if held else None
        if doubt is None:
            self._plan(plan_merge(held, lease.record, self.wanted, rules, lease.now()))
        else:
            self.outcome = doubtful_outcome(doubt)

    def plan_after(self, held: Member | None, rules: SubscriptionRules) -> None:
        """Plan on what an earlier write on this visit left."""
        self._plan(plan_merge(held, self.lease.record, self.wanted, rules, self.lease.now()))

    def noted(self) -> Record:
        """What must be known before the member is written."""
        return noted(self.lease.record, self._planned, self.lease.now())

    def send(self, note: Record) -> None:
        """The member is about to be written: until an answer says otherwise, Mailgun may hold it or not."""
        self._before = self.lease.record, self.lease.found
        self.lease.record, self.lease.found = note, None

    def refuse(self) -> None:
        """Mailgun did not store what was sent, or was not sent it: all is as it was before."""
        self.lease.record, self.lease.found = self._before

    def lose(self) -> None:
        """The member is another's to write, or a page came that may know better."""
        self.parts, self.outcome = (), locked_outcome()

    def defer(self, seconds: float) -> None:
        """Nobody may be asked for so long."""
        self.outcome = on_hold_outcome(seconds)

    def complete(self, outcome: Outcome) -> None:
        """Mailgun holds the member, as `outcome` has it."""
        lease = self.lease
        self.outcome = outcome
        lease.record = self._planned.record._replace(
            seen_at=lease.now(), absent=None, late=lease.record.late
        )
        lease.found = Copy(outcome.member) if outcome.member else None

    def finish(self, outcome: Outcome) -> None:
        """Asking ended so. What was not sent, or refused by 4xx, is not stored; after anything else it may be."""
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
        """Each patch by itself, once all of them together were refused."""
        self.refuse()
        self.parts = tuple(
            MemberUpdate(self.lease, [wanted], [place], self.lag, requests=self.requests)
            for wanted, place in zip(self.wanted, self.places, strict=True)
        )
        return self.parts

    def outcomes(self) -> Iterator[tuple[int, Outcome]]:
        """How each patch ended, by its place."""
        for part in self.parts:
            yield from part.outcomes()
        if not self.parts:
            outcome = replace(self.outcome, requests=self.requests) if self.outcome else None
            for number, place in enumerate(self.places):
                yield place, self._of(number, outcome)

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
            return outcome or Outcome(
                OutcomeKind.CRASHED
            )  # no request was made for it: it is not done
        kind = self.plan.kinds[number]
        if outcome is None:
            settled = kind if kind is OutcomeKind.SUPERSEDED else OutcomeKind.UNCHANGED
            return Outcome(settled, member=self.plan.member, requests=self.requests)
        if outcome.kind is OutcomeKind.DELIVERED and kind is not OutcomeKind.DELIVERED:
            return replace(outcome, kind=kind)
        return outcome


def on_hold_outcome(seconds: float) -> Outcome:
    """Nobody may ask Mailgun for so many seconds."""
    return Outcome(OutcomeKind.HELD, None, f"the integration is held for {seconds:.0f} s")


def locked_outcome() -> Outcome:
    """Another delivery has the member."""
    return Outcome(OutcomeKind.BUSY, None, "another event of the same member is under way")


def doubtful_outcome(seconds: float) -> Outcome:
    """What Mailgun answers contradicts what was so lately; it is looked at again after so many seconds."""
    return Outcome(
        OutcomeKind.DOUBTFUL, None, "Mailgun contradicts what it confirmed lately", again_in=seconds
    )
