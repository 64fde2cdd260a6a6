"""What a row of the table says, and its arithmetic."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

YARDSTICK = "plain Celery"


@dataclass(frozen=True)
class Row:
    """What one contender did under one condition."""

    contender: str
    condition: str  # such as "0 ms"; ratios are taken within one
    workers: int
    stored: int  # events that Mailgun had taken
    seconds: float  # from the first event on the queue to the last one stored
    requests: int
    cpu_seconds: float  # of the worker's processes
    megabytes: float
    sandbox_load: float  # the sandbox's CPU time, as a share of the time that passed
    latencies: tuple[float, ...] = ()  # seconds from enqueued to stored, at a steady pace
    limited: bool = False  # whether under a rate limit, for a fixed time
    refused: int = 0  # requests answered with "too many"
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
    """The amount for one event; not a number where there was none."""
    return amount / events if events else math.nan


def ratio(row: Row, rows: Iterable[Row]) -> float | None:
    """How many times plain Celery's rate under the same condition with as many workers; None where that was not measured."""
    for each in rows:
        if (each.contender, each.condition, each.workers) == (
            YARDSTICK,
            row.condition,
            row.workers,
        ) and each.rate:
            return row.rate / each.rate
    return None


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that so many percent of the values do not exceed (nearest rank); None of none."""
    if not values:
        return None
    return sorted(values)[max(math.ceil(len(values) * percent / 100) - 1, 0)]
