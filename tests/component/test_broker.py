"""How messages are taken and put back: in one step each, so that none is ever nowhere – on a real server."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Consumer, Queue

from tests.integrations import OwnIntegration, rules_with
from tests.servers import RedisServer
from worker.app import celery_app
from worker.broker import PUT_BACK, TAKE
from worker.delivery.message import DELIVER_MANY, Message, encoded
from worker.settings import Settings

ENVIRONMENT = {"mailgun_api_key": "key", "mailgun_list_address": "newsletter@mg.example.com"}


def put_back(own: OwnIntegration, tag: str, where: str = "RPUSH") -> None:
    own.redis.eval(PUT_BACK, 3, own.queue, *own.unacked_keys, where, tag)


def test_what_is_taken_is_noted_with_its_time(own: OwnIntegration) -> None:
    own.fill(3)
    taken = own.take(2)
    index, messages = own.unacked_keys
    assert taken.messages == ["1", "2"]
    assert list(own.redis.hgetall(messages).values()) == ["1", "2"]
    assert set(own.redis.hgetall(messages)) == set(own.redis.zrange(index, 0, -1))
    assert own.redis.lrange(own.queue, 0, -1) == ["3"]


def test_taking_from_an_empty_queue_notes_nothing(own: OwnIntegration) -> None:
    assert own.take(5).messages == []
    assert [own.redis.exists(key) for key in own.unacked_keys] == [0, 0]


def test_an_empty_message_is_taken_too(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, "", "next")
    assert own.take(5).messages == ["", "next"]


def test_no_message_is_taken_twice_however_many_take(own: OwnIntegration) -> None:
    own.fill(500)
    with ThreadPoolExecutor(8) as threads:
        taken = [each for found in threads.map(lambda _: own.take(10).messages, range(80)) for each in found]
    assert sorted(map(int, taken)) == list(range(1, 501))
    assert own.redis.hlen(own.unacked_keys[1]) == 500


def bundled(id: str, events: int, own: OwnIntegration) -> str:
    message = Message(id=id, args=([{"type": "page"}] * events,), task=DELIVER_MANY)
    return encoded(message, own.queue)


@pytest.mark.parametrize(("room", "taken"), [(1, 1), (10, 1), (11, 2), (20, 2), (21, 3), (100, 3)])
def test_room_is_counted_in_events_and_the_last_bundle_may_have_more(
    own: OwnIntegration, room: int, taken: int
) -> None:
    own.redis.lpush(own.queue, *(bundled(f"b{each}", 10, own) for each in range(3)))
    assert len(own.take(room).messages) == taken


def test_a_bundle_costs_as_many_requests_as_its_events(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, bundled("b", 100, own), *(bundled(f"b{each}", 100, own) for each in range(20)))
    rules = rules_with(rate_limit=300, event_cost=0.02)
    assert (
        len(own.take(100, rules=rules).messages) == 1
    )  # what there is at first pays for half of it; the rest is asked for later
    assert own.take(200, rules=rules).messages == []
    own.later(1.5)
    assert len(own.take(200, rules=rules).messages) == 2
    assert float(own.pace()["tokens"]) == pytest.approx(7.5 - 4, abs=0.9)


def test_what_a_bundle_has_beyond_what_was_paid_for_is_told(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, bundled("b", 100, own), bundled("c", 100, own))
    keys = (*own.flow().keys, own.queue, *own.unacked_keys)
    taken: Any = own.redis.eval(TAKE, len(keys), *keys, rules_with().encoded(), "0", "150", "tag", "1000000")
    assert taken[2] == [100, 50]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_bundles_events_are_counted_however_it_was_written(own: OwnIntegration, separators: tuple[str, str]) -> None:
    raw = json.dumps(json.loads(bundled("b", 100, own)), separators=separators)
    own.redis.lpush(own.queue, raw, raw)
    assert len(own.take(100).messages) == 1


def test_one_reply_has_only_so_many_bytes(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, *("x" * 400_000 for _ in range(5)))
    assert [len(own.take(100).messages) for _ in range(3)] == [3, 2, 0]


@pytest.mark.parametrize(("where", "after"), [("RPUSH", ["3", "2", "1"]), ("LPUSH", ["1", "3", "2"])])
def test_a_message_is_put_back_at_the_front_or_the_back(own: OwnIntegration, where: str, after: list[str]) -> None:
    own.fill(3)
    own.take(1)
    [tag] = own.redis.hkeys(own.unacked_keys[1])
    put_back(own, str(tag), where)
    assert own.redis.lrange(own.queue, 0, -1) == after
    assert [own.redis.exists(key) for key in own.unacked_keys] == [0, 0]


def test_a_message_is_put_back_once(own: OwnIntegration) -> None:
    own.fill(1)
    own.take(1)
    [tag] = own.redis.hkeys(own.unacked_keys[1])
    put_back(own, str(tag))
    put_back(own, str(tag))
    assert own.redis.lrange(own.queue, 0, -1) == ["1"]


def test_an_acknowledged_message_is_not_put_back(own: OwnIntegration) -> None:
    put_back(own, "unknown")
    assert own.redis.llen(own.queue) == 0


# -- the same, through kombu ---------------------------------------------------------------------------------------


@pytest.fixture
def app(own: OwnIntegration, server: RedisServer) -> Celery:
    return celery_app(Settings(redis_url=server.url, signal_integration=own.name, **ENVIRONMENT))  # type: ignore[arg-type]


def received(connection: Connection, own: OwnIntegration, count: int, *, acknowledge: bool) -> list[str]:
    """The ids of so many messages, taken as a worker takes them."""
    ids: list[str] = []

    def take(_: object, message: object) -> None:
        ids.append(message.headers["id"])  # type: ignore[attr-defined]
        if acknowledge:
            message.ack()  # type: ignore[attr-defined]

    consumer = Consumer(connection, queues=[Queue(own.queue)], callbacks=[take], accept=["json"])
    consumer.qos(prefetch_count=count)
    with consumer:
        while len(ids) < count:
            connection.drain_events(timeout=10)
    return ids


def put(own: OwnIntegration, *ids: str) -> None:
    own.redis.lpush(own.queue, *(encoded(Message(id=each, args=({},)), own.queue) for each in ids))


def test_what_a_consumer_acknowledges_is_gone(own: OwnIntegration, app: Celery) -> None:
    put(own, "a", "b", "c")
    with app.connection_for_read() as connection:
        assert received(connection, own, 3, acknowledge=True) == ["a", "b", "c"]
    assert (own.redis.llen(own.queue), own.redis.hlen(own.unacked_keys[1])) == (0, 0)


def test_what_a_consumer_did_not_acknowledge_is_back_when_it_closes(own: OwnIntegration, app: Celery) -> None:
    put(own, "a", "b", "c")
    with app.connection_for_read() as connection:
        received(connection, own, 2, acknowledge=False)
        assert own.redis.hlen(own.unacked_keys[1]) == 2
    assert (own.redis.llen(own.queue), own.redis.hlen(own.unacked_keys[1])) == (3, 0)


def test_a_consumer_takes_no_more_than_it_has_room_for(own: OwnIntegration, app: Celery) -> None:
    put(own, *"abcdef")
    with app.connection_for_read() as connection:
        received(connection, own, 2, acknowledge=False)
        assert own.redis.llen(own.queue) == 4
