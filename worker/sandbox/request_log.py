"""The request log: a bounded list of requests, with totals.

It also holds the clicks on unsubscribe links.
"""

from collections import Counter, deque
from dataclasses import dataclass
from itertools import islice
from typing import Any

from worker.sandbox.request import Request

MAX_EVENTS = 10_000
ANSWER_BYTES = 2048  # of an answer's body, kept in its record
NOT_THERE = b'{"message": "Member '  # how a 404 about a member begins; other 404s begin otherwise


@dataclass(slots=True)
class Record:
    """One request to Mailgun's API.

    Attributes:
        seq: Its number, from 1.
        at: When it arrived, in epoch seconds.
        method: The HTTP method.
        path: The path as received, still quoted.
        list: The list's address in the path.
        address: The member's address, if the request is about one member.
        form: The form fields.
        status: The HTTP status; "reset" or "hang" without an answer; None while it is under way.
        fault: The kind of the fault that it met.
        touched: The number of members changed.
        committed: Whether the change was applied, answered or not.
        wait_until: Epoch seconds until which the answer told the client to wait.
        committed_at: When it was last applied, in epoch seconds: a background job comes later.
        answered_at: When it was answered, in epoch seconds; None without an answer.
        absent: The answer is that the member is not on the list, as to the lookup of a new one.
        answer: The beginning of the answer's body.
    """

    seq: int
    at: float
    method: str
    path: str
    list: str | None
    address: str | None
    form: dict[str, str]
    status: int | str | None = None
    fault: str | None = None
    touched: int = 0
    committed: bool = False
    wait_until: float | None = None
    committed_at: float | None = None
    answered_at: float | None = None
    absent: bool = False
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """A recipient's click on the unsubscribe link, at an epoch second."""

    at: float
    list: str
    address: str


class RequestLog:
    """The newest `size` records (0: all), and totals over all requests since the start."""

    def __init__(self, size: int) -> None:
        self._records: deque[Record] = deque(maxlen=size or None)
        self.events: deque[Unsubscribed] = deque(maxlen=MAX_EVENTS)
        self.last_seq = 0
        self.touched = 0
        self.absent = 0
        self.by_status: Counter[str] = Counter()
        self.by_fault: Counter[str] = Counter()

    def open(self, request: Request, *, at: float) -> Record:
        """Add the record of a request that has arrived; `close` sets its end."""
        self.last_seq += 1
        record = Record(
            self.last_seq,
            at,
            request.method,
            request.path,
            request.list_address,
            request.address,
            request.fields,
        )
        self._records.append(record)
        return record

    def meet(self, record: Record, fault: str) -> None:
        """Record the kind of the fault that the request met."""
        record.fault = fault
        self.by_fault[fault] += 1

    def commit(self, record: Record, touched: int, *, at: float) -> None:
        """Record the number of members that the request changed, and when."""
        record.committed = True
        record.committed_at = at
        record.touched += touched
        self.touched += touched

    def close(
        self,
        record: Record,
        status: int | str,
        *,
        at: float,
        wait_until: float | None = None,
        answer: bytes = b"",
    ) -> None:
        """Record how the request ended: with a status, or without an answer as "reset" or "hang".

        `wait_until` is until when, in epoch seconds, the answer told the client to wait; `answer`
        is the answer's body.
        """
        record.answer = answer[:ANSWER_BYTES]
        is_true_read = record.method == "GET" and record.fault is None
        record.absent = is_true_read and status == 404 and answer.startswith(NOT_THERE)
        self.absent += record.absent
        record.status = status
        record.answered_at = at if isinstance(status, int) else None
        record.wait_until = wait_until
        self.by_status[str(status)] += 1

    def since(self, seq: int, limit: int) -> list[Record]:
        """Return at most `limit` records with a number above `seq`, oldest first."""
        first = self.last_seq - len(self._records) + 1
        start = max(seq + 1 - first, 0)
        return list(islice(self._records, start, start + limit))

    def numbered(self, seq: int) -> Record | None:
        """Return the record with this number; None if the log does not hold it."""
        found = self.since(seq - 1, 1)
        return found[0] if found and found[0].seq == seq else None

    def newest(self, count: int) -> list[Record]:
        """Return at most `count` records, newest first."""
        return list(islice(reversed(self._records), count))

    def totals(self) -> dict[str, Any]:
        """Return the counts of all requests since the start.

        `absent` counts those of `by_status` 404 that found a member not there.
        """
        return {
            "absent": self.absent,
            "requests": self.last_seq,
            "touched": self.touched,
            "by_status": dict(sorted(self.by_status.items())),
            "by_fault": dict(sorted(self.by_fault.items())),
        }
