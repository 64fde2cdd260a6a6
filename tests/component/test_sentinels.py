"""Real sentinels, some of them dead, asked by many threads at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
import redis

from tests.redis_servers import PASSWORD, SENTINEL_PASSWORD, USER, Watched, watched
from tests.servers import eventually, free_port
from worker.redis_trouble import redis_trouble
from worker.store import connect

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


def url(on: Watched, *before: str, login: str = LOGIN, name: str = "signal", own: str = SENTINEL_PASSWORD) -> str:
    hosts = ";".join((*before, f"127.0.0.1:{on.ports[0]}"))
    return f"sentinel://{login}@{hosts}/2?master_name={name}&sentinel_password={quote(own)}"


def trouble(url: str) -> str:
    """Why nothing can be asked there: one line without a secret."""
    with pytest.raises(redis.RedisError) as caught, connect(url) as client:
        client.ping()
    told = redis_trouble(caught.value, "there")
    assert told.isprintable()
    assert not [each for each in (PASSWORD, SENTINEL_PASSWORD, "wr0ng") if each in told]
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


def test_an_unknown_master_is_told_with_those_that_there_are(on: Watched) -> None:
    assert "know no master other; set master_name in REDIS_URL to one of: signal" in trouble(url(on, name="other"))


def test_a_refused_login_at_the_sentinels_is_told_apart(on: Watched) -> None:
    assert "the sentinels refused the login; check sentinel_username" in trouble(url(on, own="wr0ng"))


def test_a_refused_login_at_the_master_is_told_apart(on: Watched) -> None:
    assert "there refused the password; check REDIS_URL" in trouble(url(on, login=f"{USER}:wr0ng"))


def test_sentinels_that_do_not_answer_are_told() -> None:
    assert "no sentinel answers" in trouble(f"sentinel://127.0.0.1:{free_port()};nowhere.invalid")


def test_a_redis_in_place_of_a_sentinel_is_told(server: object) -> None:
    port = server.port  # type: ignore[attr-defined]
    assert "what answers there is no sentinel" in trouble(f"sentinel://127.0.0.1:{port}")


def test_a_master_that_is_down_is_told(on: Watched, tmp_path_factory: pytest.TempPathFactory) -> None:
    alone = watched(tmp_path_factory.mktemp("alone"))
    try:
        alone.ready().servers[0].kill()
        there = f"sentinel://127.0.0.1:{alone.ports[0]}"
        says = "the sentinels say that the master mymaster is down; wait for the failover"
        eventually(lambda: says in trouble(there), 10, says)
    finally:
        alone.stop()
