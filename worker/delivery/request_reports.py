"""What a round was answered so far: what of it is still to be reported, and whether anybody may be asked any more."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import NamedTuple

from worker.delivery.member_update import on_hold_outcome
from worker.gate.gate import Gate, RequestReport, reported
from worker.mailgun.outcome import Outcome, OutcomeKind, why

REFUSALS = frozenset(
    {
        *(
            OutcomeKind.REJECTED,
            OutcomeKind.UNEXPECTED_STATUS,
            OutcomeKind.UNAUTHORIZED,
            OutcomeKind.LIST_NOT_FOUND,
        ),
        *(OutcomeKind.WRONG_MEMBER, OutcomeKind.UNREADABLE_MEMBER),
    }
)
OF_MEMBERS = frozenset(
    {OutcomeKind.REJECTED, OutcomeKind.UNREADABLE_MEMBER}
)  # may be for what each of them holds
WELL = frozenset({OutcomeKind.DELIVERED, OutcomeKind.UNCHANGED})
HELD_BY_PACE_SECONDS = 1.0


class Refused(NamedTuple):
    """How a member was refused."""

    rejected: bool  # by 400, or shown as it cannot be held
    written: bool  # and not only read


class RequestReports:
    """The answers of one round. Safe to share between threads, which get them at the same moment."""

    def __init__(self, gate: Gate, clock: Callable[[], datetime]) -> None:
        """`clock` gives UTC."""
        self.requests = 0
        self.stopped = False  # nobody is asked any more
        self._flow = gate
        self._clock = clock
        self._reports: list[RequestReport] = []
        self._refused: dict[str, Refused] = {}  # by address, since the last success
        self._throttled = 0  # times in a row
        self._lock = Lock()

    def note(self, addresses: Sequence[str], outcome: Outcome, *, written: bool = True) -> Outcome:
        """Note the answer to one request that was about these members, or about nobody as long as others will tell.

        Gives the outcome for each of them: held, where so many were refused before that it is not for what they hold.
        """
        with self._lock:
            self.requests += 1
            self._add(addresses, outcome, written=written)
            self._throttled = self._throttled + 1 if outcome.kind is OutcomeKind.THROTTLED else 0
            if self._throttled > 1 or (self._throttled and outcome.wait_until):
                self.stopped = True
            if outcome.kind in WELL:
                self._refused = {
                    who: each for who, each in self._refused.items() if each.written and not written
                }
            if outcome.kind in REFUSALS and len(addresses) == 1:
                return self._refusal(addresses[0], outcome, written=written)
            return outcome

    def blame(self, addresses: Sequence[str], outcome: Outcome) -> None:
        """What was noted as about nobody was about these."""
        with self._lock:
            self._add(addresses, outcome, written=True)

    def urgent(self) -> list[RequestReport]:
        """Take what is to be reported before more is asked, because it may begin a hold; empty where nothing may."""
        with self._lock:
            return self._taken() if any(each.kind not in WELL for each in self._reports) else []

    def rest(self) -> list[RequestReport]:
        """Take what is still to be reported."""
        with self._lock:
            return self._taken()

    def _taken(self) -> list[RequestReport]:
        reports, self._reports = self._reports, []
        return reports

    def _add(self, addresses: Sequence[str], outcome: Outcome, *, written: bool) -> None:
        """Of requests in a row that went well one report tells."""
        counts = outcome.kind in {*REFUSALS, OutcomeKind.UNAVAILABLE}
        marks = [self._flow.mark(each) for each in addresses] if counts else []
        report = reported(
            replace(outcome, requests=1), why(outcome), self._clock(), marks, written=written
        )
        last = self._reports[-1] if self._reports else None
        if (
            last
            and last.kind in WELL
            and (last.kind, last.written) == (report.kind, report.written)
        ):
            self._reports[-1] = last._replace(requests=last.requests + 1)
        else:
            self._reports.append(report)

    def _refusal(self, address: str, outcome: Outcome, *, written: bool) -> Outcome:
        rejected, rules = outcome.kind in OF_MEMBERS, self._flow.rules
        threshold = rules.rejected_threshold if rejected else rules.incident_threshold
        others = sum(
            each.rejected == rejected for who, each in self._refused.items() if who != address
        )
        if 0 < threshold <= others + 1:
            self.stopped = True
        if 0 < threshold <= others:
            return on_hold_outcome(HELD_BY_PACE_SECONDS)
        self._refused[address] = Refused(rejected, written)
        return outcome
