"""A competitor whose workers run: it is fed, warmed up and measured."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench import proc
from tests.bench.competitors import Competitor
from tests.bench.environment import Environment
from tests.bench.feeding import Feeder
from tests.bench.list_check import ExpectedMember, expected_member
from tests.bench.people import events, person
from tests.bench.processes import CompetitorProcesses
from tests.bench.staging import Load
from tests.bench.storage_times import LogPosition, log_position, wait_until_stored
from tests.sandbox_control import SandboxControl

PATIENCE_SECONDS = 30
SLOWEST_RATE = 25  # events a second; a slower competitor is not waited for


@dataclass(frozen=True)
class RunningCompetitor:
    """One competitor whose workers run."""

    competitor: Competitor
    workers: int
    processes: CompetitorProcesses
    control: SandboxControl
    sandbox_pid: int
    feeder: Feeder


@dataclass(frozen=True)
class Snapshot:
    """The totals at one moment.

    Attributes:
        at: The moment, in epoch seconds.
        competitor_cpu: The competitor's CPU time, in seconds.
        sandbox_cpu: The sandbox's CPU time, in seconds.
        log: The end of the sandbox's log.
    """

    at: float
    competitor_cpu: float
    sandbox_cpu: float
    log: LogPosition


@contextmanager
def running_competitor(
    environment: Environment, competitor: Competitor, workers: int, people: range
) -> Iterator[RunningCompetitor]:
    """Run the competitor's workers on a list of these people until the block ends."""
    environment.prepare(competitor, people)
    with environment.running(competitor, workers) as processes:
        feeder = Feeder(environment.redis, processes, queued=competitor.producer != "none")
        yield RunningCompetitor(
            competitor,
            workers,
            processes,
            environment.sandbox.control,
            environment.sandbox.process.pid,
            feeder,
        )


def snapshot(of: RunningCompetitor) -> Snapshot:
    """Return the present totals."""
    return Snapshot(
        time.time(),
        of.processes.cpu_seconds(),
        proc.cpu_seconds(of.sandbox_pid),
        log_position(of.control),
    )


def warm_up(of: RunningCompetitor, loads: Sequence[Load]) -> None:
    """Let the workers store these events, so that all code is loaded and connections are open."""
    before = log_position(of.control)
    of.feeder.feed(loads)
    stored_within(of, before, sum(load.events for load in loads))


def stored_within(of: RunningCompetitor, since: LogPosition, events: int) -> bool:
    """Return True if so many events were stored since then before the time was up."""
    return wait_until_stored(of.control, since, events, PATIENCE_SECONDS + events / SLOWEST_RATE)


def sandbox_load(before: Snapshot, after: Snapshot) -> float:
    """Return the sandbox's CPU time as a share of the time that passed."""
    return (after.sandbox_cpu - before.sandbox_cpu) / (after.at - before.at)


def stored_among(numbers: range, stored: dict[str, float]) -> dict[int, float]:
    """Return when each of these events' people was stored, without those that were not."""
    moments = {number: stored.get(person(number).address) for number in numbers}
    return {number: moment for number, moment in moments.items() if moment is not None}


def expected_members(numbers: Sequence[int]) -> list[ExpectedMember]:
    """Return the members after these events, each about a person of its own."""
    return [expected_member(person(number), list(events([number]))) for number in numbers]
