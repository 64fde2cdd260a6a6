"""The values of a row of the table, and their arithmetic."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BASELINE = "plain Celery"


@dataclass(frozen=True)
class Row:
    """The results of one competitor under one condition.

    Attributes:
        competitor: Its name.
        condition: The condition, such as "0 ms"; ratios compare rows of the same one.
        workers: The number of workers.
        stored: The events that Mailgun had stored.
        seconds: From the first event on the queue to the last one stored.
        requests: The requests.
        cpu_seconds: The CPU time of the competitor's processes.
        megabytes: Their peak memory.
        sandbox_load: The sandbox's CPU time as a share of the time that passed.
        latencies: The seconds from enqueued to stored, at a steady pace.
        limited: Whether it ran under a rate limit, for a fixed time.
        refused: The requests answered with 429 or 420.
        members: The result of the check of the members.
    """

    competitor: str
    condition: str
    workers: int
    stored: int
    seconds: float
    requests: int
    cpu_seconds: float
    megabytes: float
    sandbox_load: float
    latencies: tuple[float, ...] = ()
    limited: bool = False
    refused: int = 0
    members: str = "right"

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.stored / self.seconds if self.seconds else 0.0

    @property
    def requests_per_event(self) -> float:
        return per(self.requests, self.stored)

    @property
    def cpu_ms_per_event(self) -> float:
        return per(self.cpu_seconds * 1000, self.stored)


def per(amount: float, events: int) -> float:
    """Return the amount for one event; NaN if there was none."""
    return amount / events if events else math.nan


def ratio(row: Row, rows: Iterable[Row]) -> float | None:
    """Return the rate as a multiple of plain Celery's.

    Celery's row has the same condition and as many workers; without such a row, this returns None.
    """
    for each in rows:
        if (each.competitor, each.condition, each.workers) == (
            BASELINE,
            row.condition,
            row.workers,
        ) and each.rate:
            return row.rate / each.rate
    return None


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the smallest value that `percent` percent of the values do not exceed.

    That is the nearest rank; without values, this returns None.
    """
    if not values:
        return None
    return sorted(values)[max(math.ceil(len(values) * percent / 100) - 1, 0)]
