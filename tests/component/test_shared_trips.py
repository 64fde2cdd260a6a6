"""Threads share round trips to a real server, and each gets its own reply or error."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import redis

from tests.integrations import OwnIntegration
from tests.relays import Relay
from tests.servers import RedisServer
from worker.redis_client.client import connect
from worker.redis_client.shared_trips import SharedTrips

if TYPE_CHECKING:
    from redis.commands.core import Script

THREADS, EACH = 16, 100
# Returns its argument after a while in which other threads' commands gather.
ECHO = "for _ = 1, 20000 do end return {KEYS[1], ARGV[1]}"


def echo(own: OwnIntegration) -> "Script":
    return own.redis.register_script(ECHO)


def together(act: Callable[[int], Any], count: int = THREADS) -> list[Any]:
    """Call `act` with 0, 1, … in as many threads that begin at the same moment."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> Any:
        barrier.wait(10)
        return act(number)

    with ThreadPoolExecutor(count) as threads:
        return [each.result(30) for each in [threads.submit(begin, each) for each in range(count)]]


def reads(own: OwnIntegration) -> int:
    """Return how often the server has read commands from a connection."""
    return int(own.redis.info("stats")["total_reads_processed"])


def test_each_thread_gets_the_replies_to_its_own_commands(own: OwnIntegration) -> None:
    trips, script = SharedTrips(own.redis), echo(own)

    def run(thread: int) -> list[Any]:
        return [trips.run(script, [own.name], [f"{thread}.{each}"]) for each in range(EACH)]

    for thread, replies in enumerate(together(run)):
        assert replies == [[own.name, f"{thread}.{each}"] for each in range(EACH)]


def test_commands_ready_at_the_same_moment_share_round_trips(own: OwnIntegration) -> None:
    trips, script = SharedTrips(own.redis), echo(own)
    trips.run(script, [own.name], [""])  # Redis has the script, and there is a connection
    before = reads(own)

    def run(thread: int) -> None:
        for each in range(EACH):
            trips.run(script, [own.name], [f"{thread}.{each}"])

    together(run)
    assert reads(own) - before < THREADS * EACH / 3


def test_transaction_replies_with_the_reply_to_each_command(own: OwnIntegration) -> None:
    trips = SharedTrips(own.redis)

    def run(thread: int) -> list[Any]:
        return trips.transaction([("SET", own.queue + str(thread), thread), ("INCR", own.queue)])

    replies = together(run)
    assert all(ok in (True, "OK") for ok, _ in replies)
    assert sorted(count for _, count in replies) == list(range(1, THREADS + 1))


def test_refused_command_is_an_error_for_its_own_thread_alone(own: OwnIntegration) -> None:
    trips, script = SharedTrips(own.redis), echo(own)
    refused = own.redis.register_script("return redis.error_reply('ERR not this one')")

    def run(thread: int) -> Any:
        try:
            return trips.run(refused if thread % 4 == 0 else script, [own.name], [str(thread)])
        except redis.ResponseError as error:
            return str(error)

    for thread, reply in enumerate(together(run)):
        assert reply == ("not this one" if thread % 4 == 0 else [own.name, str(thread)])


def test_script_that_redis_has_forgotten_is_run_all_the_same(own: OwnIntegration) -> None:
    trips, script = SharedTrips(own.redis), echo(own)
    own.redis.script_flush()
    assert together(lambda each: trips.run(script, [own.name], [str(each)])) == [
        [own.name, str(each)] for each in range(THREADS)
    ]


def test_round_trip_that_fails_costs_only_those_that_waited_for_it(
    server: RedisServer, own: OwnIntegration
) -> None:
    with Relay(server.port) as relay:
        trips = SharedTrips(connect(relay.url, socket_timeout=0.3))
        script = echo(own)
        trips.run(script, [own.name], [""])
        relay.silence(new=True)

        def run(thread: int) -> bool:
            try:
                return bool(trips.run(script, [own.name], [str(thread)]))
            except redis.RedisError:
                return False

        assert not any(together(run))
        relay.resume()
        assert all(together(run))


def test_replies_lost_once_are_asked_for_again(server: RedisServer, own: OwnIntegration) -> None:
    with Relay(server.port) as relay:
        trips, script = SharedTrips(connect(relay.url)), echo(own)
        trips.run(script, [own.name], [""])
        relay.lose_replies(1)
        assert together(lambda each: trips.run(script, [own.name], [str(each)])) == [
            [own.name, str(each)] for each in range(THREADS)
        ]
