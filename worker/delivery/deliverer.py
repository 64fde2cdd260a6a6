"""An attempt to bring patches to Mailgun: those of one member go together, and so do members, as far as that is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.delivery.batch_write import BatchWrite, Collaborators
from worker.delivery.member_update import MemberUpdate, locked_outcome, on_hold_outcome
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.lease import MemberLease, OnHold
from worker.members.merge_plan import TimedPatch
from worker.members.record import EventOrder
from worker.signal.patch import Patch


@dataclass(frozen=True)
class Deliverer(Collaborators):
    """How patches are brought to one mailing list."""

    def deliver_one(self, patch: Patch, at: float) -> Outcome:
        """Make Mailgun hold what `patch`, of the event time `at` (epoch seconds), says, asking no more than needed."""
        return self.deliver([TimedPatch(patch, EventOrder(at))])[0]

    def deliver(self, wanted: Sequence[TimedPatch]) -> list[Outcome]:
        """Make Mailgun hold what is wanted; how each ended. Raises `redis.RedisError`."""
        outcomes = [Outcome(OutcomeKind.CRASHED)] * len(wanted)
        left = list(range(len(wanted)))
        while left:
            left = self._round(wanted, left, outcomes)
        return outcomes

    def repair(self, addresses: Sequence[str]) -> None:
        """Where Mailgun does not hold the newest that is known of these members, each named once, make it so.

        What may not be done now is left for the next look. Raises `redis.RedisError`.
        """
        opened = self.member_store.acquire(addresses)
        if isinstance(opened, OnHold):
            return
        updates = [
            MemberUpdate(lease, [], [], self.lag)
            for lease in opened
            if isinstance(lease, MemberLease)
        ]
        if updates:
            BatchWrite(self, updates).run()

    def _round(
        self, wanted: Sequence[TimedPatch], places: list[int], outcomes: list[Outcome]
    ) -> list[int]:
        """One go at the patches in these places; gives the places that are left for another."""
        grouped, left = self.member_store.group_by_member(wanted, places)
        opened = self.member_store.acquire(list(grouped))
        if isinstance(opened, OnHold):
            self._spare(wanted, places)
            for place in places:
                outcomes[place] = on_hold_outcome(opened.seconds)
            return []
        updates = [
            MemberUpdate(lease, [wanted[place] for place in own], own, self.lag)
            for lease, own in zip(opened, grouped.values(), strict=True)
            if isinstance(lease, MemberLease)
        ]
        busy = [
            place
            for lease, own in zip(opened, grouped.values(), strict=True)
            if not isinstance(lease, MemberLease)
            for place in own
        ]
        self._spare(wanted, busy)
        for place in busy:
            outcomes[place] = locked_outcome()
        if updates:
            BatchWrite(self, updates).run()
        for update in updates:
            for place, outcome in update.outcomes():
                outcomes[place] = outcome
        return left

    def _spare(self, wanted: Sequence[TimedPatch], places: Sequence[int]) -> None:
        """No request was made for these."""
        self.gate.release(self.gate.rules.event_cost * sum(wanted[place].paid for place in places))
