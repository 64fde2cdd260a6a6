"""The course: the events that a contender gets, staged once.

A warm-up is followed, for each latency, by a backlog and by events at a steady pace.
"""

from dataclasses import dataclass

from tests.bench.ground import Ground
from tests.bench.lineup import Contender
from tests.bench.options import Scale
from tests.bench.staging import Load, staged

GATHERED_SECONDS = 0.1  # a producer of bundles sends what came within this time


@dataclass(frozen=True)
class Heat:
    """The numbers of one condition's events, each about a person of its own."""

    latency_ms: int
    backlog: range
    paced: range

    @property
    def numbers(self) -> range:
        """All numbers, one after another."""
        return range(self.backlog.start, self.paced.stop)


@dataclass(frozen=True)
class Course:
    """All events that one contender gets, with any number of workers.

    `warm_up` is by number of workers.
    """

    warm_up: dict[int, range]
    heats: list[Heat]
    loads: dict[range, list[Load]]

    @property
    def people(self) -> range:
        """The numbers of all people concerned."""
        return range(self.heats[-1].numbers.stop)


def course(ground: Ground, contender: Contender, scale: Scale) -> Course:
    """Return the contender's course, staged."""
    warm_up = {workers: range(scale.warm_up * workers) for workers in contender.workers}
    ahead = heats(contender, scale, max(each.stop for each in warm_up.values()))
    gathered = round(scale.paced_rate * GATHERED_SECONDS)
    together = {each: len(each) for each in (*warm_up.values(), *(heat.backlog for heat in ahead))}
    together |= {heat.paced: gathered for heat in ahead}
    return Course(warm_up, ahead, staged(ground, contender, together))


def heats(contender: Contender, scale: Scale, first: int) -> list[Heat]:
    """Return a heat for each latency, with the numbers from `first` on."""
    found: list[Heat] = []
    for latency in contender.latencies_ms:
        backlog = range(first, first + scale.events * contender.swift)
        paced = range(backlog.stop, backlog.stop + round(scale.paced_seconds * scale.paced_rate))
        found.append(Heat(latency, backlog, paced))
        first = paced.stop
    return found
