"""Redis that is gone without a word, as after a failover whose old address swallows what is sent to it."""

import signal
from collections.abc import Iterator
from itertools import count

import pytest

from tests.integration.bench import Bench, identified, until
from tests.relays import Relay
from tests.servers import eventually
from tests.workers import RunningWorker

MODES = {
    "default": {},
    "batches": {"MAILGUN_BATCH_SIZE": "100", "WORKER_CONCURRENCY": "400"},
    "ledger": {"MAILGUN_MEMBER_STATE": "ledger", "MAILGUN_BATCH_SIZE": "100", "WORKER_CONCURRENCY": "400"},
}
# An event that a worker lost sight of would come back only after this; nothing here may need that long.
UNTIL_RESTORED = {"VISIBILITY_TIMEOUT_SECONDS": "120"}
SOON = 60
PEOPLE, MORE = 1200, 50


@pytest.fixture
def relay(own: Bench) -> Iterator[Relay]:
    with Relay(own.server.port) as relay:
        yield relay


def put_people(bench: Bench, prefix: str, people: int = PEOPLE) -> None:
    bench.put(*(identified(f"{prefix}{number}@example.com", plan="pro") for number in range(people)))


def kill_all(bench: Bench) -> None:
    bench.redis.execute_command("CLIENT", "KILL", "TYPE", "normal")


def handled(worker: RunningWorker) -> int:
    return worker.printed().count("events handled") + worker.printed().count('"outcome": "delivered"')


@pytest.mark.parametrize("mode", MODES)
def test_all_workers_go_on_after_redis_fell_silent(own: Bench, relay: Relay, mode: str) -> None:
    settings = {**MODES[mode], **UNTIL_RESTORED, "REDIS_URL": relay.url}
    own.sandbox.control.latency(20)
    with own.working(**settings) as one, own.working(**settings) as another:
        put_people(own, "p")
        until(lambda: own.delivered() >= 200, "200 members")
        relay.silence()
        own.ended(SOON)
        before = {each: handled(each) for each in (one, another)}
        rounds = count()

        def all_handle_more() -> bool:
            put_people(own, f"q{next(rounds)}-", MORE)
            return all(handled(each) > earlier for each, earlier in before.items())

        eventually(all_handle_more, SOON, "events handled by every worker")
        own.ended(SOON)
    assert own.delivered() == PEOPLE + next(rounds) * MORE
    assert own.letters() == []


@pytest.mark.parametrize("mode", MODES)
def test_connections_cut_under_load_keep_no_event_waiting(own: Bench, relay: Relay, mode: str) -> None:
    settings = {**MODES[mode], **UNTIL_RESTORED, "REDIS_URL": relay.url}
    own.sandbox.control.latency(20)
    with own.working(**settings), own.working(**settings):
        put_people(own, "p")
        for enough, cut in ((200, relay.cut), (500, lambda: kill_all(own)), (800, relay.cut)):
            until(lambda enough=enough: own.delivered() >= enough, f"{enough} members")  # type: ignore[misc]
            cut()
        own.ended(SOON)
    assert own.delivered() == PEOPLE
    assert own.letters() == []


@pytest.mark.parametrize("away", ["silent", "gone"])
def test_worker_told_to_stop_while_redis_is_away_ends_and_loses_nothing(own: Bench, relay: Relay, away: str) -> None:
    own.sandbox.control.latency(100)
    worker = own.worker(REDIS_URL=relay.url, VISIBILITY_TIMEOUT_SECONDS="45").ready()
    put_people(own, "p", 300)
    until(lambda: own.delivered() >= 30, "30 members")
    relay.silence(new=True) if away == "silent" else relay.refuse()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(100) == 0
    with own.working(VISIBILITY_TIMEOUT_SECONDS="45"):
        own.ended(100)
    assert own.delivered() == 300
