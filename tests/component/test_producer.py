"""A producer's way to Redis: one round trip for an event, few for many, no connection shared with a child – on a real server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection

from tests.integrations import OwnIntegration
from tests.servers import RedisServer
from worker import MalformedEvent, enqueue, enqueue_many
from worker.queue import producer
from worker.queue.codec import decode
from worker.queue.message import unbundle
from worker.queue.producer import TRIP_EVENTS

EVENT = {"type": "identify", "traits": {"email": "jane@example.com"}}


@pytest.fixture
def producing(
    own: OwnIntegration, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OwnIntegration]:
    """An integration on which this process is a producer that has enqueued an event before."""
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setenv("SIGNAL_INTEGRATION", own.name)
    producer._queue.cache_clear()
    enqueue(EVENT)
    yield own
    producer._queue.cache_clear()


def commands(own: OwnIntegration) -> dict[str, int]:
    """How often each command was called on the server."""
    stats: dict[str, Any] = own.redis.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): stat["calls"]
        for name, stat in stats.items()
        if name != "cmdstat_info"
    }


def test_an_event_is_one_command_on_a_connection_that_stays(producing: OwnIntegration) -> None:
    before = commands(producing)
    for _ in range(20):
        enqueue(EVENT)
    after = commands(producing)
    assert {
        name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name)
    } == {"lpush": 20}


def test_idle_producer_sends_no_command_before_its_event(producing: OwnIntegration) -> None:
    pool = producer._queue()._redis.connection_pool
    assert pool.connection_kwargs["health_check_interval"] == 0


def test_a_connection_that_redis_closed_meanwhile_is_opened_anew(producing: OwnIntegration) -> None:
    ours = producer._queue()._redis.client_id()
    producing.redis.client_kill_filter(_id=str(ours))
    enqueue(EVENT)
    assert producing.redis.llen(producing.queue) == 2
    assert producer._queue()._redis.client_id() != ours


def test_many_events_are_a_command_for_each_thousand(producing: OwnIntegration) -> None:
    before = commands(producing)
    assert enqueue_many({**EVENT, "userId": n} for n in range(3 * TRIP_EVENTS)) == 3 * TRIP_EVENTS
    assert commands(producing)["lpush"] - before["lpush"] == 3
    raws = reversed(producing.redis.lrange(producing.queue, 0, -1))
    found = [each.args[0].get("userId") for raw in raws for each in unbundle(decode(str(raw))[0])]
    assert found == [None, *range(3 * TRIP_EVENTS)]


def test_producer_refuses_events_above_the_message_size_of_workers(
    producing: OwnIntegration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESSAGE_MAX_BYTES", "65536")
    producer._queue.cache_clear()
    large = {**EVENT, "name": "\u0436" * 25_000}
    with pytest.raises(MalformedEvent, match=r"^the event is too large: .*MESSAGE_MAX_BYTES=65536"):
        enqueue(large)
    with pytest.raises(MalformedEvent, match=r"^event 3: the event is too large"):
        enqueue_many([EVENT, EVENT, large, EVENT])
    enqueue({**EVENT, "name": "\u0436" * 20_000})
    raws = producing.redis.lrange(producing.queue, 0, -1)
    assert [
        each.args[0].get("name", "") for raw in raws for each in unbundle(decode(str(raw))[0])
    ] == [
        "\u0436" * 20_000,
        *[""] * 3,
    ]
    assert all(len(str(raw)) <= 65_536 for raw in raws)


def test_kombu_decodes_messages_of_the_producer(producing: OwnIntegration) -> None:
    event = {**EVENT, "name": "Zoë \U0001f600 \ud800 \u2028"}
    enqueue(event)
    payload = json.loads(str(producing.redis.lindex(producing.queue, 0)))
    with Connection("memory://") as connection, connection.channel() as channel:
        message = channel.message_to_python(payload)
        assert message.decode()[0] == [event]


FORKS = """
import os
from worker import enqueue
from worker.queue import producer
enqueue({"type": "page"})
ours = producer._queue()._redis.client_id()
child = os.fork()
enqueue({"type": "page"})
assert (producer._queue()._redis.client_id() == ours) == bool(child)
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_process_that_forks_after_its_first_event_shares_no_connection(
    own: OwnIntegration, server: RedisServer
) -> None:
    settings = {"REDIS_URL": server.url, "SIGNAL_INTEGRATION": own.name}
    ended = subprocess.run(
        [sys.executable, "-c", FORKS], env=settings, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert own.redis.llen(own.queue) == 3
