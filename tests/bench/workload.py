"""The workload: the events that a competitor gets, staged once.

A warm-up is followed, for each latency, by a backlog and by events at a steady pace.
"""

from dataclasses import dataclass

from tests.bench.competitors import Competitor
from tests.bench.environment import Environment
from tests.bench.options import Scale
from tests.bench.staging import Load, staged

GATHERED_SECONDS = 0.1  # a producer of bundles sends what came within this time


@dataclass(frozen=True)
class Scenario:
    """The numbers of one condition's events, each about a person of its own."""

    latency_ms: int
    backlog: range
    paced: range

    @property
    def numbers(self) -> range:
        """All numbers, one after another."""
        return range(self.backlog.start, self.paced.stop)


@dataclass(frozen=True)
class Workload:
    """All events that one competitor gets, with any number of workers.

    `warm_up` is by number of workers.
    """

    warm_up: dict[int, range]
    scenarios: list[Scenario]
    loads: dict[range, list[Load]]

    @property
    def people(self) -> range:
        """The numbers of all people concerned."""
        return range(self.scenarios[-1].numbers.stop)


def staged_workload(environment: Environment, competitor: Competitor, scale: Scale) -> Workload:
    """Return the competitor's workload, staged."""
    warm_up = {workers: range(scale.warm_up * workers) for workers in competitor.workers}
    planned = scenarios(competitor, scale, max(each.stop for each in warm_up.values()))
    gathered = round(scale.paced_rate * GATHERED_SECONDS)
    together = {
        each: len(each) for each in (*warm_up.values(), *(scenario.backlog for scenario in planned))
    }
    together |= {scenario.paced: gathered for scenario in planned}
    return Workload(warm_up, planned, staged(environment, competitor, together))


def scenarios(competitor: Competitor, scale: Scale, first: int) -> list[Scenario]:
    """Return a scenario for each latency, with the numbers from `first` on."""
    found: list[Scenario] = []
    for latency in competitor.latencies_ms:
        backlog = range(first, first + scale.events * competitor.event_factor)
        paced = range(backlog.stop, backlog.stop + round(scale.paced_seconds * scale.paced_rate))
        found.append(Scenario(latency, backlog, paced))
        first = paced.stop
    return found
