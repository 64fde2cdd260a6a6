"""The client for each form of REDIS_URL; none of them connects here."""

from typing import Any

import pytest
import redis
from redis.sentinel import SentinelConnectionPool

from worker.redis_client.client import TIMEOUTS, connect, where

SENTINELS = "sentinel://:s%40cret@one:26380;sentinel://two/2?master_name=signal"


def options(url: str, **further: Any) -> dict[str, Any]:
    found: dict[str, Any] = connect(url, **further).connection_pool.connection_kwargs
    return found


def test_one_server_is_reached_at_its_address() -> None:
    found = options("redis://user:s%40cret@redis.example.com:6380/3")
    assert (found["host"], found["port"], found["db"]) == ("redis.example.com", 6380, 3)
    assert (found["username"], found["password"]) == ("user", "s@cret")


def test_every_client_has_timeouts_and_speaks_text() -> None:
    for url in ("redis://127.0.0.1", "rediss://127.0.0.1", SENTINELS):
        found = options(url)
        assert {name: found[name] for name in TIMEOUTS} == TIMEOUTS
        assert found["decode_responses"] is True


def test_options_can_be_overridden() -> None:
    assert options("redis://127.0.0.1", socket_timeout=1)["socket_timeout"] == 1


def test_rediss_is_tls_with_the_servers_certificate_checked() -> None:
    pool: Any = connect("rediss://redis.example.com").connection_pool
    assert issubclass(pool.connection_class, redis.SSLConnection)
    assert pool.make_connection().cert_reqs.name == "CERT_REQUIRED"


def test_sentinels_are_asked_for_the_named_master() -> None:
    pool: Any = connect(SENTINELS).connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "signal"
    assert (pool.connection_kwargs["db"], pool.connection_kwargs["password"]) == (2, "s@cret")
    asked = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in asked] == [("one", 26380), ("two", 26379)]
    assert all(each["socket_timeout"] for each in asked)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (SENTINELS, "signal"),
        ("sentinel://one:26379/0", "mymaster"),
        ("sentinel://one?master_name=a", "a"),
    ],
)
def test_master_of_a_sentinel_url_without_a_name_is_mymaster(url: str, name: str) -> None:
    pool: Any = connect(url).connection_pool
    assert pool.service_name == name


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        (
            "rediss://user:s%40cret@redis.example.com/1?ssl_ca_certs=x",
            "rediss://redis.example.com:6379/1",
        ),
        (SENTINELS, "sentinel://one:26380;two:26379/2"),
        ("redis://:s%40cret@[::1]:6379/0", "redis://[::1]:6379/0"),
    ],
)
def test_shown_redis_address_has_no_password(url: str, shown: str) -> None:
    assert where(url) == shown
