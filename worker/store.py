"""A client for the Redis that REDIS_URL names: one server, TLS, or Sentinel."""

from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.sentinel import Sentinel

DEFAULT_MASTER = "mymaster"  # the name in Redis's own Sentinel documentation
TIMEOUTS: dict[str, Any] = {"socket_timeout": 10, "socket_connect_timeout": 5, "health_check_interval": 25}
MOST_CONNECTIONS = 1100  # one a thread, and WORKER_CONCURRENCY is at most 1000; redis-py's own limit is 100


def connect(url: str, **options: Any) -> "redis.Redis":
    """A pooled client with time-outs in seconds; texts come back as `str`. Connects at its first command.

    `sentinel://:password@host:26379;sentinel://host2:26379/0?master_name=mymaster` asks Sentinel for the master.
    """
    options = {**TIMEOUTS, "max_connections": MOST_CONNECTIONS, "decode_responses": True, **options}
    if not url.startswith("sentinel://"):
        return redis.Redis.from_url(url, **options)
    parts = [urlsplit(each) for each in url.split(";")]
    nodes = [(part.hostname, part.port or 26379) for part in parts]
    sentinel: Any = Sentinel(nodes, socket_timeout=TIMEOUTS["socket_connect_timeout"])  # type: ignore[no-untyped-call]
    options |= {"db": int(parts[-1].path.strip("/") or 0), "password": _password(url)}
    return cast("redis.Redis", sentinel.master_for(master_name(url), **options))


def master_name(url: str) -> str:
    """The master that a `sentinel://` address names."""
    return parse_qs(urlsplit(url.split(";")[-1]).query).get("master_name", [DEFAULT_MASTER])[0]


def _password(url: str) -> str | None:
    passwords = (urlsplit(each).password for each in url.split(";"))
    return next((unquote(password) for password in passwords if password), None)


def where(url: str) -> str:
    """The address for people: without user name, password or options."""
    parts = urlsplit(url.split(";")[0])
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
