"""Threads share round trips to a real server, and each gets its own reply or error."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.integrations import OwnIntegration
from tests.relays import Relay
from tests.servers import RedisServer, eventually
from worker.redis_client.client import connect
from worker.redis_client.shared_trips import MOST_KEYS, SharedTrips

if TYPE_CHECKING:
    from redis.commands.core import Script

THREADS, EACH = 16, 100
# Returns its argument after a while in which other threads' commands gather.
SCRIPT: Any = SimpleNamespace(sha="a digest")  # for a client that is no real one
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


def test_command_that_cannot_be_sent_fails_alone(own: OwnIntegration) -> None:
    trips, script = SharedTrips(own.redis), echo(own)

    def run(thread: int) -> Any:
        try:
            return trips.run(script, [own.name], [[] if thread % 4 == 0 else str(thread)])
        except redis.DataError:
            return "not sent"

    for thread, reply in enumerate(together(run)):
        assert reply == ("not sent" if thread % 4 == 0 else [own.name, str(thread)])


def test_error_within_a_transaction_is_raised(own: OwnIntegration) -> None:
    own.redis.set(own.queue, "text")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        SharedTrips(own.redis).transaction([("ZREM", own.queue, "x")])


class Interrupted(BaseException):
    """The thread was interrupted, as by Ctrl-C."""


class SlowClient:
    """A client whose first command lasts until `go_on` is set, and may then interrupt its thread."""

    def __init__(self, *, interrupts: bool = False) -> None:
        self.began, self.go_on, self.interrupts = threading.Event(), threading.Event(), interrupts

    def execute_command(self, *command: Any) -> Any:
        if not self.began.is_set():
            self.began.set()
            assert self.go_on.wait(10)
            if self.interrupts:
                raise Interrupted
        return command[-1]

    def pipeline(self, **_options: Any) -> Any:
        client = self

        class Pipeline:
            def __init__(self) -> None:
                self.commands: list[Any] = []

            def __enter__(self) -> "Pipeline":
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def execute_command(self, *command: Any) -> None:
                self.commands.append(command)

            def execute(self, **_options: Any) -> list[Any]:
                return [client.execute_command(*each) for each in self.commands]

        return Pipeline()


def run_into(ends: list[Any], trips: SharedTrips, number: int) -> threading.Thread:
    """Start a thread that appends to `ends` what `number` came to."""

    def run() -> None:
        try:
            ends.append(trips.run(SCRIPT, [], [number]))
        except (redis.RedisError, Interrupted) as error:
            ends.append(type(error).__name__)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def wait_for_waiting(trips: SharedTrips, calls: int) -> None:
    eventually(lambda: len(trips._waiting) == calls, 10, f"{calls} waiting calls")


def test_thread_interrupted_while_it_waits_leaves_no_other_waiting() -> None:
    client: Any = SlowClient()
    trips, ends, main = SharedTrips(client), list[Any](), threading.get_ident()
    threads = [run_into(ends, trips, 0)]
    assert client.began.wait(10)

    def interrupt() -> None:
        wait_for_waiting(trips, 1)
        threads.append(run_into(ends, trips, 2))
        wait_for_waiting(trips, 2)
        signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            trips.run(SCRIPT, [], [1])
    finally:
        signal.signal(signal.SIGINT, before)
    interrupter.join(10)
    client.go_on.set()
    for thread in threads:
        thread.join(10)
    assert sorted(ends) == [0, 2]
    assert trips.run(SCRIPT, [], ["after"]) == "after"


def test_interrupted_round_trip_is_an_outage_for_the_other_threads() -> None:
    client: Any = SlowClient(interrupts=True)
    trips, ends = SharedTrips(client), list[Any]()
    threads = [run_into(ends, trips, 0)]
    assert client.began.wait(10)
    threads.append(run_into(ends, trips, 1))
    wait_for_waiting(trips, 1)
    client.go_on.set()
    for thread in threads:
        thread.join(10)
    assert sorted(ends) == ["ConnectionError", "Interrupted"]
    assert trips.run(SCRIPT, [], ["after"]) == "after"


def test_replies_lost_once_are_asked_for_again(server: RedisServer, own: OwnIntegration) -> None:
    with Relay(server.port) as relay:
        trips, script = SharedTrips(connect(relay.url)), echo(own)
        trips.run(script, [own.name], [""])
        relay.lose_replies(1)
        assert together(lambda each: trips.run(script, [own.name], [str(each)])) == [
            [own.name, str(each)] for each in range(THREADS)
        ]


def test_script_with_many_keys_holds_up_nobody(server: RedisServer, own: OwnIntegration) -> None:
    with Relay(server.port) as relay:
        client = connect(relay.url, socket_timeout=60)
        trips, script = SharedTrips(client), client.register_script("return #KEYS")
        keys = [f"{own.name}.{each}" for each in range(MOST_KEYS + 1)]
        replies: list[Any] = []
        assert trips.run(script, keys, []) == len(keys)
        relay.silence()
        large = threading.Thread(target=lambda: replies.append(trips.run(script, keys, [])))
        large.start()
        pool: Any = client.connection_pool
        eventually(lambda: pool._in_use_connections, what="the command of the large script")
        assert trips.run(script, keys[:1], []) == 1
        assert replies == []
        relay.cut()
        large.join(20)
        assert replies == [len(keys)]
