"""When each event was stored, by the sandbox's log of requests."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.sandbox_control import SandboxControl
from worker.sandbox.request_log import Record

LOOK_EVERY_SECONDS = 0.1
STALLED_SECONDS = 20
TOO_MANY = (429, 420)


@dataclass(frozen=True)
class LogPosition:
    """A position in the log.

    Attributes:
        requests: The requests that the sandbox had had.
        touched: The members that it had changed.
    """

    requests: int
    touched: int


def log_position(control: SandboxControl) -> LogPosition:
    """Return the log's present end."""
    totals = control.totals()
    return LogPosition(totals["requests"], totals["touched"])


def wait_until_stored(
    control: SandboxControl, since: LogPosition, events: int, within: float
) -> bool:
    """Wait until `events` changes were stored since that position.

    Returns:
        False if `within` seconds passed first, or no change was stored for `STALLED_SECONDS`.
    """
    stored, changed = 0, time.monotonic()
    ends = changed + within
    while (stored_now := log_position(control).touched - since.touched) < events:
        now = time.monotonic()
        if stored_now > stored:
            stored, changed = stored_now, now
        if now > min(ends, changed + STALLED_SECONDS):
            return False
        time.sleep(LOOK_EVERY_SECONDS)
    return True


def stored_at(records: Iterable[Record]) -> dict[str, float]:
    """Return when each address was first stored by these requests.

    The time is that of the answer, or of the background job if that came later, in epoch seconds.
    """
    stored: dict[str, float] = {}
    for record in records:
        if record.status == 200 and record.committed and record.answered_at:
            moment = max(record.answered_at, record.committed_at or 0)
            for address in written_by(record):
                stored.setdefault(address, moment)
    return stored


def written_by(record: Record) -> Iterator[str]:
    """Yield the addresses that a request writes."""
    if "members" in record.form:
        yield from (entry["address"].lower() for entry in json.loads(record.form["members"]))
    elif record.address:
        yield record.address.lower()
