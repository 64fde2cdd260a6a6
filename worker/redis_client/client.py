"""Clients for the Redis that REDIS_URL names: one server, TLS, or the master that sentinels know."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

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

# Seconds. A Redis that is gone without a word is noticed within `socket_timeout`, and asked anew.
TIMEOUTS: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "health_check_interval": 25,
}
# A sentinel that is gone must not hold up the next one for long. Each is tried once.
SENTINEL_TIMEOUTS: dict[str, Any] = {
    "socket_timeout": 2,
    "socket_connect_timeout": 2,
    "retry": Retry(NoBackoff(), 0),
}
MOST_CONNECTIONS = (
    1100  # one a thread, and WORKER_CONCURRENCY is at most 1000; redis-py's own limit is 100
)

logger = logging.getLogger("signal_mailgun.redis")


class KeepsBytes(HiredisRespSerializer):
    """Write commands whose texts may hold bytes that are not UTF-8, as `text_of` has them; redis-py's own refuses those."""

    def pack(self, *args: Any) -> Any:
        """Return the command on the wire."""
        try:
            return super().pack(*args)
        except UnicodeEncodeError:
            encoded: list[Any] = [
                bytes_of(each) if isinstance(each, str) else each for each in args
            ]
            return super().pack(*encoded)


# Whatever other programs put into Redis is read, and written as it was.
BYTES: dict[str, Any] = {"encoding_errors": "surrogateescape", "command_packer": KeepsBytes()}


def connect(url: str, **options: Any) -> "redis.Redis":
    """Return a pooled client for the address `url`; it connects at its first command, and texts come back as `str`.

    `options` are redis-py's, time-outs in seconds; those that `url` carries win. Raises `RedisAddressError`.
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
    """Return the connections to `address`, made the same way for every part of the program.

    `adapted` makes the class of connections one's own; `options` are redis-py's, and those that `address` carries win.
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
    """Return the address for people: without user name, password or options. Raises `RedisAddressError`."""
    return redis_address(url).place


def tls_options(tls: Tls | None) -> dict[str, Any]:
    """Return `tls` in redis-py's terms; nothing where there is no TLS."""
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
    if address.sentinels:
        return SentinelManagedSSLConnection if address.tls else SentinelManagedConnection
    return redis.SSLConnection if address.tls else redis.Connection


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
            "Redis at %s is not verified (ssl_cert_reqs=none): whoever lies between can read and write",
            place,
        )
    elif not checks_name:
        logger.warning("the name of Redis at %s is not verified (ssl_check_hostname=false)", place)
