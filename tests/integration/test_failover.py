"""A master that dies, or is demoted, while events come in: the worker goes on with the new one."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import gt
from pathlib import Path
from threading import Event, Thread
from urllib.parse import quote

import pytest
import redis

from tests.integration.bench import IMPATIENT, identified, until
from tests.integration.modes import Mode, each_mode
from tests.integration.redis_kinds import LOGIN, Parts
from tests.redis_servers import SENTINEL_PASSWORD, Watched, watched
from tests.sandboxes import RunningSandbox
from tests.servers import free_port
from worker.redis_client.client import connect
from worker.redis_client.keys import Keys

BEFORE, AFTER = 60, 60  # events that a replica has confirmed, before the master goes and afterwards
REPLICATED_WITHIN_MS = 300
NAMED = ("-m", "worker", "worker")


class Load:
    """Events that come in without end; `confirmed` are those that a replica, too, had when their producer went on."""

    def __init__(self, url: str, queue: str, mode: Mode) -> None:
        self.confirmed: list[str] = []
        self.failed = 0
        self._url, self._queue, self._mode = url, queue, mode
        self._ends = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(30)

    def _run(self) -> None:
        number = 0
        while not self._ends.is_set():
            number += 1
            try:
                self._send([f"event{number}-{each}@example.com" for each in range(self._together)])
            except redis.RedisError:
                self.failed += 1
            time.sleep(0.01)

    @property
    def _together(self) -> int:
        """How many events are put at once."""
        return 5 if self._mode.bundled else 1

    def _send(self, addresses: list[str]) -> None:
        with connect(self._url) as client, client.client() as one_connection:
            self._mode.put(one_connection, self._queue, *map(identified, addresses))
            if one_connection.wait(1, REPLICATED_WITHIN_MS) >= 1:
                self.confirmed += addresses


def killed(on: Watched) -> None:
    on.master().kill()


def demoted(on: Watched) -> None:
    with on.sentinels[1].client(password=SENTINEL_PASSWORD) as sentinel:
        sentinel.sentinel_failover(on.name)


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Watched]:
    started = watched(
        tmp_path / "redis", "signal", replicas=2, sentinels=3, users=True, own_password=True
    )
    try:
        yield started.ready()
    finally:
        started.stop()


@each_mode
@pytest.mark.parametrize("goes", [killed, demoted])
def test_failover_under_load_loses_no_replicated_event_and_no_worker(
    goes: Callable[[Watched], None],
    on: Watched,
    running_sandbox: RunningSandbox,
    tmp_path: Path,
    mode: Mode,
) -> None:
    running_sandbox.control.reset()
    hosts = ";".join(f"127.0.0.1:{port}" for port in on.ports)
    url = f"sentinel://{LOGIN}{hosts}/3?master_name=signal&sentinel_password={quote(SENTINEL_PASSWORD)}"
    parts = Parts(
        url, "failover", running_sandbox, tmp_path, settings={**IMPATIENT, **mode.settings}
    )
    further = replace(parts, folder=tmp_path / "further", metrics_port=free_port())
    further.folder.mkdir()
    old = on.master()
    with (
        parts.worker(*NAMED, "--name=one@%h") as one,
        further.worker(*NAMED, "--name=another@%h") as another,
    ):
        workers = (one.ready(), another.ready())
        with Load(url, parts.queue, mode) as load:
            until(lambda: len(load.confirmed) >= BEFORE, "events before")
            goes(on)
            until(lambda: on.master().port != old.port, "a new master")
            so_far, before = len(load.confirmed), [each.deliveries() for each in workers]
            until(lambda: len(load.confirmed) >= so_far + AFTER, "events afterwards", 60)
            until(
                lambda: all(map(gt, (each.deliveries() for each in workers), before)),
                "deliveries by every worker",
                60,
            )
        until(lambda: left_on_the_new_master(parts) == (0, 0), "an end of all events", 60)
        assert set(load.confirmed) <= running_sandbox.control.members().keys()
        for worker in workers:
            assert worker.process.poll() is None
            assert "Traceback" not in worker.printed()


def left_on_the_new_master(parts: Parts) -> tuple[int, int] | None:
    """How many messages are queued or delayed, and how many taken and not acknowledged.

    None if no master answers: on a busy machine the sentinels may take the new one for dead, too.
    """
    its = Keys(parts.integration)
    try:
        with connect(parts.url) as client:
            waiting = int(client.llen(parts.queue)) + int(client.zcard(its.delayed))
            return waiting, int(client.hlen(its.in_flight))
    except redis.ConnectionError:
        return None
