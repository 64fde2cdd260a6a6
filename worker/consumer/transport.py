"""Kombu transport of this program: atomic fetches, and connections to every kind of Redis address.

`atomic_fetch.py` fetches the messages.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

import redis
from kombu.transport import redis as kombu_redis
from kombu.utils.encoding import bytes_to_str
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.consumer.atomic_fetch import AtomicFetchMixin
from worker.consumer.broadcasts import CHANNEL, command_in
from worker.consumer.switched_off import PURGE, SwitchedOff
from worker.redis_client.address import RedisAddress
from worker.redis_client.client import TIMEOUTS, pool_for
from worker.redis_client.keys import NEVER

logger = logging.getLogger("signal_mailgun.worker")

READ_ONLY_PAUSE_SECONDS = 2.0  # between two tries to find the master; Celery's own first pause

# Options of the connections over which a worker waits for messages; times in seconds. Options in
# REDIS_URL override them.
CONNECTION: dict[str, Any] = {**TIMEOUTS, "socket_keepalive": True}


class Channel(AtomicFetchMixin, kombu_redis.Channel):
    """A channel whose connections are made by `worker.redis_client`, as all others are.

    Kombu's own reading of the broker's URL is not used.

    Attributes:
        address: Where Redis is; None in another Celery application of this process.
    """

    from_transport_options = (*AtomicFetchMixin.from_transport_options, "address")
    address: RedisAddress | None = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Yield `client`, or a client of the channel's pool if it is None.

        Raises:
            redis.ConnectionError: The channel is closed. Kombu's own method raises AttributeError
                here, which would end the worker if a channel is closed twice while Redis is away,
                or a message is put back after the connection was lost. Redis has the channel's
                messages as unacknowledged, so they come back.
        """
        if not client and (self.connection is None or self.connection.client is None):
            raise redis.ConnectionError("the channel is closed")
        with super().conn_or_acquire(client) as connected:
            yield connected

    def queue_purge(self, queue: str, **_: Any) -> int:
        """Raise `SwitchedOff`: a purge would erase events."""
        raise SwitchedOff(f"purging {queue} is {PURGE}")

    def _handle_message(self, client: Any, response: Any) -> dict[str, Any]:
        """Return what was published on a channel of Redis.

        On the channel of commands to workers, data that is no command is logged and dropped.
        """
        published: dict[str, Any] = super()._handle_message(client, response)
        channel, data = bytes_to_str(published["channel"]), published["data"]
        if (
            channel.endswith(f".{CHANNEL}")
            and isinstance(data, bytes | str)
            and not command_in(data)
        ):
            logger.warning(
                "a message on the remote control's channel was no command of Celery's: "
                "it was dropped"
            )
            published["data"] = None
        return published

    def _get_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002  kombu's
        if self.address is None:
            return super()._get_pool(asynchronous)
        self.keyprefix_fanout = kombu_redis.Channel.keyprefix_fanout.format(db=self.address.db)
        if not asynchronous:
            pool: Any = pool_for(self.address, max_connections=self.max_connections, **CONNECTION)
            # Kombu closes it with the channel.
            self._sentinel_manager = getattr(pool, "sentinel_manager", None)
            return pool
        # No retries: on a new connection, which has no command, a read would wait for ever. So the
        # worker's loop must learn that the connection has ended.
        once = Retry(NoBackoff(), 0)
        pool = pool_for(
            self.address,
            self._connection_class,
            max_connections=self.max_connections,
            retry=once,
            **CONNECTION,
        )
        self._async_sentinel_manager = getattr(pool, "sentinel_manager", None)
        # Redis itself waits for `brpop_timeout` before it replies.
        pool.connection_kwargs["socket_timeout"] += self.brpop_timeout
        return pool

    def _connection_class(self, kind: type[Any]) -> type[Any]:
        channel = self

        class Watched(kind):
            """A connection that tells the worker's loop when it is disconnected."""

            def disconnect(self, *args: Any, **kwargs: Any) -> None:
                super().disconnect(*args, **kwargs)
                if channel._registered:
                    channel._on_connection_disconnect(self)

        return Watched


class Transport(kombu_redis.Transport):
    """The transport, for every kind of Redis address."""

    Channel = Channel

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Register with a worker's loop.

        Raises:
            redis.RedisError: Redis takes no writes; Celery logs why.
        """
        try:
            with self.channels[0].conn_or_acquire() as client:
                client.delete(NEVER)
        except redis.ReadOnlyError:
            # A connection succeeds, so Celery would try again at once.
            sleep(READ_ONLY_PAUSE_SECONDS)
            raise
        super().register_with_event_loop(connection, loop)
