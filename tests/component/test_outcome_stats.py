"""The tally: counts of several workers add up in Redis, and none is lost while Redis is away."""

from concurrent.futures import ThreadPoolExecutor

import fakeredis
import pytest
import redis

from worker.delivery.outcome_stats import SLICE_LIVES_SECONDS, OutcomeStats


@pytest.fixture
def far() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


def outcome_stats(far: fakeredis.FakeServer, integration: str = "default") -> OutcomeStats:
    return OutcomeStats(client(far), integration)


def client(far: fakeredis.FakeServer) -> redis.Redis:
    return fakeredis.FakeStrictRedis(server=far, decode_responses=True)  # type: ignore[no-any-return]


def test_counts_are_not_stored_before_store_is_called(far: fakeredis.FakeServer) -> None:
    mine = outcome_stats(far)
    mine.count("delivered")
    assert mine.totals() == {}


def test_the_counts_of_several_workers_add_up(far: fakeredis.FakeServer) -> None:
    for worker in (outcome_stats(far), outcome_stats(far)):
        worker.count("delivered")
        worker.count("delivered")
        worker.count("skipped: no_email")
        worker.store(now=120.0)
    assert outcome_stats(far).totals() == {"delivered": 4, "skipped: no_email": 2}


def test_a_count_is_stored_once(far: fakeredis.FakeServer) -> None:
    mine = outcome_stats(far)
    mine.count("delivered")
    for _ in range(3):
        mine.store(now=120.0)
    assert mine.totals() == {"delivered": 1}


def test_the_last_minute_slides_and_its_counts_live_two_minutes(far: fakeredis.FakeServer) -> None:
    mine = outcome_stats(far)
    for now in (100.0, 119.0, 159.0):
        mine.count("delivered")
        mine.store(now=now)
    found = {now: mine.last_minute(now) for now in (99.0, 101.0, 160.0, 166.0, 183.0, 225.0)}
    assert [each.get("delivered", 0) for each in found.values()] == [0, 1, 3, 2, 1, 0]
    assert 0 < int(client(far).ttl("signal:default:slice:31")) <= SLICE_LIVES_SECONDS
    assert int(client(far).ttl("signal:default:totals")) == -1


def test_no_count_is_lost_while_redis_is_away(far: fakeredis.FakeServer) -> None:
    mine = outcome_stats(far)
    mine.count("delivered")
    far.connected = False
    with pytest.raises(redis.RedisError):
        mine.store(now=120.0)
    mine.count("delivered")
    far.connected = True
    mine.store(now=120.0)
    assert mine.totals() == {"delivered": 2}


def test_not_understood_fields_are_counted_apart_and_survive_an_outage(
    far: fakeredis.FakeServer,
) -> None:
    mine = outcome_stats(far)
    mine.count_not_understood(("consent", "timestamp"))
    far.connected = False
    with pytest.raises(redis.RedisError):
        mine.store(now=120.0)
    mine.count_not_understood(("consent",))
    mine.count_not_understood(())
    far.connected = True
    mine.store(now=120.0)
    assert mine.not_understood() == {"consent": 2, "timestamp": 1}
    assert mine.totals() == {}


def test_threads_count_together(far: fakeredis.FakeServer) -> None:
    mine = outcome_stats(far)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: mine.count("delivered"), range(2000)))
    mine.store(now=120.0)
    assert mine.totals() == {"delivered": 2000}


def test_integrations_are_counted_apart(far: fakeredis.FakeServer) -> None:
    mine = outcome_stats(far)
    mine.count("delivered")
    mine.store(now=120.0)
    assert outcome_stats(far, "other").totals() == {}
