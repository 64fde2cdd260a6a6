"""A competitor under Mailgun's rate limit, for a fixed time.

Its backlog is more than it can deliver in that time.
"""

import time

from tests.bench.competitors import Competitor
from tests.bench.environment import Environment
from tests.bench.figures import Row
from tests.bench.list_check import check_members
from tests.bench.options import Scale
from tests.bench.running import (
    RunningCompetitor,
    Snapshot,
    expected_members,
    running_competitor,
    sandbox_load,
    snapshot,
    stored_among,
    warm_up,
)
from tests.bench.staging import staged
from tests.bench.storage_times import refused, stored_at

ENOUGH = 1.1  # events in the backlog for each event that the requests can carry
LEAST_EACH = 10  # events in the backlog, at least, for each request that the limit allows


def limited(environment: Environment, competitor: Competitor, scale: Scale) -> Row:
    """Measure the competitor's row, with one worker."""
    warm = range(scale.warm_up)
    backlog = range(warm.stop, warm.stop + backlog_size(competitor.carries, scale))
    loads = staged(environment, competitor, {warm: len(warm), backlog: len(backlog)})
    with running_competitor(environment, competitor, 1, range(backlog.stop)) as running:
        if competitor.scheduler:
            running.processes.add("scheduler", competitor.scheduler)
        warm_up(running, loads[warm])
        running.control.limit(scale.limit, window_seconds=scale.window_seconds, hint=scale.hint)
        running.processes.reset_peak()
        began = snapshot(running)
        running.feeder.feed(loads[backlog])
        time.sleep(max(began.at + scale.limit_seconds - time.time(), 0))
        return row_after(running, began, backlog, scale)


def backlog_size(carries: int, scale: Scale) -> int:
    """Return more events than the limit allows, if each request carries `carries` events."""
    return round(scale.allowed * max(carries * ENOUGH, LEAST_EACH))


def row_after(of: RunningCompetitor, began: Snapshot, backlog: range, scale: Scale) -> Row:
    """Return the row, once the time is over."""
    over = snapshot(of)
    of.processes.check()
    megabytes = of.processes.peak_megabytes()
    records = [
        each for each in of.control.requests(began.log.requests) if each.seq <= over.log.requests
    ]
    stored = stored_among(backlog, stored_at(records))
    return Row(
        competitor=of.competitor.name,
        condition=f"{scale.limit} requests/{scale.window_seconds:g} s",
        workers=of.workers,
        stored=len(stored),
        seconds=over.at - began.at,
        requests=len(records),
        cpu_seconds=over.competitor_cpu - began.competitor_cpu,
        megabytes=megabytes,
        sandbox_load=sandbox_load(began, over),
        refused=refused(records),
        limited=True,
        members=check_members(of.control.members(), expected_members(list(stored))),
    )
