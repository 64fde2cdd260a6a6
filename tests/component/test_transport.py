"""How messages are taken and put back: in one step each, so that none is ever nowhere – on a real server."""

import base64
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Consumer, Queue, transport
from kombu.transport.redis import Transport as KombusTransport

from tests.integrations import OwnIntegration, rules_with
from tests.servers import RedisServer
from worker.consumer.application import celery_app
from worker.consumer.atomic_fetch import FETCH
from worker.consumer.fetched_message import FetchedMessage
from worker.consumer.load import Load, Weight, load
from worker.consumer.transport import Transport
from worker.queue.codec import decode, encode
from worker.queue.in_flight import PUT_BACK
from worker.queue.intake import parse_raw
from worker.queue.message import DELIVER_MANY, REPLAY_TASK, TASK, Message
from worker.queue.poison import ALONE_AFTER
from worker.settings import Settings

ENVIRONMENT = {"mailgun_api_key": "key", "mailgun_list_address": "newsletter@mg.example.com"}


def put_back(own: OwnIntegration, tag: str, where: str = "RPUSH") -> None:
    own.redis.eval(PUT_BACK, 3, own.queue, *own.unacked_keys, where, tag)


def test_fetched_message_is_noted_in_flight_with_its_time(own: OwnIntegration) -> None:
    own.fill(3)
    taken = own.take(2)
    index, messages = own.unacked_keys
    assert taken.messages == ["1", "2"]
    assert list(own.redis.hgetall(messages).values()) == ["1", "2"]
    assert set(own.redis.hgetall(messages)) == set(own.redis.zrange(index, 0, -1))
    assert own.redis.lrange(own.queue, 0, -1) == ["3"]


def test_fetch_from_an_empty_queue_notes_nothing(own: OwnIntegration) -> None:
    assert own.take(5).messages == []
    assert [own.redis.exists(key) for key in own.unacked_keys] == [0, 0]


def test_empty_message_is_fetched_too(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, "", "next")
    assert own.take(5).messages == ["", "next"]


def test_message_is_fetched_once_by_concurrent_fetches(own: OwnIntegration) -> None:
    own.fill(250)
    with ThreadPoolExecutor(8) as threads:
        taken = [
            each
            for found in threads.map(lambda _: own.take(5).messages, range(80))
            for each in found
        ]
    assert sorted(map(int, taken)) == list(range(1, 251))
    assert own.redis.hlen(own.unacked_keys[1]) == 250


def bundled(id: str, events: int, own: OwnIntegration) -> str:
    message = Message(id=id, args=([{"type": "page"}] * events,), task=DELIVER_MANY)
    return encode(message, own.queue)


@pytest.mark.parametrize(("room", "taken"), [(1, 1), (10, 1), (11, 2), (20, 2), (21, 3), (100, 3)])
def test_room_is_counted_in_events_and_the_last_bundle_may_have_more(
    own: OwnIntegration, room: int, taken: int
) -> None:
    own.redis.lpush(own.queue, *(bundled(f"b{each}", 10, own) for each in range(3)))
    assert len(own.take(room).messages) == taken


def test_a_bundle_costs_as_many_requests_as_its_events(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, *(bundled(f"b{each}", 100, own) for each in range(20)))
    alone, shared = (rules_with(rate_limit=300, event_cost=cost) for cost in (1, 0.02))
    # What there is at first pays for a part of it; the rest is asked for later.
    assert len(own.take(100, rules=alone).messages) == 1
    assert own.take(200, rules=alone).messages == []
    own.later(1000)
    assert len(own.take(200, rules=shared).messages) == 2
    assert float(own.pace()["tokens"]) == pytest.approx(10 - 4)


def test_fetch_returns_the_events_of_a_bundle_beyond_its_permits(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, bundled("b", 100, own), bundled("c", 100, own))
    keys = (*own.gate().keys, own.queue, *own.unacked_keys, f"signal:{own.name}:fetched_at")
    taken: Any = own.redis.eval(
        FETCH, len(keys), *keys, rules_with().to_json(), "150", "tag", "1000000"
    )
    assert taken[2] == [100, 50]


@pytest.mark.parametrize(
    ("said", "counted"), [("0", 1), ("-3", 1), ("1e9", 1), ("7", 7), ("9" * 30, 10_000), ('"x"', 1)]
)
def test_wrong_count_of_events_counts_at_least_one_and_is_bounded(
    own: OwnIntegration, said: str, counted: int
) -> None:
    own.redis.lpush(own.queue, f'{{"headers": {{"signal": {{"events": {said}}}}}}}')
    keys = (*own.gate().keys, own.queue, *own.unacked_keys, f"signal:{own.name}:fetched_at")
    taken: Any = own.redis.eval(
        FETCH, len(keys), *keys, rules_with(event_cost=0.01).to_json(), "100000", "tag", "1000000"
    )
    assert taken[2] == [counted]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_events_of_a_bundle_are_counted_in_any_spelling_of_its_json(
    own: OwnIntegration, separators: tuple[str, str]
) -> None:
    raw = json.dumps(json.loads(bundled("b", 100, own)), separators=separators)
    own.redis.lpush(own.queue, raw, raw)
    assert len(own.take(100).messages) == 1


def test_fetch_returns_a_bounded_number_of_bytes(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, *("x" * 400_000 for _ in range(5)))
    assert [len(own.take(100).messages) for _ in range(3)] == [3, 2, 0]


@pytest.mark.parametrize(
    ("where", "after"), [("RPUSH", ["3", "2", "1"]), ("LPUSH", ["1", "3", "2"])]
)
def test_a_message_is_put_back_at_the_front_or_the_back(
    own: OwnIntegration, where: str, after: list[str]
) -> None:
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


# -- when a message counts as enqueued


def bare(id: str, *, task: str = TASK, enqueued_at: object = None) -> str:
    """A message as a client writes it that knows nothing of this program, or says when it enqueued it."""
    said = {} if enqueued_at is None else {"signal": {"enqueued_at": enqueued_at}}
    headers = {"task": task, "id": id, **said}
    body = base64.b64encode(b"[[{}],{},{}]").decode()
    properties = {"body_encoding": "base64"}
    return json.dumps(
        {
            "body": body,
            "headers": headers,
            "properties": properties,
            "content-type": "application/json",
        }
    )


def enqueued_at(raw: str) -> float:
    found = parse_raw(raw, lambda: "new").enqueued_at
    assert found is not None
    return found


@pytest.mark.parametrize("at_once", [5, 300])
def test_bare_messages_are_stamped_in_queue_order_when_first_fetched(
    own: OwnIntegration, at_once: int
) -> None:
    own.redis.lpush(own.queue, *(bare(str(each)) for each in range(5 * at_once)))
    before, rules = own.now(), rules_with(event_cost=0.1)
    taken = [raw for _ in range(5) for raw in own.take(at_once, rules=rules).messages]
    assert [decode(each)[0].id for each in taken] == [str(each) for each in range(5 * at_once)]
    stamps = [enqueued_at(each) for each in taken]
    assert sorted(set(stamps)) == stamps
    assert before - 0.001 <= stamps[0] <= stamps[-1] <= own.now() + 0.001


def test_a_stamp_outlives_the_worker_and_a_way_back_to_the_queue(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, bare("a"))
    (raw,) = own.take().messages
    (tag,) = own.redis.hkeys(own.unacked_keys[1])
    put_back(own, str(tag))
    assert own.redis.lrange(own.queue, 0, -1) == [raw]
    assert own.take().messages == [raw]


def test_a_stamp_outlives_the_wait_for_another_try(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, bare("a"))
    (raw,) = own.take().messages
    message = parse_raw(raw, lambda: "new")
    again = parse_raw(encode(message.after_wait(), own.queue), lambda: "new")
    assert (
        again.enqueued_at
        == message.enqueued_at
        == message.with_timestamps(own.now()).retry_window_start
    )


@pytest.mark.parametrize("said", [1714557600.5, 1714557600])
def test_message_with_its_own_enqueue_time_is_left_as_it_is(
    own: OwnIntegration, said: float
) -> None:
    raw = bare("a", enqueued_at=said)
    own.redis.lpush(own.queue, raw)
    assert own.take().messages == [raw]
    assert enqueued_at(raw) == said


def test_message_enqueued_years_ahead_counts_from_its_fetch(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, bare("a", enqueued_at=own.now() + 3 * 365 * 86_400))
    (raw,) = own.take().messages
    assert abs(enqueued_at(raw) - own.now()) < 60


def test_the_events_of_a_bundle_come_before_those_of_the_next_message(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, bare("a", task=DELIVER_MANY), bare("b"))
    first, second = own.take(2).messages
    assert enqueued_at(second) - enqueued_at(first) > 0.0009


@pytest.mark.parametrize(
    "raw", ["{}", "[1]", "no JSON", '"text"', '{"signal_fetched_at":1.5,"headers":{}}']
)
def test_entry_that_is_no_message_is_left_as_it_is(own: OwnIntegration, raw: str) -> None:
    own.redis.lpush(own.queue, raw)
    assert own.take().messages == [raw]


# -- the same, through kombu ---------------------------------------------------------------------------------------


@pytest.fixture
def taken() -> list[FetchedMessage]:
    """What the transport handed over, in place of a batch consumer."""
    return []


@pytest.fixture
def app(own: OwnIntegration, server: RedisServer, taken: list[FetchedMessage]) -> Celery:
    app = celery_app(Settings(redis_url=server.url, signal_integration=own.name, **ENVIRONMENT))  # type: ignore[arg-type]
    app.conf.broker_transport_options["on_events"] = taken.extend
    return app


def test_process_that_used_kombus_own_transport_before_fetches_atomically(
    own: OwnIntegration, server: RedisServer
) -> None:
    transport.TRANSPORT_ALIASES["redis"] = "kombu.transport.redis:Transport"
    transport._transport_cache.pop("redis", None)
    with Connection(server.url) as before:
        assert before.get_transport_cls() is KombusTransport
    app = celery_app(Settings(redis_url=server.url, signal_integration=own.name, **ENVIRONMENT))  # type: ignore[arg-type]
    with app.connection_for_read() as connection:
        assert connection.get_transport_cls() is Transport


def consumer_of(
    connection: Connection, own: OwnIntegration, *, room: int, callback: Any = None
) -> Consumer:
    """A consumer that has room for so many events; kombu calls `callback` with other messages."""
    callbacks = [callback or pytest.fail]
    consumer = Consumer(connection, [Queue(own.queue)], callbacks=callbacks, accept=["json"])
    consumer.qos(prefetch_count=room)
    return consumer


def ids(taken: Sequence[FetchedMessage]) -> list[str]:
    return [each.message.id for each in taken]


def test_events_are_handed_over_together_and_in_order(
    own: OwnIntegration, app: Celery, taken: list[FetchedMessage]
) -> None:
    own.put("a", "b", "c")
    with app.connection_for_read() as connection, consumer_of(connection, own, room=3):
        connection.drain_events(timeout=10)
        assert ids(taken) == ["a", "b", "c"]
        assert {each.tag for each in taken} == set(own.redis.hkeys(own.unacked_keys[1]))
        assert [(each.weight.events, each.charged) for each in taken] == [(1, 1)] * 3


def test_replay_is_run_by_celery_and_is_gone_once_acknowledged(
    own: OwnIntegration, app: Celery, taken: list[FetchedMessage]
) -> None:
    own.put("a", "b", task=REPLAY_TASK)
    own.put("c")
    replays: list[str] = []

    def run(_: object, message: Any) -> None:
        replays.append(message.headers["id"])
        message.ack()

    with app.connection_for_read() as connection:
        consumer = consumer_of(connection, own, room=3, callback=run)
        with consumer:
            connection.drain_events(timeout=10)
            assert (replays, ids(taken)) == (["a", "b"], ["c"])
            assert consumer.channel.qos.in_hand == 1
            assert set(own.redis.hkeys(own.unacked_keys[1])) == {taken[0].tag}
    assert own.queued_ids() == ["c"]


def test_rejected_replay_takes_no_room(own: OwnIntegration, app: Celery) -> None:
    own.put("a", task=REPLAY_TASK)
    rejected: list[str] = []

    def reject(_: object, message: Any) -> None:
        rejected.append(message.headers["id"])
        message.requeue()

    with app.connection_for_read() as connection:
        consumer = consumer_of(connection, own, room=2, callback=reject)
        with consumer:
            while len(rejected) < 3:
                connection.drain_events(timeout=10)
            qos = consumer.channel.qos
            assert (qos.in_hand, qos.can_consume_max_estimate()) == (0, 2)


def test_replay_that_came_back_twice_is_fetched_alone(
    own: OwnIntegration, app: Celery, taken: list[FetchedMessage]
) -> None:
    suspect = Message(id="suspect", args=(), task=REPLAY_TASK, returns=ALONE_AFTER)
    own.redis.lpush(own.queue, encode(suspect, own.queue))
    own.put("a")
    replays: list[Any] = []

    def run(_: object, message: Any) -> None:
        replays.append(message)

    with (
        app.connection_for_read() as connection,
        consumer_of(connection, own, room=4, callback=run),
    ):
        connection.drain_events(timeout=10)
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=1)
        assert (len(replays), taken) == (1, [])
        replays[0].ack()
        connection.drain_events(timeout=10)
        assert ids(taken) == ["a"]


def test_all_of_a_fetch_is_back_after_its_events_could_not_be_taken(
    own: OwnIntegration, app: Celery
) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    own.put("a", task=REPLAY_TASK)
    own.put("b")
    app.conf.broker_transport_options["on_events"] = fail
    with app.connection_for_read() as connection, consumer_of(connection, own, room=4):
        with pytest.raises(MemoryError):
            connection.drain_events(timeout=10)
        assert own.redis.hlen(own.unacked_keys[1]) == 2
    assert (own.redis.llen(own.queue), own.redis.hlen(own.unacked_keys[1])) == (2, 0)


def test_unacknowledged_message_is_back_when_its_consumer_closes(
    own: OwnIntegration, app: Celery, taken: list[FetchedMessage]
) -> None:
    own.put("a", "b", "c")
    with app.connection_for_read() as connection, consumer_of(connection, own, room=2):
        connection.drain_events(timeout=10)
        assert ids(taken) == ["a", "b"]
        assert own.redis.hlen(own.unacked_keys[1]) == 2
    assert (own.redis.llen(own.queue), own.redis.hlen(own.unacked_keys[1])) == (3, 0)


def test_ended_message_does_not_come_back_when_its_consumer_closes(
    own: OwnIntegration, app: Celery, taken: list[FetchedMessage]
) -> None:
    own.put("a", "b")
    with app.connection_for_read() as connection, consumer_of(connection, own, room=2):
        connection.drain_events(timeout=10)
        taken[0].drop(taken[0].tag)
    assert own.queued_ids() == ["b"]


def test_consumer_fetches_no_more_than_it_has_room_for(
    own: OwnIntegration, app: Celery, taken: list[FetchedMessage]
) -> None:
    own.put(*"abcdef")
    with app.connection_for_read() as connection, consumer_of(connection, own, room=2):
        connection.drain_events(timeout=10)
        assert (ids(taken), own.redis.llen(own.queue)) == (["a", "b"], 4)


@pytest.fixture
def load_elsewhere() -> Iterator[Load]:
    """What this process has in hand beside what its channels took."""
    load.cache_clear()  # channels of earlier tests left in it what they had in hand
    yield load()
    load.cache_clear()


def test_consumer_fetches_less_by_what_the_process_has_in_hand(
    own: OwnIntegration, app: Celery, load_elsewhere: Load
) -> None:
    own.put(*"abcdef")
    load_elsewhere.add({"beside": Weight(events=3)})
    with app.connection_for_read() as connection:
        consumer = consumer_of(connection, own, room=4)
        with consumer:
            connection.drain_events(timeout=10)
            qos = consumer.channel.qos
            assert (own.redis.llen(own.queue), qos.in_hand, qos.can_consume()) == (5, 2, False)
            load_elsewhere.remove(["beside"])
            assert (qos.in_hand, qos.can_consume_max_estimate()) == (1, 3)


def test_messages_beyond_the_room_are_put_back_and_not_charged(
    own: OwnIntegration, app: Celery, load_elsewhere: Load, taken: list[FetchedMessage]
) -> None:
    own.put(*"abcd")
    unused: list[int] = []
    app.conf.broker_transport_options["on_unused"] = unused.append
    with app.connection_for_read() as connection:
        consumer = consumer_of(connection, own, room=4)
        channel = consumer.channel
        read = channel._reply_of_redis

        def filled_meanwhile(mark: str | None, **options: Any) -> Any:
            reply = read(mark, **options)
            if mark:  # events were adopted while the fetch was under way
                load_elsewhere.add({"beside": Weight(events=3)})
            return reply

        channel._reply_of_redis = filled_meanwhile
        with consumer:
            connection.drain_events(timeout=10)
            assert (ids(taken), own.redis.llen(own.queue), unused) == (["a"], 3, [3])


@pytest.mark.parametrize("weight", [Weight(events=0), Weight(events=1)])
def test_message_returned_twice_waits_for_what_the_process_has_in_hand(
    own: OwnIntegration,
    app: Celery,
    load_elsewhere: Load,
    taken: list[FetchedMessage],
    weight: Weight,
) -> None:
    suspect = Message(id="suspect", args=({},), returns=ALONE_AFTER)
    own.redis.lpush(own.queue, encode(suspect, own.queue))
    load_elsewhere.add({"beside": weight})
    with app.connection_for_read() as connection, consumer_of(connection, own, room=4):
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=1)
        assert (own.redis.llen(own.queue), ids(taken)) == (1, [])
        load_elsewhere.remove(["beside"])
        connection.drain_events(timeout=10)
        assert (own.redis.llen(own.queue), ids(taken)) == (0, ["suspect"])
