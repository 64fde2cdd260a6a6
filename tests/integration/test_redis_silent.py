"""Redis that is gone without a word, as after a failover whose old address swallows what is sent to it."""

import signal
from collections.abc import Iterator

import pytest

from tests.integration.bench import Bench, identified, until
from tests.integration.modes import Mode, each_mode
from tests.relays import Relay
from tests.servers import eventually

# An event that a worker lost sight of would come back only after this; nothing here may need that long.
UNTIL_RESTORED = {"VISIBILITY_TIMEOUT_SECONDS": "120"}
SOON = 100  # less than that, though a busy machine needs most of it
# A delivery takes 14 seconds at the most, and a worker told to stop ten more.
STOPPING = {
    "MAILGUN_CONNECT_TIMEOUT_SECONDS": "1",
    "MAILGUN_READ_TIMEOUT_SECONDS": "2",
    "VISIBILITY_TIMEOUT_SECONDS": "20",
}
GRACE_SECONDS = 60
PEOPLE, MORE = 1200, 20


@pytest.fixture
def relay(own: Bench) -> Iterator[Relay]:
    with Relay(own.server.port) as relay:
        yield relay


def put_people(bench: Bench, mode: Mode, prefix: str, people: int = PEOPLE) -> None:
    events = (identified(f"{prefix}{number}@example.com", plan="pro") for number in range(people))
    mode.put(bench.redis, bench.queue, *events)


def kill_all(bench: Bench) -> None:
    bench.redis.execute_command("CLIENT", "KILL", "TYPE", "normal")


@each_mode
def test_workers_go_on_after_redis_fell_silent(own: Bench, relay: Relay, mode: Mode) -> None:
    settings = {**mode.settings, **UNTIL_RESTORED, "REDIS_URL": relay.url}
    own.sandbox.control.latency(20)
    with own.working(**settings) as one, own.working(**settings) as another:
        put_people(own, mode, "p")
        until(lambda: own.delivered() >= 200, "200 members")
        relay.silence()
        own.ended(SOON)
        before = {each: each.deliveries() for each in (one, another)}
        put = PEOPLE

        def all_handle_more() -> bool:
            nonlocal put
            if own.delivered() == put:  # else they handle what was put before
                put_people(own, mode, f"q{put}-", MORE)
                put += MORE
            return all(each.deliveries() > earlier for each, earlier in before.items())

        eventually(all_handle_more, SOON, "events handled by every worker")
        own.ended(SOON)
    assert own.delivered() == put
    assert own.letters() == []


@each_mode
def test_connections_cut_under_load_leave_no_event_waiting(
    own: Bench, relay: Relay, mode: Mode
) -> None:
    settings = {**mode.settings, **UNTIL_RESTORED, "REDIS_URL": relay.url}
    own.sandbox.control.latency(20)
    with own.working(**settings), own.working(**settings):
        put_people(own, mode, "p")
        for enough, cut in ((200, relay.cut), (500, lambda: kill_all(own)), (800, relay.cut)):
            until(lambda enough=enough: own.delivered() >= enough, f"{enough} members")  # type: ignore[misc]
            cut()
        own.ended(SOON)
    assert own.delivered() == PEOPLE
    assert own.letters() == []


@each_mode
@pytest.mark.parametrize("away", ["silent", "gone"])
def test_worker_stopped_while_redis_is_away_ends_and_loses_nothing(
    own: Bench, relay: Relay, away: str, mode: Mode
) -> None:
    own.sandbox.control.latency(100)
    settings = {**mode.settings, **STOPPING}
    worker = own.worker(**settings, REDIS_URL=relay.url).ready()
    put_people(own, mode, "p", 300)
    until(lambda: own.delivered() >= 30, "30 members")
    relay.silence(new=True) if away == "silent" else relay.refuse()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(GRACE_SECONDS) == 0
    with own.working(**settings):
        own.ended(100)
    assert own.delivered() == 300
