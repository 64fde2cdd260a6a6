"""A contender's workers at the start, to be fed, warmed up and read."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench import proc
from tests.bench.crew import Crew
from tests.bench.feeding import Feeder
from tests.bench.following import Mark, mark, wait_for
from tests.bench.ground import Ground
from tests.bench.lineup import Contender
from tests.bench.people import events, person
from tests.bench.staging import Load
from tests.bench.verdict import Wanted, wanted
from worker.sandbox.client import SandboxControl

PATIENCE_SECONDS = 30
SLOWEST_RATE = 25  # events a second; a slower contender is not waited for


@dataclass(frozen=True)
class Starter:
    """One contender at the start."""

    contender: Contender
    workers: int
    crew: Crew
    control: SandboxControl
    sandbox_pid: int
    feeder: Feeder


@dataclass(frozen=True)
class Reading:
    """The totals at one moment.

    Attributes:
        at: The moment, in epoch seconds.
        crew_cpu: The contender's CPU time, in seconds.
        sandbox_cpu: The sandbox's CPU time, in seconds.
        log: The end of the sandbox's log.
    """

    at: float
    crew_cpu: float
    sandbox_cpu: float
    log: Mark


@contextmanager
def starter(ground: Ground, contender: Contender, workers: int, people: range) -> Iterator[Starter]:
    """Run the contender's workers on a list of these people until the block ends."""
    ground.prepare(contender, people)
    with ground.crew(contender, workers) as crew:
        feeder = Feeder(ground.redis, crew, queued=contender.producer != "none")
        yield Starter(
            contender, workers, crew, ground.sandbox.control, ground.sandbox.process.pid, feeder
        )


def reading(of: Starter) -> Reading:
    """Return the present totals."""
    return Reading(
        time.time(), of.crew.cpu_seconds(), proc.cpu_seconds(of.sandbox_pid), mark(of.control)
    )


def warm_up(of: Starter, loads: Sequence[Load]) -> None:
    """Let the workers store these events, so that all code is loaded and connections are open."""
    before = mark(of.control)
    of.feeder.feed(loads)
    stored_within(of, before, sum(load.events for load in loads))


def stored_within(of: Starter, since: Mark, events: int) -> bool:
    """Return True if so many events were stored since then before the time was up."""
    return wait_for(of.control, since, events, PATIENCE_SECONDS + events / SLOWEST_RATE)


def sandbox_load(before: Reading, after: Reading) -> float:
    """Return the sandbox's CPU time as a share of the time that passed."""
    return (after.sandbox_cpu - before.sandbox_cpu) / (after.at - before.at)


def stored_among(numbers: range, stored: dict[str, float]) -> dict[int, float]:
    """Return when each of these events' people was stored, without those that were not."""
    moments = {number: stored.get(person(number).address) for number in numbers}
    return {number: moment for number, moment in moments.items() if moment is not None}


def expected(numbers: Sequence[int]) -> list[Wanted]:
    """Return the members after these events, each about a person of its own."""
    return [wanted(person(number), list(events([number]))) for number in numbers]
