"""What ends a request, as the gate's scripts read it, and the holds that they began or ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from worker.mailgun.outcome import Outcome


class RequestReport(NamedTuple):
    """The result of requests that ended alike, in the form that the scripts read.

    Attributes:
        kind: The kind of the outcome.
        requests: The number of requests.
        seconds: Seconds that Mailgun asks to wait; 0 without a hint.
        why: The outcome in one line, for people.
        members: Marks of the members that a failure is about; empty if another report names them.
        written: The requests were to write the members, not only to read them.
    """

    kind: str
    requests: int
    seconds: float
    why: str
    members: Sequence[str]
    written: bool


class HoldChange(NamedTuple):
    """A hold that a report began or ended.

    Attributes:
        kind: throttled, unavailable or incident if it began; unthrottled, available or over if it
            ended.
        why: The outcome that began or ended it, in one line.
    """

    kind: str
    why: str


def report_of(
    outcome: Outcome, why: str, now: datetime, members: Sequence[str] = (), *, written: bool = True
) -> RequestReport:
    """Return `outcome` as a report.

    Args:
        outcome: The outcome of `outcome.requests` requests.
        why: The outcome in one line.
        now: The current time, UTC.
        members: Marks of the members that a failure is about.
        written: The requests were to write, not only to read.
    """
    seconds = (outcome.wait_until - now).total_seconds() if outcome.wait_until else 0.0
    return RequestReport(
        outcome.kind.value, outcome.requests, max(0.0, seconds), why, members, written
    )
