"""Batch write of leased members: read those that need it, write them together, release the leases.

`member_requests.py` sends the requests for single members, and `bulk_calls.py` those that several
members share.
"""

from collections.abc import Sequence

from worker.delivery.bulk_calls import BulkCalls
from worker.delivery.collaborators import Collaborators
from worker.delivery.member_requests import MemberRequests
from worker.delivery.member_update import MemberUpdate
from worker.delivery.permits import Permits


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
        self._requests = MemberRequests(collaborators, permits)
        self._calls = BulkCalls(collaborators, self._requests, permits)

    def run(self) -> None:
        """Read and write the members, and release their leases.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        left: Sequence[Sequence[MemberUpdate]] = [self._updates]
        try:
            for update in self._updates:
                update.plan_from_cache(self._deps.rules)
            left = groups = self._suspects_last()
            for number, updates in enumerate(groups, 1):
                for some in self._requests.permitted(updates):
                    self._requests.read([each for each in some if each.needs_read])
                    self._calls.write([each for each in some if each.needs_write])
                left = groups[number:]
                self._close(updates)
        finally:
            self._close([each for updates in left for each in updates])

    def _close(self, updates: Sequence[MemberUpdate]) -> None:
        """Release the leases of `updates`, and charge the requests that had no permit.

        The permit that a lone member left unused is refunded with that: it counts as under way as
        long as it is not, and near the usual limit only few may be.
        """
        if not updates:
            return
        for update in updates:
            update.lease.looks = update.is_looked_at
        charge = -self._permits.left
        if charge < 0 and (len(self._updates) > 1 or charge < -1.0):
            charge = 0.0  # what comes next may need them; `Permits` refunds the rest
        self._requests.announce(
            self._deps.member_store.release(
                [each.lease for each in updates], self._requests.reports.rest(), charge
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
        suspects = [each for each in self._updates if self._calls.is_suspect(each)]
        return [[each for each in self._updates if each not in suspects], suspects]
