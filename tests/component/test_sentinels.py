"""Real sentinels, some of them dead, asked by many threads at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
import redis

from tests.redis_servers import PASSWORD, SENTINEL_PASSWORD, USER, Watched, watched
from tests.servers import eventually, free_port
from worker.ops.redis_check.errors import Trouble, describe_redis_error
from worker.redis_client.client import connect

LOGIN = f"{USER}:{quote(PASSWORD, safe='')}"
THREADS = 16


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    started = watched(folder, "signal", sentinels=1, users=True, own_password=True)
    try:
        yield started.ready()
    finally:
        started.stop()


def url(
    on: Watched,
    *before: str,
    login: str = LOGIN,
    name: str = "signal",
    own: str = SENTINEL_PASSWORD,
) -> str:
    hosts = ";".join((*before, f"127.0.0.1:{on.ports[0]}"))
    return f"sentinel://{login}@{hosts}/2?master_name={name}&sentinel_password={quote(own)}"


def trouble(url: str) -> Trouble:
    """Why nothing can be asked there, without a secret."""
    with pytest.raises(redis.RedisError) as caught, connect(url) as client:
        client.ping()
    told = describe_redis_error(caught.value, url)
    assert f"{told.found}{told.fix}".isprintable()
    assert not [each for each in (PASSWORD, SENTINEL_PASSWORD, "wr0ng") if each in f"{told}"]
    return told


@pytest.mark.parametrize("dead", ["refuses", "does not resolve", "both"])
def test_the_master_is_found_behind_dead_sentinels(on: Watched, dead: str) -> None:
    gone = {"refuses": [f"127.0.0.1:{free_port()}"], "does not resolve": ["nowhere.invalid"]}
    hosts = gone.get(dead) or [each for one in gone.values() for each in one]
    with connect(url(on, *hosts)) as client:
        assert client.client_info()["db"] == 2


def test_no_thread_misses_the_only_sentinel_alive(on: Watched) -> None:
    for _ in range(10):
        with (
            connect(url(on, f"127.0.0.1:{free_port()}")) as client,
            ThreadPoolExecutor(THREADS) as threads,
        ):
            assert all(threads.map(lambda _, one=client: one.ping(), range(THREADS)))


def test_a_sentinel_that_answered_is_asked_first_the_next_time(on: Watched) -> None:
    with connect(url(on, f"127.0.0.1:{free_port()}")) as client:
        client.ping()
        manager = client.connection_pool.sentinel_manager
        assert manager.sentinels[0].connection_pool.connection_kwargs["port"] == on.ports[0]
        assert len(manager.sentinels) == 2


def test_unknown_master_is_reported_with_the_known_ones(on: Watched) -> None:
    told = trouble(url(on, name="other"))
    assert told.found.endswith("the sentinels know no master other")
    assert told.fix == "set master_name in REDIS_URL to one of: signal"
    assert told.passes  # once it is known, too


def test_refused_login_at_the_sentinels_is_reported(on: Watched) -> None:
    told = trouble(url(on, own="wr0ng"))
    assert told.found.endswith("the sentinels refused the login")
    assert told.fix == "check sentinel_username and sentinel_password in REDIS_URL"
    assert not told.passes


def test_refused_login_at_the_master_is_reported(on: Watched) -> None:
    told = trouble(url(on, login=f"{USER}:wr0ng"))
    assert "refused user name or password" in told.found
    assert not told.passes


def test_unreachable_sentinels_are_reported() -> None:
    told = trouble(f"sentinel://127.0.0.1:{free_port()};nowhere.invalid")
    assert told.found.endswith("no sentinel answers")
    assert told.passes


def test_redis_in_place_of_a_sentinel_is_reported(server: object) -> None:
    port = server.port  # type: ignore[attr-defined]
    told = trouble(f"sentinel://127.0.0.1:{port}")
    assert told.found.endswith("is Redis itself, not a Sentinel")
    assert not told.passes


def test_master_that_is_down_is_reported(
    on: Watched, tmp_path_factory: pytest.TempPathFactory
) -> None:
    alone = watched(tmp_path_factory.mktemp("alone"))
    try:
        alone.ready().servers[0].kill()
        there = f"sentinel://127.0.0.1:{alone.ports[0]}"
        says = "the sentinels say that the master mymaster is down"
        eventually(lambda: trouble(there).found.endswith(says), 10, says)
    finally:
        alone.stop()
