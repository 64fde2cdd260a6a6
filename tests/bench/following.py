"""When each event was stored, by the sandbox's log of requests."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from worker.sandbox.client import SandboxControl
from worker.sandbox.request_log import Record

LOOK_EVERY_SECONDS = 0.1
STALLED_SECONDS = 20
TOO_MANY = (429, 420)


@dataclass(frozen=True)
class Mark:
    """A place in the log."""

    requests: int  # that the sandbox had been asked
    touched: int  # members that it had changed


def mark(control: SandboxControl) -> Mark:
    """Where the log ends now."""
    totals = control.totals()
    return Mark(totals["requests"], totals["touched"])


def wait_for(control: SandboxControl, since: Mark, events: int, within: float) -> bool:
    """Whether so many changes were stored since the mark, before the time was up or nothing more was stored for long."""
    stored, changed = 0, time.monotonic()
    ends = changed + within
    while (stored_now := mark(control).touched - since.touched) < events:
        now = time.monotonic()
        if stored_now > stored:
            stored, changed = stored_now, now
        if now > min(ends, changed + STALLED_SECONDS):
            return False
        time.sleep(LOOK_EVERY_SECONDS)
    return True


def stored_at(records: Iterable[Record]) -> dict[str, float]:
    """For each address that these requests wrote, when it was first answered that it is stored, epoch seconds."""
    stored: dict[str, float] = {}
    for record in records:
        if record.status == 200 and record.committed and record.answered_at:
            for address in written_by(record):
                stored.setdefault(address, record.answered_at)
    return stored


def refused(records: Iterable[Record]) -> int:
    """How many of these requests were answered with "too many"."""
    return sum(record.status in TOO_MANY for record in records)


def written_by(record: Record) -> Iterator[str]:
    """The addresses that a request writes."""
    if "members" in record.form:
        yield from (entry["address"].lower() for entry in json.loads(record.form["members"]))
    elif record.address:
        yield record.address.lower()
