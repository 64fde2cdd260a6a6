"""A competitor whose workers run: it is fed, warmed up and measured."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench import proc
from tests.bench.competitors import Competitor
from tests.bench.environment import Environment
from tests.bench.feeding import Feeder
from tests.bench.list_check import ExpectedMember, expected_member
from tests.bench.people import Person
from tests.bench.processes import CompetitorProcesses
from tests.bench.staging import Load
from tests.bench.storage_times import LogPosition, log_position, wait_until_stored
from tests.bench.traffic import Traffic
from tests.sandbox_control import SandboxControl

if TYPE_CHECKING:
    import redis

PATIENCE_SECONDS = 30
SLOWEST_RATE = 25  # events a second; a slower competitor is not waited for
LOOK_EVERY_SECONDS = 0.01


@dataclass(frozen=True)
class RunningCompetitor:
    """One competitor whose workers run."""

    competitor: Competitor
    workers: int
    traffic: Traffic
    processes: CompetitorProcesses
    redis: "redis.Redis"
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
    environment: Environment,
    competitor: Competitor,
    workers: int,
    traffic: Traffic,
    people: Iterable[Person],
) -> Iterator[RunningCompetitor]:
    """Run the competitor's workers on a list of these people until the block ends."""
    environment.prepare(competitor, people)
    environment.sandbox.control.switches(bulk_answer=traffic.bulk_answer)
    with environment.running(competitor, workers) as processes:
        feeder = Feeder(environment.redis, processes, queued=competitor.producer != "none")
        yield RunningCompetitor(
            competitor,
            workers,
            traffic,
            processes,
            environment.redis,
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


def done_within(of: RunningCompetitor, since: LogPosition, events: int) -> bool:
    """Return True if so many events were done since then before the time was up.

    They are stored or, with unchanged events, neither queued nor in hand.
    """
    if of.traffic.is_stored:
        return stored_within(of, since, events)
    ends = time.monotonic() + patience(events)
    while under_way(of):
        if time.monotonic() > ends:
            return False
        time.sleep(LOOK_EVERY_SECONDS)
    return True


def stored_within(of: RunningCompetitor, since: LogPosition, events: int) -> bool:
    """Return True if so many events were stored since then before the time was up."""
    return wait_until_stored(of.control, since, events, patience(events))


def patience(events: int) -> float:
    """Return the seconds for which so many events are waited for."""
    return PATIENCE_SECONDS + events / SLOWEST_RATE


def under_way(of: RunningCompetitor) -> int:
    """Return the number of messages that are queued, in hand or delayed."""
    with of.redis.pipeline(transaction=True) as at_once:
        for each in of.competitor.counting:
            at_once.execute_command(*each)  # type: ignore[no-untyped-call]
        return sum(at_once.execute())


def sandbox_load(before: Snapshot, after: Snapshot) -> float:
    """Return the sandbox's CPU time as a share of the time that passed."""
    return (after.sandbox_cpu - before.sandbox_cpu) / (after.at - before.at)


def stored_among(traffic: Traffic, numbers: range, stored: dict[str, float]) -> dict[int, float]:
    """Return when each of these events' people was stored, without those that were not."""
    moments = {number: stored.get(traffic.before(number).address) for number in numbers}
    return {number: moment for number, moment in moments.items() if moment is not None}


def expected_members(traffic: Traffic, numbers: Sequence[int]) -> list[ExpectedMember]:
    """Return the members after these events, each about a person of its own."""
    return [
        expected_member(traffic.before(number), [sent])
        for number, sent in zip(numbers, traffic.events(numbers), strict=True)
    ]
