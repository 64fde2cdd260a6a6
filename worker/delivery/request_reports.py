"""Reports of a batch write to the circuit breaker: the answers that it has not been told yet.

They also tell whether the batch write may send more requests before the circuit breaker knows.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Lock
from typing import NamedTuple

from worker.delivery.waiting_outcomes import on_hold_outcome
from worker.gate.gate import Gate
from worker.gate.reports import RequestReport, report_of
from worker.mailgun.outcome import Outcome, OutcomeKind, why

REFUSALS = frozenset(
    {
        *(OutcomeKind.REJECTED, OutcomeKind.UNEXPECTED_STATUS, OutcomeKind.UNAUTHORIZED),
        *(OutcomeKind.LIST_NOT_FOUND, OutcomeKind.WRONG_MEMBER, OutcomeKind.UNREADABLE_MEMBER),
    }
)
# Refusals whose cause may be the content of the member.
OF_MEMBERS = frozenset({OutcomeKind.REJECTED, OutcomeKind.UNREADABLE_MEMBER})
WELL = frozenset({OutcomeKind.DELIVERED, OutcomeKind.UNCHANGED})
DEFER_SECONDS = 1.0


class Refused(NamedTuple):
    """How a member was refused.

    Attributes:
        rejected: By 400, or because Mailgun shows it in a form that cannot be read.
        written: The request was to write the member, not only to read it.
    """

    rejected: bool
    written: bool


class RequestReports:
    """The answers to the requests of one batch write. Safe to share between threads.

    Attributes:
        stopped: No more requests are to be sent.
    """

    def __init__(self, gate: Gate, clock: Callable[[], datetime]) -> None:
        """Collect reports for `gate`; `clock` returns the current time, UTC."""
        self.stopped = False
        self._gate = gate
        self._clock = clock
        self._reports: list[RequestReport] = []
        # By address, since the last success.
        self._refused: dict[str, Refused] = {}
        # 429s in a row.
        self._throttled = 0
        self._lock = Lock()

    def note(self, addresses: Sequence[str], outcome: Outcome, *, written: bool = True) -> Outcome:
        """Note the answer to one request.

        Args:
            addresses: The members that a failure is about; empty if `blame`, or the answers to
                smaller calls, will name them.
            outcome: What the answer means.
            written: The request was to write, not only to read.

        Returns:
            The outcome for each of the members. It is `on_hold` if so many members were refused
            before that the content of this one is not the cause.
        """
        with self._lock:
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
        """Note that a failure, which `note` got without addresses, is about these members."""
        with self._lock:
            self._add(addresses, outcome, written=True)

    def urgent(self) -> list[RequestReport]:
        """Remove and return the reports if one may begin a hold, else return none.

        The batch write reports them before it sends more requests.
        """
        with self._lock:
            return self._take_all() if any(each.kind not in WELL for each in self._reports) else []

    def rest(self) -> list[RequestReport]:
        """Remove and return all reports."""
        with self._lock:
            return self._take_all()

    def _take_all(self) -> list[RequestReport]:
        reports, self._reports = self._reports, []
        return reports

    def _add(self, addresses: Sequence[str], outcome: Outcome, *, written: bool) -> None:
        """Add a report. Successes in a row share one."""
        counts = outcome.kind in {*REFUSALS, OutcomeKind.UNAVAILABLE}
        marks = [self._gate.mark(each) for each in addresses] if counts else []
        report = report_of(
            outcome.with_requests(1), why(outcome), self._clock(), marks, written=written
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
        rejected, rules = outcome.kind in OF_MEMBERS, self._gate.rules
        threshold = rules.rejected_threshold if rejected else rules.incident_threshold
        others = sum(
            each.rejected == rejected for who, each in self._refused.items() if who != address
        )
        if 0 < threshold <= others + 1:
            self.stopped = True
        if 0 < threshold <= others:
            return on_hold_outcome(DEFER_SECONDS)
        self._refused[address] = Refused(rejected, written)
        return outcome
