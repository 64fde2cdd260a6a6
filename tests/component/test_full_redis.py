"""A Redis whose memory is full: what lies there can be replayed, purged and drained, and that it is full is told everywhere."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import redis
from prometheus_client import CollectorRegistry, generate_latest

from tests.integrations import OwnIntegration, delay_one
from tests.servers import RedisServer
from worker.cli import commands
from worker.monitoring.integration_gauges import RedisCollector, read_gauges
from worker.monitoring.redis_memory import memory_share
from worker.queue.codec import encode
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.message import Message
from worker.queue.priority_lists import PriorityLists
from worker.settings import Settings

EVENT = {"type": "identify", "traits": {"email": "jane@example.com", "x": "y" * 5000}}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.stop()


@pytest.fixture
def full(running: RedisServer) -> Iterator[OwnIntegration]:
    """An integration on a full server: 20 dead letters, and an event each on the queue, on a list of a priority and delayed."""
    client = running.client()
    own = OwnIntegration(client, "default")
    message = Message(id="m", args=(EVENT,), enqueued_at=1.0)
    died = dead_letter(
        DeadLetterReason.REJECTED,
        message,
        status=400,
        answer="no",
        died_at=1.0,
        integration="default",
    )
    letters_of(own).bury([(message, died)] * 20)
    client.lpush(own.queue, encode(message, own.queue))
    client.lpush(f"{own.queue}\x06\x163", encode(message, own.queue))
    delay_one(DelayQueue(client, "default", own.queue), message, -1)
    client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
    with pytest.raises(redis.OutOfMemoryError):
        client.lpush(own.queue, "another")
    yield own
    client.close()


def letters_of(own: OwnIntegration) -> DeadLetterQueue:
    return DeadLetterQueue(own.redis, own.name, own.queue)


def test_dead_letters_of_a_full_redis_can_be_replayed_and_purged(full: OwnIntegration) -> None:
    letters = letters_of(full)
    found = list(letters.oldest_first())
    assert letters.replay(found[:10], 2.0) == 10
    assert letters.purge(list(letters.oldest_first())) == 10
    assert (letters.count(), letters.totals(), full.redis.llen(full.queue)) == (0, {}, 11)


def test_a_full_redis_is_drained(full: OwnIntegration) -> None:
    assert DelayQueue(full.redis, full.name, full.queue).requeue_due() == 1
    assert PriorityLists(full.redis, full.name, full.queue).drain() == 1
    assert len(full.take(10).messages) == 3
    assert full.redis.llen(full.queue) == 0


def test_a_full_redis_is_named_by_status_and_a_metric(
    full: OwnIntegration, running: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", running.url)
    assert "redis memory    full (" in printed("status")
    assert json.loads(printed("status", "--json"))["memory"] >= 1
    registry = CollectorRegistry()
    registry.register(RedisCollector("default", lambda: read_gauges(Settings(), full.redis)))
    lines = generate_latest(registry).decode().splitlines()
    [line] = [each for each in lines if each.startswith("signal_mailgun_redis_memory")]
    assert float(line.split()[-1]) >= 1


def test_memory_share_is_unknown_without_a_limit_or_the_right_to_ask(
    full: OwnIntegration, running: RedisServer
) -> None:
    full.redis.config_set("maxmemory", 0)
    assert memory_share(full.redis) is None
    full.redis.config_set("maxmemory", 1 << 30)
    assert 0 < (memory_share(full.redis) or 0) < 1
    full.redis.acl_setuser(
        "poor", enabled=True, nopass=True, categories=["+@all"], commands=["-info"], keys=["*"]
    )
    with redis.Redis(port=running.port, username="poor", password="x") as poor:
        assert memory_share(poor) is None


def printed(*arguments: str) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        commands()(args=list(arguments), prog_name="signal-mailgun", standalone_mode=False)
    return out.getvalue()
