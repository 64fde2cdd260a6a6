"""Competitors under Mailgun's rate limit, each for a fixed time and with a backlog for longer.

The limit may change under way. Such runs wait most of the time, so several go on side by side, each
with a server and a sandbox of its own.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from tests.bench.competitors import OUR_PACE, Competitor
from tests.bench.environment import Environment, environment
from tests.bench.figures import LimitRow, Window
from tests.bench.list_check import check_members
from tests.bench.options import Options, Scale
from tests.bench.running import (
    RunningCompetitor,
    expected_members,
    running_competitor,
    stored_among,
    warm_up,
)
from tests.bench.staging import staged
from tests.bench.storage_times import TOO_MANY, log_position, stored_at
from tests.bench.traffic import Traffic
from tests.bench.workload import on_list
from worker.sandbox.request_log import Record

ENOUGH = 1.1  # events in the backlog for each event that the requests can carry
LEAST_EACH = 10  # events in the backlog, at least, for each request that the limit allows
SIDE_BY_SIDE = 6  # runs
# Events for each worker before the limit begins. A real account's limit counts them, too, and what
# is learned from many without a limit would be wrong.
WARM_UP = 2


class Interrupted(Exception):
    """The benchmark ends before its time."""


@dataclass(frozen=True)
class LimitRun:
    """One competitor, with so many workers and one kind of traffic, under these limits in turn."""

    competitor: Competitor
    workers: int
    traffic: Traffic
    limits: tuple[int, ...]


def limit_runs(
    chosen: Sequence[Competitor], traffic: Sequence[Traffic], limits: tuple[int, ...]
) -> list[LimitRun]:
    """Return the runs, the longest first; with `limits`, all are under these."""
    runs = [
        LimitRun(each, workers, kind, limits or each.limits)
        for each in chosen
        for kind in traffic
        if kind.is_stored
        for workers in each.limit_workers
    ]
    return sorted(runs, key=lambda run: -len(run.limits))


def all_limited(runs: Sequence[LimitRun], options: Options) -> Iterator[list[LimitRow]]:
    """Yield the rows of each run, `SIDE_BY_SIDE` at a time."""
    stop = Event()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        under_way = [pool.submit(_alone, each, options, stop) for each in runs]
        try:
            for each in under_way:
                yield each.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def limited(here: Environment, run: LimitRun, scale: Scale, stop: Event) -> list[LimitRow]:
    """Measure the rows of a run, one for each limit.

    Raises:
        Interrupted: If `stop` was set.
    """
    warm = range(WARM_UP * run.workers)
    backlog = range(warm.stop, warm.stop + backlog_size(run.competitor.carries, run.limits, scale))
    sent = [*Traffic.KNOWN.events(warm), *run.traffic.events(backlog)]
    loads = staged(here, run.competitor, sent, {warm: len(warm), backlog: len(backlog)})
    people = on_list(run.traffic, warm, backlog)
    with running_competitor(here, run.competitor, run.workers, run.traffic, people) as running:
        if run.competitor.scheduler:
            running.processes.add("scheduler", run.competitor.scheduler)
        warm_up(running, loads[warm])
        # A ledger has read pages of the list meanwhile, hundreds of requests without a limit.
        here.redis.delete(*OUR_PACE)
        since = log_position(running.control)
        began: list[float] = []
        for limit in run.limits:
            running.control.limit(limit, window_seconds=scale.window_seconds, hint=scale.hint)
            began.append(time.time())
            if len(began) == 1:
                running.feeder.feed(loads[backlog])
            if stop.wait(max(began[-1] + scale.limit_seconds - time.time(), 0)):
                raise Interrupted
        running.processes.check()
        return rows_after(running, run, began, backlog, since.requests, scale)


def backlog_size(carries: int, limits: Sequence[int], scale: Scale) -> int:
    """Return more events than the limits allow, if each request carries `carries` events."""
    return round(sum(limits) * scale.windows * max(carries * ENOUGH, LEAST_EACH))


def rows_after(
    of: RunningCompetitor,
    run: LimitRun,
    began: Sequence[float],
    backlog: range,
    since: int,
    scale: Scale,
) -> list[LimitRow]:
    """Return the rows, once the time is over."""
    records = of.control.requests(since)
    stored = stored_among(run.traffic, backlog, stored_at(records))
    members = check_members(of.control.members(), expected_members(run.traffic, list(stored)))
    return [
        LimitRow(
            competitor=run.competitor.name,
            workers=run.workers,
            traffic=run.traffic,
            limit=limit,
            window_seconds=scale.window_seconds,
            windows=tuple(
                window(records, stored, start + each * scale.window_seconds, scale.window_seconds)
                for each in range(scale.windows)
            ),
            follows=number > 0,
            members=members,
        )
        for number, (limit, start) in enumerate(zip(run.limits, began, strict=True))
    ]


def window(
    records: Sequence[Record], stored: Mapping[int, float], start: float, seconds: float
) -> Window:
    """Return what happened in these seconds.

    Args:
        records: The requests.
        stored: When each event was stored.
        start: The beginning of the window, in epoch seconds.
        seconds: Its length.
    """
    met = [each for each in records if start <= each.at < start + seconds]
    refused = sum(each.status in TOO_MANY for each in met)
    return Window(
        stored=sum(start <= at < start + seconds for at in stored.values()),
        passed=len(met) - refused,
        refused=refused,
    )


def _alone(run: LimitRun, options: Options, stop: Event) -> list[LimitRow]:
    folder = options.logs / "limit" if options.logs else None
    with environment(options.bench_python, folder) as here:
        return limited(here, run, options.scale, stop)
