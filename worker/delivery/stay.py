"""One member that a delivery has to itself, what is wanted of it, and what came of that. Asking Mailgun is the round's work."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from worker.delivery.merge import Known, Subscribing
from worker.delivery.plan import UNREAD, Plan, Wanted, planned, same, superseded
from worker.delivery.visit import Visit
from worker.mailgun.member import Member
from worker.mailgun.outcome import Kind, Outcome


@dataclass(eq=False)
class Stay:
    """A member and the patches for it, in the order in which they came."""

    visit: Visit
    wanted: list[Wanted]
    places: list[int]  # of the patches, in whatever they were taken from
    plan: Plan = UNREAD
    outcome: Outcome | None = None  # of asking Mailgun; None where nothing was to be stored
    requests: int = 0  # in which the member had a part
    parts: "tuple[Stay, ...]" = ()  # where each patch was tried by itself
    first: Known | None = None  # noted before the member was written
    doubted: bool = False  # an earlier call on this stay may have stored the member
    is_over: bool = False  # newer events have set all that is wanted

    def is_as_sent(self, held: Member) -> bool:
        """Does Mailgun hold what was sent? Who is subscribed may have changed since by the recipient's doing."""
        return same(replace(held, subscribed=self.member.subscribed), self.member)

    @property
    def address(self) -> str:
        """The member's."""
        return self.visit.address

    @property
    def member(self) -> Member:
        """The member to be stored. Raises `LookupError` where there is none."""
        if self.plan.member is None:
            raise LookupError("nothing is to be stored")
        return self.plan.member

    @property
    def is_known(self) -> bool:
        """Does Mailgun hold the member already?"""
        return self.plan.held is not None

    @property
    def is_unread(self) -> bool:
        """Does the member have to be read?"""
        return self.plan is UNREAD and not self.is_over

    @property
    def is_unwritten(self) -> bool:
        """Does the member have to be stored?"""
        return self.outcome is None and self.plan.writes

    def plan_unread(self, rules: Subscribing) -> None:
        """Plan on what is known without a reading, where that will do.

        A copy that is merely fresh shows that nothing needs writing. It is never written back: a recipient, or anybody, may
        have changed the member since, and a "yes" from a copy would undo an opt-out. A trusted one stands for a reading.
        """
        if all(superseded(each, self.visit.known) for each in self.wanted):
            self.is_over = True
        elif self.visit.trusted:
            self.plan_on(self.visit.copy, rules)
        elif self.visit.fresh:
            plan = planned(self.visit.copy, self.visit.known, self.wanted, rules)
            if not plan.writes:
                self.plan, self.visit.learned = plan, plan.known

    def plan_on(self, held: Member | None, rules: Subscribing) -> None:
        """Plan on what Mailgun holds."""
        visit = self.visit
        if held is not visit.copy:
            visit.copy, visit.confirmed = None, held
        if held and held.subscribed and visit.known.our_no:
            visit.known = visit.learned = replace(visit.known, our_no=False)  # the next "no" may be the recipient's
        self.plan = planned(held, visit.known, self.wanted, rules)
        if not self.plan.writes:
            visit.learned = self.plan.known

    def known_first(self) -> Known | None:
        """What must be known before the member is written: were we killed once it is stored, our "no" would look like the
        recipient's."""
        no_of_ours = not self.member.subscribed and self.plan.known.our_no and not self.visit.known.our_no
        self.first = replace(self.visit.known, our_no=True) if no_of_ours else None
        return self.first

    def is_ours(self, ours: bool) -> None:  # noqa: FBT001  as it was answered
        """Is the member still this stay's to write?"""
        if not ours:
            self.outcome = busy_outcome()
            return
        self.doubted, self.visit.in_doubt = self.visit.in_doubt, True  # until an answer says otherwise
        if self.first:
            self.visit.learned = self.first

    def hold(self, seconds: float) -> None:
        """Nobody may be asked for so long."""
        self.outcome = held_outcome(seconds)

    def deliver(self, outcome: Outcome) -> None:
        """Mailgun holds the member, as `outcome` has it."""
        self.outcome = outcome
        self.visit.confirmed = outcome.member
        self.visit.known = self.visit.learned = self.plan.known
        self.visit.in_doubt = self.visit.unsettled

    def conclude(self, outcome: Outcome) -> None:
        """Asking ended so. What Mailgun refused by 4xx it did not store; after anything else it may have."""
        if outcome.kind is Kind.DELIVERED:
            self.deliver(outcome)
            return
        self.outcome = outcome
        if self.plan is UNREAD:
            self.visit.copy = self.visit.copy if outcome.kind is Kind.HELD else None
            return
        refused = outcome.status is not None and 400 <= outcome.status < 500 and outcome.status != 408
        self.visit.unsettled |= outcome.unsettled
        not_sent = outcome.kind is Kind.HELD
        self.visit.in_doubt = self.visit.unsettled or self.doubted or not (refused or not_sent)
        if self.first and not self.doubted and (not_sent or outcome.status not in {None, 200}):
            self.visit.learned = self.visit.known

    def split(self) -> "tuple[Stay, ...]":
        """Each patch by itself."""
        if self.visit.confirmed is None:
            self.visit.confirmed = self.plan.held
        self.parts = tuple(
            Stay(self.visit, [wanted], [place], requests=self.requests)
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

    def _of(self, number: int, outcome: Outcome | None) -> Outcome:
        if self.is_over:
            return Outcome(Kind.SUPERSEDED)
        if outcome is None and (self.is_unread or self.plan.writes):
            return Outcome(Kind.CRASHED)  # nobody looked after it: it is not done
        kind = self.plan.kinds[number] if self.plan.kinds else Kind.CRASHED
        if outcome is None:
            settled = kind if kind is Kind.SUPERSEDED else Kind.UNCHANGED
            return Outcome(settled, member=self.plan.member, requests=self.requests)
        if outcome.kind is Kind.DELIVERED and kind is not Kind.DELIVERED:
            return replace(outcome, kind=kind)
        return outcome


def held_outcome(seconds: float) -> Outcome:
    """Nobody may ask Mailgun for so many seconds."""
    return Outcome(Kind.HELD, None, f"the integration is held for {seconds:.0f} s")


def busy_outcome() -> Outcome:
    """Another delivery has the member."""
    return Outcome(Kind.BUSY, None, "another event of the same member is under way")
