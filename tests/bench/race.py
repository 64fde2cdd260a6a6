"""The race: a contender without a rate limit.

A backlog shows its rate, then a steady pace its latencies.
"""

from collections.abc import Iterator

from tests.bench.course import Course, Heat, course
from tests.bench.figures import Row
from tests.bench.following import stored_at
from tests.bench.ground import Ground
from tests.bench.lineup import Contender
from tests.bench.options import Scale
from tests.bench.staging import Load
from tests.bench.starter import (
    Starter,
    expected,
    reading,
    sandbox_load,
    starter,
    stored_among,
    stored_within,
    warm_up,
)
from tests.bench.verdict import verdict


def race(ground: Ground, contender: Contender, scale: Scale) -> Iterator[Row]:
    """Yield the contender's rows: one for each number of workers and each latency."""
    ahead = course(ground, contender, scale)
    for workers in contender.workers:
        with starter(ground, contender, workers, ahead.people) as at_start:
            warm_up(at_start, ahead.loads[ahead.warm_up[workers]])
            for heat in ahead.heats:
                yield run(at_start, ahead, heat, scale.paced_rate)


def run(of: Starter, ahead: Course, heat: Heat, rate: int) -> Row:
    """Measure one row.

    The backlog is stored before the steady pace of `rate` events a second begins.
    """
    of.control.latency(heat.latency_ms)
    of.crew.reset_peak()
    before = reading(of)
    of.feeder.feed(ahead.loads[heat.backlog])
    stored_all = stored_within(of, before.log, len(heat.backlog))
    after = reading(of)
    stored = stored_among(heat.backlog, stored_at(of.control.requests(before.log.requests)))
    latencies = paced(of, heat.paced, ahead.loads[heat.paced], rate)
    of.crew.check()
    return Row(
        contender=of.contender.name,
        condition=f"{heat.latency_ms} ms",
        workers=of.workers,
        stored=len(stored),
        seconds=(max(stored.values()) if stored_all else after.at) - before.at,
        requests=after.log.requests - before.log.requests,
        cpu_seconds=after.crew_cpu - before.crew_cpu,
        megabytes=of.crew.peak_megabytes(),
        sandbox_load=sandbox_load(before, after),
        latencies=latencies,
        members=verdict(of.control.members(), expected(heat.numbers)),
    )


def paced(of: Starter, numbers: range, loads: list[Load], rate: int) -> tuple[float, ...]:
    """Return the seconds from enqueued to stored of each event that was stored.

    Args:
        of: The contender.
        numbers: The numbers of the events.
        loads: The staged events.
        rate: Events a second.
    """
    before = reading(of)
    arrivals = of.feeder.feed_at(rate, loads)
    stored_within(of, before.log, len(arrivals))
    stored = stored_among(numbers, stored_at(of.control.requests(before.log.requests)))
    came = dict(zip(numbers, arrivals, strict=True))
    return tuple(at - came[number] for number, at in stored.items())
