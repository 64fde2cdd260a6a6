"""Queue depths for Flower's Broker tab, read with this program's own Redis client.

Flower's own reader of the broker URL supports only one Sentinel, no database behind it, and none of
the options of REDIS_URL.
"""

import asyncio
from typing import Any

import redis
from flower import views
from flower.utils import broker

from worker.redis_client.address import RedisAddress
from worker.redis_client.client import client_for

# Seconds that a page may wait.
TIMEOUTS: dict[str, Any] = {"socket_timeout": 2, "socket_connect_timeout": 2}


class QueueDepths:
    """A reader of queue depths with the interface of Flower's own readers."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address

    async def queues(self, names: list[str]) -> list[dict[str, Any]]:
        """Return the depth of each queue that the Redis user may read.

        Returns:
            For each queue a dict with its `name` and its number of `messages`.

        Raises:
            redis.RedisError: Redis cannot be reached, or refuses for another reason than rights.
        """
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
        # Workers of other integrations answer Flower, too, but its Redis user may lack the right to
        # read their queues.
        return [
            {"name": name, "messages": depth}
            for name, depth in zip(names, depths, strict=True)
            if not isinstance(depth, redis.RedisError)
        ]


class Broker(broker.Broker):
    """The class that Flower calls for a reader of queue depths.

    It returns a `QueueDepths` for this program's application, Flower's own reader for any other.
    """

    def __new__(cls, broker_url: str, *args: Any, **options: Any) -> Any:
        """Return the reader for the application with these options."""
        address = (options.get("broker_options") or {}).get("address")
        return QueueDepths(address) if address else broker.Broker(broker_url, *args, **options)


def install() -> None:
    """Let Flower read queue depths with `QueueDepths`. A second call changes nothing."""
    views.Broker = Broker
