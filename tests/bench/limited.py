"""A contender under Mailgun's rate limit, for a fixed time.

Its backlog is more than it can deliver in that time.
"""

import time

from tests.bench.figures import Row
from tests.bench.following import refused, stored_at
from tests.bench.ground import Ground
from tests.bench.lineup import Contender
from tests.bench.options import Scale
from tests.bench.staging import staged
from tests.bench.starter import (
    Reading,
    Starter,
    expected,
    reading,
    sandbox_load,
    starter,
    stored_among,
    warm_up,
)
from tests.bench.verdict import verdict

ENOUGH = 1.1  # events in the backlog for each event that the requests can carry
LEAST_EACH = 10  # events in the backlog, at least, for each request that the limit allows


def limited(ground: Ground, contender: Contender, scale: Scale) -> Row:
    """Measure the contender's row, with one worker."""
    warm = range(scale.warm_up)
    backlog = range(warm.stop, warm.stop + backlog_size(contender.carries, scale))
    loads = staged(ground, contender, {warm: len(warm), backlog: len(backlog)})
    with starter(ground, contender, 1, range(backlog.stop)) as at_start:
        if contender.beside:
            at_start.crew.add("beside", contender.beside)
        warm_up(at_start, loads[warm])
        at_start.control.limit(scale.limit, window_seconds=scale.window_seconds, hint=scale.hint)
        at_start.crew.reset_peak()
        began = reading(at_start)
        at_start.feeder.feed(loads[backlog])
        time.sleep(max(began.at + scale.limit_seconds - time.time(), 0))
        return row_after(at_start, began, backlog, scale)


def backlog_size(carries: int, scale: Scale) -> int:
    """Return more events than the limit allows, if each request carries `carries` events."""
    return round(scale.allowed * max(carries * ENOUGH, LEAST_EACH))


def row_after(of: Starter, began: Reading, backlog: range, scale: Scale) -> Row:
    """Return the row, once the time is over."""
    over = reading(of)
    of.crew.check()
    megabytes = of.crew.peak_megabytes()
    records = [
        each for each in of.control.requests(began.log.requests) if each.seq <= over.log.requests
    ]
    stored = stored_among(backlog, stored_at(records))
    return Row(
        contender=of.contender.name,
        condition=f"{scale.limit} requests/{scale.window_seconds:g} s",
        workers=of.workers,
        stored=len(stored),
        seconds=over.at - began.at,
        requests=len(records),
        cpu_seconds=over.crew_cpu - began.crew_cpu,
        megabytes=megabytes,
        sandbox_load=sandbox_load(began, over),
        refused=refused(records),
        limited=True,
        members=verdict(of.control.members(), expected(list(stored))),
    )
