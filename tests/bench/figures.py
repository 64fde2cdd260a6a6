"""The values of the rows of the tables, and their arithmetic."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tests.bench.traffic import Traffic

BASELINE = "plain Celery"
NOTABLE = 1.05  # times the baseline's: a smaller difference is not told


class Measured(Protocol):
    """What rows of all tables have.

    Attributes:
        competitor: Its name.
        workers: The number of workers.
        traffic: The kind of events.
        condition: The condition, such as "0 ms"; ratios compare rows of the same one.
        rate: Events a second.
    """

    @property
    def competitor(self) -> str: ...
    @property
    def workers(self) -> int: ...
    @property
    def traffic(self) -> Traffic: ...
    @property
    def condition(self) -> str: ...
    @property
    def rate(self) -> float: ...


AnyRow = TypeVar("AnyRow", bound=Measured)


@dataclass(frozen=True)
class Row:
    """The results of one competitor under one condition without a limit.

    Attributes:
        competitor: Its name.
        condition: The latency of Mailgun.
        workers: The number of workers.
        traffic: The kind of events.
        events: The events that Mailgun had stored; of unchanged ones, all that had ended.
        seconds: From the first event on the queue to the last one stored or ended.
        requests: The requests.
        cpu_seconds: The CPU time of the competitor's processes.
        megabytes: Their peak memory.
        sandbox_load: The sandbox's CPU time as a share of the time that passed.
        latencies: The seconds from enqueued to stored, at a steady pace.
        members: The result of the check of the members.
    """

    competitor: str
    condition: str
    workers: int
    traffic: Traffic
    events: int
    seconds: float
    requests: int
    cpu_seconds: float
    megabytes: float
    sandbox_load: float
    latencies: tuple[float, ...] = ()
    members: str = "right"

    @property
    def rate(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0

    @property
    def requests_per_event(self) -> float:
        return per(self.requests, self.events)

    @property
    def cpu_ms_per_event(self) -> float:
        return per(self.cpu_seconds * 1000, self.events)


@dataclass(frozen=True)
class Window:
    """One window of the limit, in which `stored` events were stored for the first time.

    `passed` requests were let through, and `refused` ones answered with 429.
    """

    stored: int
    passed: int
    refused: int


@dataclass(frozen=True)
class LimitRow:
    """The results of one competitor under one limit.

    Attributes:
        competitor: Its name.
        workers: The number of workers.
        traffic: The kind of events.
        limit: The requests allowed in a window.
        window_seconds: The length of a window.
        windows: The results by window.
        follows: Whether another limit was in force before.
        members: The result of the check of the members, after the last limit.
    """

    competitor: str
    workers: int
    traffic: Traffic
    limit: int
    window_seconds: float
    windows: tuple[Window, ...]
    follows: bool = False
    members: str = "right"

    @property
    def condition(self) -> str:
        limit = f"{self.limit} requests/{self.window_seconds:g} s"
        return f"then {limit}" if self.follows else limit

    @property
    def rate(self) -> float:
        return sum(each.stored for each in self.windows) / (len(self.windows) * self.window_seconds)

    @property
    def refused(self) -> float:
        """The share of all requests that was answered with 429."""
        return refused(self.windows)

    @property
    def used(self) -> float:
        """The share of the allowed requests that was made."""
        return used(self.windows, self.limit)


def refused(windows: Sequence[Window]) -> float:
    """Return the share of the requests of these windows that was answered with 429."""
    requests = sum(each.passed + each.refused for each in windows)
    return sum(each.refused for each in windows) / requests if requests else 0.0


def used(windows: Sequence[Window], limit: int) -> float:
    """Return the share of the requests allowed in these windows that was made."""
    return sum(each.passed for each in windows) / (limit * len(windows))


def per(amount: float, events: int) -> float:
    """Return the amount for one event; NaN if there was none."""
    return amount / events if events else math.nan


def baseline(row: Measured, rows: Iterable[AnyRow]) -> AnyRow | None:
    """Return plain Celery's row of the same traffic and condition, with as many workers."""
    for each in rows:
        if (each.competitor, each.traffic, each.condition, each.workers) == (
            BASELINE,
            row.traffic.baseline,
            row.condition,
            row.workers,
        ):
            return each
    return None


def ratio(row: Measured, rows: Iterable[Measured]) -> float | None:
    """Return the rate as a multiple of plain Celery's, or None without a row of it."""
    other = baseline(row, rows)
    return row.rate / other.rate if other and other.rate else None


def behind(row: Row, rows: Iterable[Row]) -> list[str]:
    """Return the figures in which the row is notably worse than plain Celery's."""
    other = baseline(row, rows)
    if other is None:
        return []
    costs = {
        "rate": (other.rate, row.rate),
        "requests": (row.requests_per_event, other.requests_per_event),
        "CPU": (row.cpu_ms_per_event, other.cpu_ms_per_event),
        "memory": (row.megabytes, other.megabytes),
        "p50": (percentile(row.latencies, 50), percentile(other.latencies, 50)),
        "p99": (percentile(row.latencies, 99), percentile(other.latencies, 99)),
    }
    return [
        name
        for name, (more, less) in costs.items()
        if more is not None and less is not None and more > less * NOTABLE
    ]


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the smallest value that `percent` percent of the values do not exceed.

    That is the nearest rank; without values, this returns None.
    """
    if not values:
        return None
    return sorted(values)[max(math.ceil(len(values) * percent / 100) - 1, 0)]
