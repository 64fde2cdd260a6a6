"""Who has which member: the ledger, or, where MAILGUN_WRITE_MODE=overwrite wants nothing merged or kept in order, nobody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.gate.gate import Change, Flow, Report
from worker.members.lease import Held, Opened, Trust, Visit
from worker.members.merge_plan import Wanted
from worker.members.record import Record


class Desk(Protocol):
    """Where members are given out, one delivery each."""

    def grouped(self, wanted: Sequence[Wanted], places: Sequence[int]) -> tuple[dict[str, list[int]], list[int]]:
        """The places by address, as far as those of one member may go together, and the places that have to wait."""
        ...

    def open(self, addresses: Sequence[str]) -> Sequence[Opened] | Held:
        """Take these members, each named once."""
        ...

    def ask_again(self, visits: Sequence[Visit], notes: Sequence[Record], pay: float) -> Sequence[bool] | Held:
        """May these members be written? For each: is it still this visit's?"""
        ...

    def close(self, visits: Sequence[Visit], reports: Sequence[Report], pay: float) -> Sequence[Change]:
        """Write what was learned, report what Mailgun answered, release the members."""
        ...

    def repeat(self) -> None:
        """Release the members whose opening or closing Redis did not answer."""
        ...


@dataclass(frozen=True)
class Overwriting:
    """A desk that gives out every member at once and remembers nothing: one write an event, with that event's fields."""

    flow: Flow

    def grouped(self, wanted: Sequence[Wanted], places: Sequence[int]) -> tuple[dict[str, list[int]], list[int]]:
        """One place an address; further events of that member wait, in their order."""
        grouped: dict[str, list[int]] = {}
        left = []
        for place in places:
            if wanted[place].patch.address in grouped:
                left.append(place)
            else:
                grouped[wanted[place].patch.address] = [place]
        return grouped, left

    def open(self, addresses: Sequence[str]) -> Sequence[Opened]:
        """As if Mailgun held none of them."""
        return [Visit(each, "", "", Record(), trust=Trust.STANDS) for each in addresses]

    def ask_again(self, visits: Sequence[Visit], notes: Sequence[Record], pay: float) -> Sequence[bool] | Held:
        """May Mailgun be asked?"""
        wait = self.flow.ask()
        if wait:
            return Held(wait)
        self.flow.spare(-pay)
        return [True for _ in zip(visits, notes, strict=True)]

    def close(self, visits: Sequence[Visit], reports: Sequence[Report], pay: float) -> Sequence[Change]:  # noqa: ARG002
        """Report what Mailgun answered."""
        self.flow.spare(-pay)
        return self.flow.report_all(reports)

    def repeat(self) -> None:
        """Do nothing: no member is taken."""
