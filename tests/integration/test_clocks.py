"""A worker's own clock may be wrong by minutes: what a killed worker had comes back by Redis's clock, neither late nor early.

No clock of a machine is changed here: the worker's process has a `time.time` that is wrong.
"""

import json
import time
from datetime import datetime

import pytest

from tests.integration.bench import IMPATIENT, Bench, identified, until
from tests.workers import RunningWorker
from worker.delivery.outcome_stats import SLICE_SECONDS

WRONG = ("-m", "tests.wrong_clock")
CLOCKS = (0, 600, -600)


def worker_off_by(own: Bench, seconds: float, name: str) -> RunningWorker:
    worker = own.worker(*WRONG, str(seconds), "worker", f"--name={name}@%h", **IMPATIENT).ready()
    lines = (each for each in worker.printed().splitlines() if each.startswith("{"))
    logged = datetime.fromisoformat(json.loads(next(lines))["time"])
    assert abs(logged.timestamp() - time.time() - seconds) < 60
    return worker


@pytest.mark.parametrize("restoring", CLOCKS)
@pytest.mark.parametrize("killed", CLOCKS)
def test_events_of_a_killed_worker_return_within_the_visibility_timeout(
    own: Bench, killed: float, restoring: float
) -> None:
    people = [f"p{number}@example.com" for number in range(5)]
    own.sandbox.control.latency(60_000)
    first = worker_off_by(own, killed, "first")
    own.put(*(identified(each) for each in people))
    until(lambda: own.unacknowledged() == 5, "all in hand")
    first.kill()
    own.sandbox.control.latency(0)
    with worker_off_by(own, restoring, "second"):
        until(lambda: own.delivered() == 5, "what was in hand", within=40)
        own.ended()


@pytest.mark.parametrize("clock", CLOCKS)
def test_event_in_flight_is_not_taken_by_a_worker_with_another_clock(
    own: Bench, clock: float
) -> None:
    own.sandbox.control.latency(400)
    people = [f"p{number}@example.com" for number in range(200)]
    with worker_off_by(own, -clock, "first"), worker_off_by(own, clock, "second"):
        own.put(*(identified(each) for each in people))
        own.ended()
    assert set(own.members()) == set(people)
    assert len(own.posts()) == len(people)


@pytest.mark.parametrize("clock", [600, -600])
def test_status_shows_a_worker_whose_clock_is_wrong_and_its_latest_minute(
    own: Bench, clock: float
) -> None:
    with worker_off_by(own, clock, "first"):
        own.put(identified("jane@example.com"))
        own.counted("delivered")
        shown = json.loads(own.run("status", "--json").out)
        [entry] = shown["workers"]
        assert entry["state"] == "consuming"
        assert abs(shown["at"] - entry["started"]) < 120
        [part] = own.redis.keys(f"signal:{own.integration}:slice:*")
        assert abs(int(part.rpartition(":")[2]) * SLICE_SECONDS - shown["at"]) < 60
