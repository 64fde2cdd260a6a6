"""What workers have taken comes back by Redis's clock, at the front, in the order in which it was taken – on a real server."""

import json
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
import redis
from kombu import Connection, Consumer, Producer, Queue

from tests.integrations import OwnIntegration
from tests.servers import RedisServer
from worker.consumer.application import celery_app
from worker.consumer.fetched_message import FetchedMessage
from worker.consumer.switched_off import SwitchedOff
from worker.consumer.tasks import leave_alone
from worker.queue import in_flight
from worker.queue.in_flight import acknowledge, in_flight_keys, keep, put_back, restore_overdue
from worker.redis_client.shared_trips import SharedTrips
from worker.settings import Settings


def queued(own: OwnIntegration) -> list[str]:
    """The messages of the queue, the next one first."""
    return [str(each) for each in own.redis.lrange(own.queue, 0, -1)][::-1]


def restore(own: OwnIntegration, seconds: float = 0) -> int:
    return restore_overdue(own.redis, own.queue, own.unacked_keys, seconds)


def tags(own: OwnIntegration) -> list[str]:
    return sorted(map(str, own.redis.hkeys(own.unacked_keys[1])))


def scores(own: OwnIntegration) -> dict[str, float]:
    """When each tag was taken or last kept."""
    return dict(cast("Any", own.redis.zrange(own.unacked_keys[0], 0, -1, withscores=True)))


def test_keys_are_those_of_the_integration(own: OwnIntegration) -> None:
    assert in_flight_keys(own.name) == own.unacked_keys


def test_a_message_is_noted_with_the_moment_by_redis_clock(
    own: OwnIntegration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    own.fill(1)
    before = own.now()
    own.take(1)
    [score] = scores(own).values()
    assert before <= score <= own.now()


def test_extended_message_counts_from_now_by_redis_clock(
    own: OwnIntegration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    own.fill(2)
    own.take(2)
    index = own.unacked_keys[0]
    own.redis.zadd(index, dict.fromkeys(tags(own), 5.0))
    before = own.now()
    keep(own.redis, index, [tags(own)[0], "ended meanwhile"])
    kept, other = tags(own)
    assert before <= scores(own)[kept] <= own.now()
    assert scores(own)[other] == 5.0
    assert len(scores(own)) == 2


@pytest.mark.parametrize("count", [1, 3, 25, 150])
def test_overdue_messages_come_back_at_the_front_in_fetch_order(
    own: OwnIntegration, count: int
) -> None:
    own.fill(count + 2)
    for _ in range(count // 2):
        own.take(1)
    own.take(count - count // 2)
    keep(own.redis, own.unacked_keys[0], tags(own))  # all of them at one moment
    assert restore(own) == count
    assert queued(own) == [str(each + 1) for each in range(count + 2)]
    assert [own.redis.exists(key) for key in own.unacked_keys] == [0, 0]


def test_overdue_messages_of_several_workers_come_back_in_fetch_order(
    own: OwnIntegration,
) -> None:
    own.fill(4)
    for _ in range(4):
        own.take(1)
    own.redis.zadd(own.unacked_keys[0], dict(zip(tags(own), (30.0, 10.0, 40.0, 20.0), strict=True)))
    assert restore(own) == 4
    assert queued(own) == ["1", "2", "3", "4"]


def test_overdue_messages_restored_in_several_steps_keep_their_order(
    own: OwnIntegration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_flight, "RESTORE_AT_ONCE", 7)
    own.fill(20)
    for _ in range(20):
        own.take(1)
    assert [restore(own) for _ in range(4)] == [7, 7, 6, 0]
    assert queued(own) == [str(each + 1) for each in range(20)]


def test_message_that_is_not_overdue_stays_in_flight(own: OwnIntegration) -> None:
    own.fill(1)
    own.take(1)
    assert restore(own, 60) == 0
    assert len(tags(own)) == 1


def test_acknowledged_message_does_not_come_back(own: OwnIntegration) -> None:
    own.fill(2)
    own.take(2)
    acknowledge(SharedTrips(own.redis), own.unacked_keys, tags(own)[:1])
    assert restore(own) == 1
    assert queued(own) == ["2"]


def test_several_messages_are_put_back_in_order(own: OwnIntegration) -> None:
    own.fill(4)
    own.take(3)
    put_back(own.redis, own.queue, own.unacked_keys, tags(own))
    assert queued(own) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("key", [0, 1])
def test_key_of_the_wrong_type_costs_no_message_on_fetch(own: OwnIntegration, key: int) -> None:
    own.fill(2)
    own.redis.set(own.unacked_keys[key], "not ours")
    with pytest.raises(redis.ResponseError):
        own.take(2)
    assert queued(own) == ["1", "2"]


def test_queue_of_the_wrong_type_costs_no_message_on_requeue(own: OwnIntegration) -> None:
    own.fill(1)
    own.take(1)
    own.redis.set(own.queue, "not ours")
    with pytest.raises(redis.ResponseError):
        restore(own)
    own.redis.delete(own.queue)
    assert restore(own) == 1
    assert queued(own) == ["1"]


# -- through kombu, with other queues beside ours -------------------------------------------------------------------


@pytest.fixture
def ours() -> list[FetchedMessage]:
    """The messages of events that the transport handed over."""
    return []


@pytest.fixture
def connection(
    own: OwnIntegration, server: RedisServer, ours: list[FetchedMessage]
) -> Iterator[Connection]:
    options = {"mailgun_api_key": "key", "mailgun_list_address": "newsletter@mg.example.com"}
    app = celery_app(Settings(redis_url=server.url, signal_integration=own.name, **options))  # type: ignore[arg-type]
    app.conf.broker_transport_options["on_events"] = ours.extend
    with app.connection_for_read() as opened:
        yield opened


def test_event_queue_and_other_queues_are_both_read_and_neither_starves(
    own: OwnIntegration, connection: Connection, ours: list[FetchedMessage]
) -> None:
    other = f"other.{own.name}"
    own.put(*(f"ours{each}" for each in range(5)))
    for each in range(5):
        Producer(connection).publish({"number": each}, routing_key=other, serializer="json")
    theirs: list[object] = []

    def take(_: object, message: object) -> None:
        theirs.append(message)

    with Consumer(connection, [Queue(own.queue), Queue(other)], callbacks=[take], accept=["json"]):
        while len(ours) + len(theirs) < 10:
            connection.drain_events(timeout=10)
        assert (len(ours), len(theirs)) == (5, 5)
        assert own.redis.hlen(own.unacked_keys[1]) == 10
    connection.close()
    assert (own.redis.llen(own.queue), own.redis.llen(other)) == (5, 5)
    bodies = [json.loads(each) for each in own.redis.lrange(other, 0, -1)]
    assert all(each["properties"]["delivery_info"]["routing_key"] == other for each in bodies)


def test_message_of_another_queue_goes_back_there_when_its_reader_died(
    own: OwnIntegration, connection: Connection
) -> None:
    other = f"other.{own.name}"
    Producer(connection).publish({"a": '", "b"]'}, routing_key=other, serializer="json")
    before = own.redis.lrange(other, 0, -1)
    with Consumer(connection, [Queue(other)], callbacks=[lambda *_: None], accept=["json"]):
        connection.drain_events(timeout=10)
        assert own.redis.llen(other) == 0
        assert restore(own) == 1
        assert [json.loads(each)["body"] for each in own.redis.lrange(other, 0, -1)] == [
            json.loads(str(each))["body"] for each in before
        ]
        assert own.redis.llen(own.queue) == 0


def test_message_of_another_queue_is_left_alone_and_logged(
    own: OwnIntegration, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    other = f"other.{own.name}"
    Producer(connection).publish({"a": 1}, routing_key=other, serializer="json")
    taken: list[Any] = []

    def take(_: object, message: Any) -> None:
        taken.append(message)
        leave_alone(message)

    with Consumer(connection, [Queue(other)], callbacks=[take], accept=["json"]):
        connection.drain_events(timeout=10)
        assert own.redis.hkeys(own.unacked_keys[1]) == [taken[0].delivery_tag]
        assert "a message came from another queue" in caplog.text
        assert restore(own) == 1
        assert own.redis.llen(other) == 1


def fetch_under_way(own: OwnIntegration, connection: Connection) -> Consumer:
    """Put e0 to e4 on the queue; return a consumer whose fetch was sent and has no reply yet."""
    own.put(*(f"e{each}" for each in range(5)))
    consumer = Consumer(connection, [Queue(own.queue)], callbacks=[pytest.fail], accept=["json"])
    consumer.consume()
    consumer.channel._queue_has_some = True
    connection.transport.cycle.on_poll_start()
    return consumer


def test_messages_of_a_fetch_that_ends_with_its_channel_are_only_requeued(
    own: OwnIntegration, connection: Connection, ours: list[FetchedMessage]
) -> None:
    consumer = fetch_under_way(own, connection)
    consumer.channel.close()
    assert ours == []
    assert own.queued_ids() == [f"e{each}" for each in range(5)]
    assert own.redis.hlen(own.unacked_keys[1]) == 0


def test_messages_fetched_after_their_consumer_was_cancelled_are_requeued(
    own: OwnIntegration, connection: Connection
) -> None:
    consumer = fetch_under_way(own, connection)
    channel = consumer.channel
    consumer.cancel()
    channel._brpop_read()
    assert own.queued_ids() == [f"e{each}" for each in range(5)]
    assert own.redis.hlen(own.unacked_keys[1]) == 0


def test_no_queue_can_be_purged(own: OwnIntegration, connection: Connection) -> None:
    own.fill(3)
    with pytest.raises(SwitchedOff, match="signal-mailgun pause"):
        connection.default_channel.queue_purge(own.queue)
    assert own.redis.llen(own.queue) == 3
