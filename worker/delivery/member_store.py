"""Who has which member: the ledger, or, where MAILGUN_WRITE_MODE=overwrite wants nothing merged or kept in order, nobody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.gate.gate import Gate, HoldChange, RequestReport
from worker.members.lease import LeaseResult, MemberLease, OnHold, Trust
from worker.members.merge_plan import TimedPatch
from worker.members.record import Record


class MemberStore(Protocol):
    """Where members are given out, one delivery each."""

    def group_by_member(
        self, wanted: Sequence[TimedPatch], places: Sequence[int]
    ) -> tuple[dict[str, list[int]], list[int]]:
        """The places by address, as far as those of one member may go together, and the places that have to wait."""
        ...

    def acquire(self, addresses: Sequence[str]) -> Sequence[LeaseResult] | OnHold:
        """Take these members, each named once."""
        ...

    def renew(
        self, leases: Sequence[MemberLease], notes: Sequence[Record], pay: float
    ) -> Sequence[bool] | OnHold:
        """May these members be written? For each: is it still this visit's?"""
        ...

    def release(
        self, leases: Sequence[MemberLease], reports: Sequence[RequestReport], pay: float
    ) -> Sequence[HoldChange]:
        """Write what was learned, report what Mailgun answered, release the members."""
        ...

    def repeat(self) -> None:
        """Release the members whose opening or closing Redis did not answer."""
        ...


@dataclass(frozen=True)
class NoLedger:
    """A desk that gives out every member at once and remembers nothing: one write an event, with that event's fields."""

    gate: Gate

    def group_by_member(
        self, wanted: Sequence[TimedPatch], places: Sequence[int]
    ) -> tuple[dict[str, list[int]], list[int]]:
        """One place an address; further events of that member wait, in their order."""
        grouped: dict[str, list[int]] = {}
        left = []
        for place in places:
            if wanted[place].patch.address in grouped:
                left.append(place)
            else:
                grouped[wanted[place].patch.address] = [place]
        return grouped, left

    def acquire(self, addresses: Sequence[str]) -> Sequence[LeaseResult]:
        """As if Mailgun held none of them."""
        return [MemberLease(each, "", "", Record(), trust=Trust.STANDS) for each in addresses]

    def renew(
        self, leases: Sequence[MemberLease], notes: Sequence[Record], pay: float
    ) -> Sequence[bool] | OnHold:
        """May Mailgun be asked?"""
        wait = self.gate.seconds_until_open()
        if wait:
            return OnHold(wait)
        self.gate.release(-pay)
        return [True for _ in zip(leases, notes, strict=True)]

    def release(
        self,
        leases: Sequence[MemberLease],  # noqa: ARG002  `MemberStore`'s
        reports: Sequence[RequestReport],
        pay: float,
    ) -> Sequence[HoldChange]:
        """Report what Mailgun answered."""
        self.gate.release(-pay)
        return self.gate.record(reports)

    def repeat(self) -> None:
        """Do nothing: no member is taken."""
