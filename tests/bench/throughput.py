"""Throughput and latency: a competitor without a rate limit.

A backlog shows its rate, then a steady pace its latencies. Events that change nothing have no
latency, because nothing is stored.
"""

from collections.abc import Iterator

from tests.bench.competitors import Competitor
from tests.bench.environment import Environment
from tests.bench.figures import Row
from tests.bench.list_check import check_members
from tests.bench.options import Scale
from tests.bench.running import (
    RunningCompetitor,
    done_within,
    expected_members,
    running_competitor,
    sandbox_load,
    snapshot,
    stored_among,
    stored_within,
    warm_up,
)
from tests.bench.staging import Load
from tests.bench.storage_times import stored_at
from tests.bench.traffic import Traffic
from tests.bench.workload import Scenario, Workload, staged_workload


def throughput(
    environment: Environment, competitor: Competitor, traffic: Traffic, scale: Scale
) -> Iterator[Row]:
    """Yield the competitor's rows: one for each number of workers and each latency."""
    workload = staged_workload(environment, competitor, traffic, scale)
    for workers in competitor.workers:
        with running_competitor(
            environment, competitor, workers, traffic, workload.people()
        ) as running:
            warm_up(running, workload.loads[workload.warm_up[workers]])
            for scenario in workload.scenarios:
                yield run(running, workload, scenario, scale.paced_rate)


def run(of: RunningCompetitor, workload: Workload, scenario: Scenario, rate: int) -> Row:
    """Measure one row.

    The backlog is stored before the steady pace of `rate` events a second begins.
    """
    of.control.latency(scenario.latency_ms)
    of.processes.reset_peak()
    before = snapshot(of)
    of.feeder.feed(workload.loads[scenario.backlog])
    all_done = done_within(of, before.log, len(scenario.backlog))
    after = snapshot(of)
    if of.traffic.is_stored:
        records = of.control.requests(before.log.requests)
        stored = stored_among(of.traffic, scenario.backlog, stored_at(records))
        done, ended = len(stored), max(stored.values()) if all_done else after.at
        latencies = paced(of, scenario.paced, workload.loads[scenario.paced], rate)
    else:
        done, ended, latencies = len(scenario.backlog) if all_done else 0, after.at, ()
    of.processes.check()
    return Row(
        competitor=of.competitor.name,
        condition=f"{scenario.latency_ms} ms",
        workers=of.workers,
        traffic=of.traffic,
        events=done,
        seconds=ended - before.at,
        requests=after.log.requests - before.log.requests,
        cpu_seconds=after.competitor_cpu - before.competitor_cpu,
        megabytes=of.processes.peak_megabytes(),
        sandbox_load=sandbox_load(before, after),
        latencies=latencies,
        members=check_members(of.control.members(), expected_members(of.traffic, scenario.numbers)),
    )


def paced(of: RunningCompetitor, numbers: range, loads: list[Load], rate: int) -> tuple[float, ...]:
    """Return the seconds from enqueued to stored of each event that was stored.

    Args:
        of: The competitor.
        numbers: The numbers of the events.
        loads: The staged events.
        rate: Events a second.
    """
    before = snapshot(of)
    arrivals = of.feeder.feed_at(rate, loads)
    stored_within(of, before.log, len(arrivals))
    stored = stored_among(of.traffic, numbers, stored_at(of.control.requests(before.log.requests)))
    came = dict(zip(numbers, arrivals, strict=True))
    return tuple(at - came[number] for number, at in stored.items())
