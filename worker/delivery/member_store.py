"""Leases of members for a batch write: those of the ledger, or of its no-op `NoLedger`.

`NoLedger` is for MAILGUN_WRITE_MODE=overwrite, which neither merges events nor keeps their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.gate.gate import Gate
from worker.gate.reports import HoldChange, RequestReport
from worker.members.lease import LeaseResult, MemberLease, OnHold, Trust
from worker.members.ledger import Ledger
from worker.members.merge_plan import TimedPatch
from worker.members.record import Record


@dataclass(frozen=True)
class NoLedger:
    """A store that leases every member at once and keeps no records, with the methods of `Ledger`.

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
        return [MemberLease(each, "", Record(), trust=Trust.STANDS) for each in addresses]

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
        leases: Sequence[MemberLease],  # noqa: ARG002  `Ledger`'s
        reports: Sequence[RequestReport],
        charge: float,
    ) -> Sequence[HoldChange]:
        """Report the requests to the gate, and charge those that had no permit."""
        self.gate.release(-charge)
        return self.gate.record(reports)

    def repeat(self) -> None:
        """Do nothing: there are no leases in Redis."""


MemberStore = Ledger | NoLedger
