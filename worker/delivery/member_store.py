"""Leases of members for a batch write: the interface of the ledger, and its no-op `NoLedger`.

`NoLedger` is for MAILGUN_WRITE_MODE=overwrite, which neither merges events nor keeps their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.gate.gate import Gate
from worker.gate.reports import HoldChange, RequestReport
from worker.members.lease import LeaseResult, MemberLease, OnHold, Trust
from worker.members.merge_plan import TimedPatch
from worker.members.record import Record


class MemberStore(Protocol):
    """A store that leases each member to one delivery at a time."""

    def group_by_member(
        self, patches: Sequence[TimedPatch], positions: Sequence[int]
    ) -> tuple[dict[str, list[int]], list[int]]:
        """Group the patches of one delivery by member.

        Args:
            patches: All patches of the delivery.
            positions: The positions in `patches` of the patches to group.

        Returns:
            The positions by address, of patches that may share a write; and the positions that
            have to wait for the next round.
        """
        ...

    def acquire(self, addresses: Sequence[str]) -> Sequence[LeaseResult] | OnHold:
        """Acquire the leases of these members.

        Args:
            addresses: The addresses, each named once.

        Returns:
            The lease of each member, or `Locked`, in the order of `addresses`; `OnHold` if the
            integration is on hold.
        """
        ...

    def renew(
        self, leases: Sequence[MemberLease], notes: Sequence[Record], charge: float
    ) -> Sequence[bool] | OnHold:
        """Renew leases immediately before a write, and charge the write.

        Args:
            leases: The leases.
            notes: For each lease, the record that must be stored before the write.
            charge: The requests to charge.

        Returns:
            For each lease, whether it still stands, so that the member may be written; `OnHold`
            if the integration is on hold.
        """
        ...

    def release(
        self, leases: Sequence[MemberLease], reports: Sequence[RequestReport], charge: float
    ) -> Sequence[HoldChange]:
        """Store the records, report the requests to the gate, and release the leases.

        Args:
            leases: The leases to release.
            reports: The results of requests that were not reported yet.
            charge: The requests to charge: those that had no permit.

        Returns:
            The holds that the reports began or ended.
        """
        ...

    def repeat(self) -> None:
        """Release the leases whose acquisition or release Redis did not answer."""
        ...


@dataclass(frozen=True)
class NoLedger:
    """A store that leases every member at once and keeps no records.

    Each event is one write, with the fields of that event.
    """

    gate: Gate

    def group_by_member(
        self, patches: Sequence[TimedPatch], positions: Sequence[int]
    ) -> tuple[dict[str, list[int]], list[int]]:
        """Take one position an address; further events of that member wait, in their order."""
        grouped: dict[str, list[int]] = {}
        left = []
        for position in positions:
            if patches[position].patch.address in grouped:
                left.append(position)
            else:
                grouped[patches[position].patch.address] = [position]
        return grouped, left

    def acquire(self, addresses: Sequence[str]) -> Sequence[LeaseResult]:
        """Return leases that say Mailgun holds none of the members, so that none is read."""
        return [MemberLease(each, "", "", Record(), trust=Trust.STANDS) for each in addresses]

    def renew(
        self, leases: Sequence[MemberLease], notes: Sequence[Record], charge: float
    ) -> Sequence[bool] | OnHold:
        """Charge the write, unless the integration is on hold. Every lease stands."""
        wait = self.gate.seconds_until_open()
        if wait:
            return OnHold(wait)
        self.gate.release(-charge)
        return [True for _ in zip(leases, notes, strict=True)]

    def release(
        self,
        leases: Sequence[MemberLease],  # noqa: ARG002  `MemberStore`'s
        reports: Sequence[RequestReport],
        charge: float,
    ) -> Sequence[HoldChange]:
        """Report the requests to the gate, and charge those that had no permit."""
        self.gate.release(-charge)
        return self.gate.record(reports)

    def repeat(self) -> None:
        """Do nothing: there are no leases in Redis."""
