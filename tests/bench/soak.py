"""The soak: full speed through one worker.

Its memory must stay flat and its queue small.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.bench.competitors import COMPETITORS, QUEUE
from tests.bench.environment import Environment
from tests.bench.list_check import check_members, expected_member
from tests.bench.people import events, person
from tests.bench.running import RunningCompetitor, running_competitor, under_way
from tests.bench.traffic import Traffic
from tests.servers import eventually
from worker.delivery.outcome_stats import OutcomeStats
from worker.queue.producer import enqueue_many
from worker.redis_client.client import connect

EVENTS_EACH = 4  # events about one person
BACKLOG = 20_000  # events that may wait before more are put
AT_ONCE = 5000
REPORTS = 10
STUCK_SECONDS = 120
# The outcomes with which an event ends; with any other it waits.
ENDS = {
    "delivered",
    "unchanged",
    "superseded",
    "skipped",
    "dead letter",
}
LOOK_EVERY_SECONDS = 0.05
MEGABYTE = 1024 * 1024

HEAD = (
    f"{'events':>10} {'seconds':>8} {'events/s':>9} {'worker MB':>10} {'peak MB':>8} "
    f"{'queue MB':>9} {'Redis MB':>9}"
)


@dataclass(frozen=True)
class Milestone:
    """The state when so many events had ended.

    Attributes:
        events: The number of events.
        seconds: The seconds since the start.
        rate: The events a second since the last milestone.
        resident: The worker's memory, in MB.
        peak: Its peak, in MB.
        queue: The size of the queue, in MB.
        redis: The size of all that is stored, in MB.
    """

    events: int
    seconds: float
    rate: float
    resident: float
    peak: float
    queue: float
    redis: float

    def __str__(self) -> str:
        return (
            f"{self.events:>10,} {self.seconds:>8.0f} {self.rate:>9.0f} {self.resident:>10.1f} "
            f"{self.peak:>8.1f} {self.queue:>9.2f} {self.redis:>9.1f}"
        )


class Stuck(Exception):
    """No event has ended for a long time."""


def soak(environment: Environment, total: int) -> Iterator[str]:
    """Yield the lines to print: the head, ten milestones, and the check of the members."""
    people = max(total // EVENTS_EACH, 1)
    on_list = map(person, range(people))
    with running_competitor(
        environment, COMPETITORS["volume"], 1, Traffic.KNOWN, on_list
    ) as worker:
        yield HEAD
        for milestone in milestones(environment, worker, total, people):
            yield str(milestone)
        # An event that came again was counted twice.
        eventually(lambda: not under_way(worker), STUCK_SECONDS, "an end of all events")
        yield f"members: {members(worker, total, people)}"


def milestones(
    environment: Environment, worker: RunningCompetitor, total: int, people: int
) -> Iterator[Milestone]:
    """Put all events, keep a backlog, and yield milestones.

    Raises:
        Stuck: If no event ends for `STUCK_SECONDS`.
    """
    # `enqueue_many` reads these.
    os.environ.update(REDIS_URL=environment.server.url, SIGNAL_INTEGRATION="default")
    outcome_stats = OutcomeStats(connect(environment.server.url), "default")
    began = time.monotonic()
    put, before, next_at = 0, (0, began), total // REPORTS
    for ended, at in progress(outcome_stats, total):
        if put < total and put - ended < BACKLOG:
            put += enqueue_many(events(range(put, min(put + AT_ONCE, total)), people))
        if ended >= next_at:
            rate = (ended - before[0]) / (at - before[1])
            yield _milestone(environment, worker, ended, at - began, rate)
            before, next_at = (ended, at), min(next_at + total // REPORTS, total)


def progress(outcome_stats: OutcomeStats, total: int) -> Iterator[tuple[int, float]]:
    """Yield the number of ended events and the time, until all events have ended.

    Raises:
        Stuck: If no event ends for `STUCK_SECONDS`.
    """
    ended, changed = 0, time.monotonic()
    while ended < total:
        now_ended, now = ended_in(outcome_stats.totals()), time.monotonic()
        if now_ended != ended:
            ended, changed = now_ended, now
        elif now - changed > STUCK_SECONDS:
            raise Stuck(f"{ended} of {total} events had ended, then none for {STUCK_SECONDS} s")
        yield ended, now
        time.sleep(LOOK_EVERY_SECONDS)


def ended_in(totals: Mapping[str, int]) -> int:
    """Return the number of ended events in these counts of outcomes."""
    return sum(count for outcome, count in totals.items() if outcome.partition(":")[0] in ENDS)


def members(worker: RunningCompetitor, total: int, people: int) -> str:
    """Check all members, after all events about each."""
    expected = [
        expected_member(person(each), list(events(range(each, total, people), people)))
        for each in range(people)
    ]
    return check_members(worker.control.members(), expected)


def _milestone(
    environment: Environment, worker: RunningCompetitor, ended: int, seconds: float, rate: float
) -> Milestone:
    redis = environment.redis
    queue = redis.memory_usage(QUEUE) or 0
    used = redis.info("memory")["used_memory"]
    resident, peak = worker.processes.resident_megabytes(), worker.processes.peak_megabytes()
    return Milestone(ended, seconds, rate, resident, peak, queue / MEGABYTE, used / MEGABYTE)
