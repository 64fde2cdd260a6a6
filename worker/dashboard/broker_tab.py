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
from worker.redis_client.keys import Keys

# Seconds that a page may wait.
TIMEOUTS: dict[str, Any] = {"socket_timeout": 2, "socket_connect_timeout": 2}


class QueueDepths:
    """A reader of queue depths with the interface of Flower's own readers."""

    def __init__(self, address: RedisAddress, keys: Keys) -> None:
        """Read the Redis at `address`: always also the dead letters and delay queue of `keys`."""
        self._address, self._keys = address, keys

    async def queues(self, names: list[str]) -> list[dict[str, Any]]:
        """Return the depth of each queue that the Redis user may read.

        Flower knows the queues that workers have named, and none if it was started before them.

        Returns:
            For each queue a dict with its `name` and its number of `messages`.

        Raises:
            redis.RedisError: Redis cannot be reached, or refuses for another reason than rights.
        """
        return await asyncio.to_thread(self._depths, list(names))

    def _depths(self, names: list[str]) -> list[dict[str, Any]]:
        delayed = self._keys.delayed
        if self._keys.dead_letters not in names:
            names = sorted([*names, self._keys.dead_letters])
        with (
            client_for(self._address, **TIMEOUTS) as client,
            client.pipeline(transaction=False) as at_once,
        ):
            for name in names:
                at_once.llen(name)
            at_once.zcard(delayed)
            depths = at_once.execute(raise_on_error=False)
        refused = next((each for each in depths if isinstance(each, redis.RedisError)), None)
        if refused and not isinstance(refused, redis.exceptions.NoPermissionError):
            raise refused
        # Workers of other integrations answer Flower, too, but its Redis user may lack the right to
        # read their queues.
        return [
            {"name": name, "messages": depth}
            for name, depth in zip([*names, delayed], depths, strict=True)
            if not isinstance(depth, redis.RedisError)
        ]


class Broker(broker.Broker):
    """The class that Flower calls for a reader of queue depths.

    It returns a `QueueDepths` for this program's application, Flower's own reader for any other.
    """

    def __new__(cls, broker_url: str, *args: Any, **options: Any) -> Any:
        """Return the reader for the application with these options."""
        given = options.get("broker_options") or {}
        if not given.get("address"):
            return broker.Broker(broker_url, *args, **options)
        return QueueDepths(given["address"], given["signal_keys"])


def install() -> None:
    """Let Flower read queue depths with `QueueDepths`. A second call changes nothing."""
    views.Broker = Broker
