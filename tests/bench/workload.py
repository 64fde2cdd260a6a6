"""The workload: the events that a competitor gets, staged once.

A warm-up about people of its own is followed, for each latency, by a backlog and by events at a
steady pace.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.competitors import Competitor
from tests.bench.environment import Environment
from tests.bench.options import Scale
from tests.bench.people import Person, person
from tests.bench.staging import Load, staged
from tests.bench.traffic import Traffic

GATHERED_SECONDS = 0.1  # a producer of bundles sends what came within this time


@dataclass(frozen=True)
class Scenario:
    """The numbers of one condition's events."""

    latency_ms: int
    backlog: range
    paced: range

    @property
    def numbers(self) -> range:
        """All numbers, one after another."""
        return range(self.backlog.start, self.paced.stop)


@dataclass(frozen=True)
class Workload:
    """All events that one competitor gets with one kind of traffic, with any number of workers.

    `warm_up` is by number of workers; its events are always about people who are on the list.
    """

    traffic: Traffic
    warm_up: dict[int, range]
    scenarios: list[Scenario]
    loads: dict[range, list[Load]]

    def people(self) -> Iterator[Person]:
        """Yield the people who are on the list before."""
        first, last = self.scenarios[0].numbers.start, self.scenarios[-1].numbers.stop
        return on_list(self.traffic, range(first), range(first, last))


def on_list(traffic: Traffic, warm_up: range, numbers: range) -> Iterator[Person]:
    """Yield the people who are on the list before the events of these numbers."""
    yield from map(person, warm_up)
    yield from traffic.on_list(numbers)


def staged_workload(
    environment: Environment, competitor: Competitor, traffic: Traffic, scale: Scale
) -> Workload:
    """Return the competitor's workload, staged."""
    warm_up = {workers: range(scale.warm_up * workers) for workers in competitor.workers}
    first = max(each.stop for each in warm_up.values())
    planned = scenarios(competitor, scale, first)
    gathered = round(scale.paced_rate * GATHERED_SECONDS)
    together = {
        each: len(each) for each in (*warm_up.values(), *(scenario.backlog for scenario in planned))
    }
    together |= {scenario.paced: gathered for scenario in planned}
    numbers = range(first, planned[-1].numbers.stop)
    sent = [*Traffic.KNOWN.events(range(first)), *traffic.events(numbers)]
    return Workload(traffic, warm_up, planned, staged(environment, competitor, sent, together))


def scenarios(competitor: Competitor, scale: Scale, first: int) -> list[Scenario]:
    """Return a scenario for each latency, with the numbers from `first` on."""
    found: list[Scenario] = []
    for latency in competitor.latencies_ms:
        backlog = range(first, first + scale.events * competitor.event_factor)
        paced = range(backlog.stop, backlog.stop + round(scale.paced_seconds * scale.paced_rate))
        found.append(Scenario(latency, backlog, paced))
        first = paced.stop
    return found
