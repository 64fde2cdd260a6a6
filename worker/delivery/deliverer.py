"""Delivery of patches to one mailing list: lease the members, and make one batch write for them.

The patches of one member are written together, and so are members, as far as the settings allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.delivery.batch_write import BatchWrite, Collaborators
from worker.delivery.member_update import MemberUpdate, locked_outcome, on_hold_outcome
from worker.delivery.permits import Permits
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.lease import MemberLease, OnHold
from worker.members.merge_plan import TimedPatch


@dataclass(frozen=True)
class Deliverer(Collaborators):
    """The delivery of patches to one mailing list."""

    def deliver(
        self, wanted: Sequence[TimedPatch], permits: Permits | None = None
    ) -> list[Outcome]:
        """Deliver patches, and return the outcome of each, in the same order.

        Args:
            wanted: The patches.
            permits: The requests that are charged already; None: none are.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        outcomes = [Outcome(OutcomeKind.CRASHED)] * len(wanted)
        permits = permits or Permits(self.gate)
        left = list(range(len(wanted)))
        while left:
            left = self._round(wanted, left, outcomes, permits)
        return outcomes

    def repair(self, addresses: Sequence[str]) -> None:
        """Read members, and write those for which Mailgun does not hold the values of the ledger.

        Members that are locked, or for which no request may be sent now, are left for the next
        look.

        Args:
            addresses: The addresses of the members, each named once.

        Raises:
            redis.RedisError: Redis did not answer.
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
            BatchWrite(self, updates, Permits(self.gate)).run()

    def _round(
        self,
        wanted: Sequence[TimedPatch],
        places: list[int],
        outcomes: list[Outcome],
        permits: Permits,
    ) -> list[int]:
        """Deliver the patches at these positions, and return the positions left for another round.

        The outcome of each delivered patch is stored in `outcomes`.
        """
        grouped, left = self.member_store.group_by_member(wanted, places)
        opened = self.member_store.acquire(list(grouped))
        if isinstance(opened, OnHold):
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
        for place in busy:
            outcomes[place] = locked_outcome()
        if updates:
            BatchWrite(self, updates, permits).run()
        for update in updates:
            for place, outcome in update.outcomes():
                outcomes[place] = outcome
        return left
