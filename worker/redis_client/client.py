"""Clients for the Redis that REDIS_URL names: one server, with or without TLS, or Sentinel."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.retry import Retry
from redis.sentinel import (
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from worker.redis_client.address import Login, RedisAddress, Sentinels, Server, Tls, redis_address
from worker.redis_client.raw_text import bytes_of
from worker.redis_client.reconnect import ReconnectRetry
from worker.redis_client.sentinels import AskedSentinels
from worker.redis_client.taking_turns import taking_turns

# Seconds. A Redis that stops answering is noticed within `socket_timeout`; then a new connection is
# tried.
TIMEOUTS: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "health_check_interval": 25,
}
# Shorter, so that a sentinel that is gone delays the next one little. Each is tried once.
SENTINEL_TIMEOUTS: dict[str, Any] = {
    "socket_timeout": 2,
    "socket_connect_timeout": 2,
    "retry": Retry(NoBackoff(), 0),
}
# More than a worker has batches under way (consumer/batch_consumer.py). The default of redis-py is
# 100.
MOST_CONNECTIONS = 1100

logger = logging.getLogger("signal_mailgun.redis")


class KeepsBytes(HiredisRespSerializer):
    """A serializer of commands whose texts may hold bytes that are not UTF-8, as `text_of` returns.

    The serializer of redis-py refuses these, and looks at each of a script's hundreds of arguments
    before it packs them.
    """

    def pack(self, *args: Any) -> Any:
        """Return the command in the form in which it is sent."""
        try:
            return [hiredis.pack_command(args)] if args[0] == "EVALSHA" else super().pack(*args)
        except UnicodeEncodeError:
            encoded: list[Any] = [
                bytes_of(each) if isinstance(each, str) else each for each in args
            ]
            return super().pack(*encoded)
        except TypeError:
            return super().pack(*args)  # which raises what redis-py raises for it


# Bytes that are not UTF-8, which other programs wrote, are read and written back unchanged.
BYTES: dict[str, Any] = {"encoding_errors": "surrogateescape", "command_packer": KeepsBytes()}


def connect(url: str, **options: Any) -> "redis.Redis":
    """Return a pooled client for an address, which connects at its first command.

    Its replies hold `str`, not `bytes`. The options are redis-py's, time-outs in seconds; those in
    `url` take precedence.

    Raises:
        RedisAddressError: `url` cannot be read.
    """
    return client_for(redis_address(url), **options)


def client_for(address: RedisAddress, **options: Any) -> "redis.Redis":
    """Return a pooled client for `address`, as `connect` does."""
    options = {
        **TIMEOUTS,
        "max_connections": MOST_CONNECTIONS,
        "decode_responses": True,
        **BYTES,
        **options,
    }
    return redis.Redis.from_pool(pool_for(address, **options))


def pool_for(
    address: RedisAddress,
    adapted: Callable[[type[Any]], type[Any]] = lambda kind: kind,
    **options: Any,
) -> "redis.ConnectionPool":
    """Return the connection pool for `address`, made in the same way for every part of the program.

    `adapted` returns the class of connections to use, derived from the class that it gets. The
    options are redis-py's; those in `address` take precedence.
    """
    if address.tls:
        _warn_if_unverified(address.place, address.tls.verifies, address.tls.checks_name)
    retry = ReconnectRetry()
    options = {"retry": retry, **options} | {
        "db": address.db,
        **_login(address.login),
        **tls_options(address.tls),
        **address.connection,
        "connection_class": adapted(_connection_class(address)),
    }
    retry.pool = _pool(address, options)
    return retry.pool


def _pool(address: RedisAddress, options: dict[str, Any]) -> "redis.ConnectionPool":
    if address.sentinels:
        asked = _asked(address.servers, address.sentinels, address.connection)
        return SentinelConnectionPool(address.sentinels.master_name, asked, **options)  # type: ignore[no-untyped-call]
    return redis.ConnectionPool(
        host=address.servers[0].host, port=address.servers[0].port, **options
    )


def where(url: str) -> str:
    """Return the address to be shown: without user name, password and options.

    Raises:
        RedisAddressError: `url` cannot be read.
    """
    return redis_address(url).place


def tls_options(tls: Tls | None) -> dict[str, Any]:
    """Return `tls` as options of redis-py, empty for None."""
    if tls is None:
        return {}
    return {
        "ssl_cert_reqs": "required" if tls.verifies else "none",
        "ssl_check_hostname": tls.checks_name,
        "ssl_ca_certs": tls.ca_certs,
        "ssl_certfile": tls.certfile,
        "ssl_keyfile": tls.keyfile,
        "ssl_password": tls.password,
    }


def _connection_class(address: RedisAddress) -> type[Any]:
    kinds: tuple[type[Any], type[Any]] = (
        (SentinelManagedConnection, SentinelManagedSSLConnection)
        if address.sentinels
        else (redis.Connection, redis.SSLConnection)
    )
    return taking_turns(kinds[address.tls is not None])


def _login(login: Login) -> dict[str, Any]:
    return {"username": login.username, "password": login.password}


def _asked(
    servers: tuple[Server, ...], sentinels: Sentinels, connection: dict[str, Any]
) -> AskedSentinels:
    how = {
        **SENTINEL_TIMEOUTS,
        **connection,
        **_login(sentinels.login),
        **tls_options(sentinels.tls),
    }
    return AskedSentinels(  # type: ignore[no-untyped-call]
        [(each.host, each.port) for each in servers],
        sentinel_kwargs={**how, "ssl": sentinels.tls is not None},
    )


@cache
def _warn_if_unverified(place: str, verifies: bool, checks_name: bool) -> None:  # noqa: FBT001  once a process for each
    if not verifies:
        logger.warning(
            "Redis at %s is not verified (ssl_cert_reqs=none): "
            "a machine on the way to it can read and write",
            place,
        )
    elif not checks_name:
        logger.warning("the name of Redis at %s is not verified (ssl_check_hostname=false)", place)
