"""Greenlets of one thread take turns: none waits because another one does."""

import _thread
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from tests.greenlets import in_greenlet, no_thread
from tests.integrations import OwnIntegration
from tests.servers import RedisServer, eventually
from worker.greenlet_pool import Pool
from worker.greenlets import (
    Latch,
    current_hub,
    hub,
    in_thread,
    sleep,
    wait_to_read,
    wait_to_write,
    when_ready,
)
from worker.redis_client.client import connect
from worker.redis_client.shared_trips import SharedTrips


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets."""
    with ExitStack() as closing:
        here, there = (closing.enter_context(each) for each in socket.socketpair())
        yield here, there


@pytest.mark.parametrize("called", [in_greenlet, lambda act: act()], ids=["greenlet", "thread"])
class TestWaiting:
    """The same functions in a greenlet and in any other thread."""

    def test_bytes_that_came_end_the_wait(
        self, called: Any, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        here, there = pair
        threading.Timer(0.05, partial(there.send, b"x")).start()
        assert called(lambda: wait_to_read(here, 20)) is True
        assert called(lambda: wait_to_write(here, 20)) is True

    def test_wait_for_bytes_that_never_come_ends_in_time(
        self, called: Any, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        began = time.monotonic()
        assert called(lambda: wait_to_read(pair[0], 0.05)) is False
        assert time.monotonic() - began >= 0.05

    def test_what_came_in_time_counts_although_one_looks_late(
        self, called: Any, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        here, there = pair
        here.settimeout(0)
        ends = time.monotonic() + 0.2

        def receive() -> bytes:
            return when_ready(here, partial(here.recv, 1), late(wait_to_read), ends)

        def late(wait: Callable[..., bool]) -> Callable[..., bool]:
            def waits(sock: socket.socket, seconds: float | None) -> bool:
                ready = wait(sock, seconds)
                time.sleep(0.3)
                return ready

            return waits

        threading.Timer(0.05, partial(there.send, b"xy")).start()
        assert called(receive) == b"x"
        assert called(receive) == b"y"
        with pytest.raises(TimeoutError):
            called(receive)

    def test_part_that_came_late_ends_no_later_than_the_deadline(
        self, called: Any, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        here, there = pair
        received: list[bytes] = []

        def receive_more() -> bytes:
            received.append(here.recv(1))
            if len(received) < 1_000_000:
                there.send(b"x")
            raise BlockingIOError

        there.send(b"x")
        with pytest.raises(TimeoutError):
            called(lambda: when_ready(here, receive_more, wait_to_read, time.monotonic() + 0.05))
        assert len(received) > 1

    def test_wait_for_a_closed_socket_fails_and_wakes_nobody_later(
        self, called: Any, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        pair[0].close()

        def wait() -> float:
            with pytest.raises((ValueError, OSError)):
                wait_to_read(pair[0], 0.05)
            began = time.monotonic()
            sleep(0.2)
            return time.monotonic() - began

        assert called(wait) >= 0.2

    def test_sleep_takes_its_time(self, called: Any) -> None:
        began = time.monotonic()
        called(lambda: sleep(0.05))
        assert time.monotonic() - began >= 0.05

    def test_what_a_thread_returns_and_raises_comes_back(self, called: Any) -> None:
        assert called(lambda: in_thread(lambda: 5)) == 5
        with pytest.raises(ZeroDivisionError):
            called(lambda: in_thread(lambda: 1 / 0))

    def test_latch_that_another_thread_sets_ends_the_wait(self, called: Any) -> None:
        def wait() -> bool:
            latch = Latch()
            threading.Timer(0.05, latch.set).start()
            latch.wait()
            return True

        assert called(wait)

    def test_latch_that_was_set_before_needs_no_wait(self, called: Any) -> None:
        def wait() -> bool:
            latch = Latch()
            latch.set()
            latch.wait()
            return True

        assert called(wait)


@pytest.mark.parametrize(
    "hang",
    [
        lambda sock, _: wait_to_read(sock, None),
        lambda sock, _: in_thread(partial(sock.recv, 1)),
        lambda _, latch: latch.wait(),
    ],
    ids=["socket", "thread", "latch"],
)
def test_greenlet_that_waits_lets_others_go_on(
    hang: Callable[[socket.socket, Latch], object], pair: tuple[socket.socket, socket.socket]
) -> None:
    here, there = pair
    latches: list[Latch] = []
    ended = threading.Event()

    def wait() -> None:
        latches.append(Latch())
        hang(here, latches[0])
        ended.set()

    hub().spawn(wait)
    assert in_greenlet(lambda: sum(range(5))) == 10
    assert not ended.is_set()
    there.send(b"x")
    latches[0].set()
    assert ended.wait(20)


def test_greenlets_know_their_hub_and_other_threads_have_none() -> None:
    assert in_greenlet(current_hub) is hub()
    assert current_hub() is None
    assert in_greenlet(lambda: in_thread(current_hub)) is None


def test_greenlets_share_round_trips(server: RedisServer, own: OwnIntegration) -> None:
    trips = SharedTrips(connect(server.url))
    script = own.redis.register_script("return {KEYS[1], ARGV[1]}")
    trips.run(script, [own.name], [""])
    before = int(own.redis.info("stats")["total_reads_processed"])

    def run(number: int) -> Any:
        return [trips.run(script, [own.name], [f"{number}.{each}"]) for each in range(50)]

    for number, replies in enumerate(Pool(16).map(run, range(16))):
        assert replies == [[own.name, f"{number}.{each}"] for each in range(50)]
    assert int(own.redis.info("stats")["total_reads_processed"]) - before < 16 * 50 / 3


# Threads


def test_each_greenlet_gets_a_thread_at_once() -> None:
    begun = threading.Barrier(200)
    waits = partial(in_thread, partial(begun.wait, 20))
    assert sorted(Pool(200).map(lambda _: waits(), range(200))) == list(range(200))


def test_no_thread_left_is_an_error_and_nothing_is_called_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[int] = []

    def attempt() -> None:
        with pytest.raises(OSError, match="no thread left"):
            in_thread(lambda: called.append(1))

    in_greenlet(current_hub)  # the hub has its thread
    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", no_thread)
        in_greenlet(attempt)
    assert in_greenlet(lambda: in_thread(lambda: 5)) == 5
    assert called == []


# Pools


def test_pool_runs_no_more_calls_at_once_than_it_may() -> None:
    under_way, most = 0, 0

    def call(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        sleep(0.01)
        under_way -= 1
        return number

    pool = Pool(3)
    assert pool.map(call, range(10)) == list(range(10))
    assert most == 3
    assert in_greenlet(lambda: pool.map(call, range(10))) == list(range(10))
    assert pool.map(call, []) == []


def test_error_of_a_call_comes_once_all_calls_have_ended() -> None:
    ended = []

    def call(number: int) -> None:
        sleep(0.01 * number)
        ended.append(number)
        if number < 2:
            raise LookupError(str(number))

    with pytest.raises(LookupError, match="0"):
        Pool(4).map(call, range(4))
    assert ended == [0, 1, 2, 3]
    assert Pool(4).map(str, [1]) == ["1"]


@pytest.mark.parametrize("error", [LookupError, SystemExit, KeyboardInterrupt])
def test_bug_in_a_greenlet_is_logged_without_its_text(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error("jane@example.com")

    with caplog.at_level(logging.ERROR):
        hub().spawn(fail)
        assert eventually(lambda: caplog.records, 20)
    assert "a bug: a greenlet failed" in caplog.text
    assert "jane" not in caplog.text
    assert in_greenlet(lambda: True)
