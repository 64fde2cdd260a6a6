"""What was asked and answered: a bounded log of requests, totals beside it, and clicks on the unsubscribe link."""

from collections import Counter, deque
from dataclasses import dataclass
from itertools import islice
from typing import Any

from worker.sandbox.request import Request

MAX_EVENTS = 10_000


@dataclass(slots=True)
class Record:
    """One request to Mailgun's API. Times are epoch seconds; `status` is None while the answer is under way."""

    seq: int
    at: float
    method: str
    path: str  # as received, still quoted
    list: str | None
    address: str | None
    form: dict[str, str]
    status: int | str | None = None  # "reset" or "hang" where there was no answer
    fault: str | None = None
    touched: int = 0  # members changed
    committed: bool = False  # whether the change was applied, answered or not
    wait_until: float | None = None  # what the answer told the client to wait for
    answered_at: float | None = None  # None where there was no answer


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """A recipient clicked the unsubscribe link."""

    at: float
    list: str
    address: str


class RequestLog:
    """The newest `size` records (0 = all), and totals over every request since the start."""

    def __init__(self, size: int) -> None:
        self._records: deque[Record] = deque(maxlen=size or None)
        self.events: deque[Unsubscribed] = deque(maxlen=MAX_EVENTS)
        self.last_seq = 0
        self.touched = 0
        self.by_status: Counter[str] = Counter()
        self.by_fault: Counter[str] = Counter()

    def open(self, call: Request, *, at: float) -> Record:
        """A request has arrived; `close` says how it ended."""
        self.last_seq += 1
        record = Record(
            self.last_seq, at, call.method, call.path, call.list_address, call.address, call.fields
        )
        self._records.append(record)
        return record

    def meet(self, record: Record, fault: str) -> None:
        """The request has met a fault."""
        record.fault = fault
        self.by_fault[fault] += 1

    def commit(self, record: Record, touched: int) -> None:
        """The request has changed this many members."""
        record.committed = True
        record.touched += touched
        self.touched += touched

    def close(
        self, record: Record, status: int | str, *, at: float, wait_until: float | None = None
    ) -> None:
        """The request was answered with this status, or ended as "reset" or "hang"."""
        record.status = status
        record.answered_at = at if isinstance(status, int) else None
        record.wait_until = wait_until
        self.by_status[str(status)] += 1

    def since(self, seq: int, limit: int) -> list[Record]:
        """At most `limit` records after this sequence number, oldest first."""
        first = self.last_seq - len(self._records) + 1
        start = max(seq + 1 - first, 0)
        return list(islice(self._records, start, start + limit))

    def newest(self, count: int) -> list[Record]:
        """At most `count` records, newest first."""
        return list(islice(reversed(self._records), count))

    def totals(self) -> dict[str, Any]:
        return {
            "requests": self.last_seq,
            "touched": self.touched,
            "by_status": dict(sorted(self.by_status.items())),
            "by_fault": dict(sorted(self.by_fault.items())),
        }
