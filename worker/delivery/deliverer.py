"""Delivery of patches to one mailing list: lease the members, and make one batch write for them.

The patches of one member are written together, and so are members, as far as the settings allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.delivery.batch_write import BatchWrite
from worker.delivery.collaborators import Collaborators
from worker.delivery.member_update import MemberUpdate
from worker.delivery.permits import Permits
from worker.delivery.waiting_outcomes import locked_outcome, on_hold_outcome
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.lease import MemberLease, OnHold
from worker.members.merge_plan import TimedPatch


@dataclass(frozen=True)
class Deliverer(Collaborators):
    """The delivery of patches to one mailing list."""

    def deliver(self, patches: Sequence[TimedPatch], permits: Permits) -> list[Outcome]:
        """Deliver patches, and return the outcome of each, in the same order.

        Args:
            patches: The patches.
            permits: The requests that are charged already.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        outcomes = [Outcome(OutcomeKind.CRASHED)] * len(patches)
        left = list(range(len(patches)))
        while left:
            left = self._deliver_round(patches, left, outcomes, permits)
        return outcomes

    def repair(self, addresses: Sequence[str]) -> list[str]:
        """Read members, and write those for which Mailgun does not hold the values of the ledger.

        Members that are locked, or for which no request may be sent now, are left for the next
        look.

        Args:
            addresses: The addresses of the members, each named once.

        Returns:
            The addresses of the locked members.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        leases = self.member_store.acquire(addresses)
        if isinstance(leases, OnHold):
            return []
        updates = [
            MemberUpdate(lease, [], [], self.lag)
            for lease in leases
            if isinstance(lease, MemberLease)
        ]
        if updates:
            with Permits(self.gate) as permits:
                BatchWrite(self, updates, permits).run()
        return [
            address
            for address, lease in zip(addresses, leases, strict=True)
            if not isinstance(lease, MemberLease)
        ]

    def _deliver_round(
        self,
        patches: Sequence[TimedPatch],
        positions: list[int],
        outcomes: list[Outcome],
        permits: Permits,
    ) -> list[int]:
        """Deliver the patches at these positions, and return the positions left for another round.

        The outcome of each delivered patch is stored in `outcomes`.
        """
        grouped, left = self.member_store.group_by_member(patches, positions)
        throttles = self.gate.throttles
        leases = self.member_store.acquire(list(grouped))
        if isinstance(leases, OnHold):
            for position in positions:
                outcomes[position] = on_hold_outcome(leases.seconds)
            return []
        permits.note_permitted(throttles)
        updates = [
            MemberUpdate(lease, [patches[position] for position in own], own, self.lag)
            for lease, own in zip(leases, grouped.values(), strict=True)
            if isinstance(lease, MemberLease)
        ]
        locked = [
            position
            for lease, own in zip(leases, grouped.values(), strict=True)
            if not isinstance(lease, MemberLease)
            for position in own
        ]
        for position in locked:
            outcomes[position] = locked_outcome()
        if updates:
            BatchWrite(self, updates, permits).run()
        for update in updates:
            for position, outcome in update.outcomes():
                outcomes[position] = outcome
        return left
