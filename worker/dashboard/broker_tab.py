"""The queue depths on Flower's Broker tab, read through the same connections as everywhere else.

Flower's own reading of the broker's URL knows one sentinel, no database behind it, and no option of REDIS_URL.
"""

import asyncio
from typing import Any

import redis
from flower import views
from flower.utils import broker

from worker.redis_client.address import RedisAddress
from worker.redis_client.client import client_for

TIMEOUTS: dict[str, Any] = {
    "socket_timeout": 2,
    "socket_connect_timeout": 2,
}  # seconds that a page may wait


class QueueDepths:
    """How many messages each queue holds, in the terms of Flower's own readers."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address

    async def queues(self, names: list[str]) -> list[dict[str, Any]]:
        """Return name and depth of each queue that may be read. Raises `redis.RedisError`."""
        return await asyncio.to_thread(self._depths, list(names))

    def _depths(self, names: list[str]) -> list[dict[str, Any]]:
        with (
            client_for(self._address, **TIMEOUTS) as client,
            client.pipeline(transaction=False) as at_once,
        ):
            for name in names:
                at_once.llen(name)
            depths = at_once.execute(raise_on_error=False)
        refused = next((each for each in depths if isinstance(each, redis.RedisError)), None)
        if refused and not isinstance(refused, redis.exceptions.NoPermissionError):
            raise refused
        # Of other integrations' queues, whose workers answer Flower, too, its user may know nothing.
        return [
            {"name": name, "messages": depth}
            for name, depth in zip(names, depths, strict=True)
            if not isinstance(depth, redis.RedisError)
        ]


class Broker(broker.Broker):
    """What Flower asks for queue depths: `QueueDepths` for this program's application, its own reader for any other."""

    def __new__(cls, broker_url: str, *args: Any, **options: Any) -> Any:
        """Return the reader."""
        address = (options.get("broker_options") or {}).get("address")
        return QueueDepths(address) if address else broker.Broker(broker_url, *args, **options)


def install() -> None:
    """Let Flower read queue depths with `QueueDepths`; a second time changes nothing."""
    views.Broker = Broker
