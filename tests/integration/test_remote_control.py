"""Whatever an operator clicks in Flower or sends with `celery control` is harmless, and the answer says what was done."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

from tests.integration.bench import Bench, Printed, identified, printed_by, until
from tests.integration.flowers import Flower, flower_of
from tests.servers import RedisServer, eventually
from tests.workers import RunningWorker
from worker.consumer.application import celery_app
from worker.consumer.switched_off import SwitchedOff
from worker.delivery.worker_registry import WorkerEntry, WorkerRegistry
from worker.settings import Settings

CELERY = ("-m", "celery", "-A", "worker.app")
QUEUE = "mailgun.default"
DEAD_LETTERS = "mailgun.default.dead_letter"


@pytest.fixture(scope="module")
def flower(the_bench: Bench, worker: RunningWorker) -> Iterator[Flower]:
    with flower_of(the_bench) as running:
        yield running


@pytest.fixture(scope="module")
def app(server: RedisServer) -> Celery:
    """The application as another program of the operator's holds it."""
    key, address = "key", "newsletter@mg.example.com"
    return celery_app(
        Settings(redis_url=server.url, mailgun_api_key=key, mailgun_list_address=address)
    )


def celery(bench: Bench, *arguments: str) -> Printed:
    return printed_by(*CELERY, *arguments, folder=bench.folder, **bench.environment())


def entries(bench: Bench) -> list[dict[str, Any]]:
    """The workers as `status --json` shows them."""
    workers: list[dict[str, Any]] = json.loads(bench.run("status", "--json").out)["workers"]
    return workers


def in_state(bench: Bench, state: str) -> WorkerEntry:
    """The one worker of the bench, once it is in that state."""
    worker_registry = WorkerRegistry(bench.redis, bench.integration)
    found = eventually(
        lambda: next((each for each in worker_registry.alive() if each.state == state), None),
        what=state,
    )
    assert found
    return found


def delivers(bench: Bench, *names: str) -> None:
    """Events are delivered."""
    bench.put(*(identified(f"{name}@example.com", plan="pro") for name in names))
    for name in names:
        assert bench.member(f"{name}@example.com").vars == {"plan": "pro"}


SWITCHED_OFF = [
    ("/api/task/revoke/some-event", {"terminate": "false"}, "pause"),
    ("/api/task/revoke/some-event", {"terminate": "true"}, "forget"),
    ("/api/task/abort/some-event", {}, "pause"),
    ("/api/task/timeout/signal.deliver", {"soft": "5"}, "MAILGUN_READ_TIMEOUT_SECONDS"),
    ("/api/task/rate-limit/signal.deliver", {"ratelimit": "5"}, "MAILGUN_RATE_LIMIT"),
    ("/api/worker/pool/grow/{worker}", {"n": "2"}, "WORKER_CONCURRENCY"),
    ("/api/worker/pool/shrink/{worker}", {"n": "2"}, "WORKER_CONCURRENCY"),
    ("/api/worker/pool/autoscale/{worker}", {"min": "1", "max": "9"}, "WORKER_CONCURRENCY"),
    ("/api/worker/pool/restart/{worker}", {}, "shut the worker down"),
    ("/api/worker/queue/add-consumer/{worker}", {"queue": "something.else"}, "SIGNAL_INTEGRATION"),
    ("/api/worker/queue/add-consumer/{worker}", {"queue": DEAD_LETTERS}, "SIGNAL_INTEGRATION"),
    ("/api/worker/queue/cancel-consumer/{worker}", {"queue": DEAD_LETTERS}, "takes no events"),
]


@pytest.mark.parametrize(("path", "form", "instead"), SWITCHED_OFF)
def test_switched_off_command_in_flower_is_refused_and_changes_nothing(
    bench: Bench,
    flower: Flower,
    worker: RunningWorker,
    path: str,
    form: dict[str, str],
    instead: str,
) -> None:
    name = flower.worker()
    bench.put(*(identified(f"p{number}@example.com") for number in range(30)))
    answer = flower.post(path.format(worker=name), workername=name, **form)
    assert (answer.status_code, "Revoked" in answer.text) == (403, False)
    assert instead in answer.text
    bench.ended()
    assert len(bench.members()) == 30
    assert "Traceback" not in worker.printed()
    assert worker.process.poll() is None


def test_apply_in_flower_sends_nothing_as_no_result_would_come(
    bench: Bench, flower: Flower
) -> None:
    answer = flower.post(
        "/api/task/apply/signal.deliver", {"args": [identified("jane@example.com")]}
    )
    assert answer.status_code == 403
    assert "async-apply" in answer.text
    bench.ended()
    assert bench.members() == {}


@pytest.mark.parametrize("way", ["async-apply", "send-task"])
def test_an_event_sent_through_flower_is_delivered(bench: Bench, flower: Flower, way: str) -> None:
    answer = flower.post(
        f"/api/task/{way}/signal.deliver", {"args": [identified("jane@example.com", plan="pro")]}
    )
    assert answer.status_code == 200
    assert flower.task(answer.json()["task-id"], "SUCCESS")["name"] == "signal.deliver"
    assert bench.member("jane@example.com").vars == {"plan": "pro"}


def test_cancelled_worker_takes_no_events_until_added_again(
    bench: Bench, flower: Flower, worker: RunningWorker
) -> None:
    name = flower.worker()
    answer = flower.post(f"/api/worker/queue/cancel-consumer/{name}", queue=QUEUE)
    assert answer.status_code == 200
    assert "takes no more events" in answer.json()["message"]
    in_state(bench, "cancelled")
    [entry] = entries(bench)
    assert (entry["node"], entry["state"], entry["since"] >= entry["started"]) == (
        name,
        "cancelled",
        True,
    )
    assert "takes no events" in " ".join(bench.run("status").out.split())
    bench.put(identified("jane@example.com"))
    assert flower.post(f"/api/worker/queue/cancel-consumer/{name}", queue=QUEUE).status_code == 403
    assert bench.queued() == 1
    answer = flower.post(f"/api/worker/queue/add-consumer/{name}", queue=QUEUE)
    assert "takes events" in answer.json()["message"]
    assert bench.member("jane@example.com")
    in_state(bench, "consuming")
    assert (
        "already"
        in flower.post(f"/api/worker/queue/add-consumer/{name}", queue=QUEUE).json()["message"]
    )
    assert "Traceback" not in worker.printed()


def test_worker_cancelled_and_added_repeatedly_loses_and_repeats_nothing(
    own: Bench, app: Celery
) -> None:
    own.sandbox.control.latency(5)
    people = [f"p{number}@example.com" for number in range(400)]
    with own.working() as worker:
        for part in range(0, 400, 40):
            own.put(*(identified(each) for each in people[part : part + 40]))
            app.control.cancel_consumer(own.queue)
            app.control.add_consumer(own.queue)
        own.ended()
        assert "without a consumer" not in worker.printed()
    assert set(own.members()) == set(people)
    assert len(own.posts()) == len(people)


def test_a_worker_stays_cancelled_after_it_has_lost_its_connection(own: Bench) -> None:
    with own.working() as worker:
        assert celery(own, "control", "cancel_consumer", own.queue).status == 0
        in_state(own, "cancelled")
        own.redis.client_kill_filter(_type="pubsub")
        own.redis.client_kill_filter(_type="normal", skipme=True)
        until(lambda: "onnection to broker lost" in worker.printed(), "a lost connection")
        own.put(identified("jane@example.com"))
        until(lambda: celery(own, "inspect", "ping").status == 0, "an answer")
        in_state(own, "cancelled")
        assert own.queued() == 1
        assert celery(own, "control", "add_consumer", own.queue).status == 0
        assert own.member("jane@example.com")


def test_shutdown_in_flower_finishes_events_and_leaves_the_registry(own: Bench) -> None:
    own.sandbox.control.latency(3000)
    worker = own.worker().ready()
    with flower_of(own) as flower:
        own.redis.delete(own.queue)
        own.put(*(identified(f"p{number}@example.com") for number in range(20)))
        until(own.unacknowledged, "events in hand")
        name = next(each["node"] for each in entries(own))
        assert flower.post(f"/api/worker/shutdown/{name}").status_code == 200
        in_state(own, "stopping")
    assert worker.process.wait(60) == 0
    assert own.unacknowledged() == 0
    assert own.delivered() + own.queued() == 20
    assert len(own.posts()) == own.delivered()
    assert entries(own) == []
    assert "Traceback" not in worker.printed()


COMMANDS = [
    ("revoke some-event", "signal-mailgun pause"),
    ("terminate KILL some-event", "signal-mailgun pause"),
    ("pool_shrink two", "WORKER_CONCURRENCY"),
    ("add_consumer something.else", "SIGNAL_INTEGRATION"),
    ("cancel_consumer something.else", "takes no events"),
]
BROADCASTS: list[tuple[str, dict[str, Any], str]] = [
    ("revoke_by_stamped_headers", {"headers": {"a": "b"}}, "signal-mailgun pause"),
    ("rate_limit", {"task_name": "signal.deliver", "rate_limit": "5/m"}, "MAILGUN_RATE_LIMIT"),
    (
        "time_limit",
        {"task_name": "signal.deliver", "soft": 5, "hard": 6},
        "MAILGUN_READ_TIMEOUT_SECONDS",
    ),
    ("pool_grow", {"n": 2}, "WORKER_CONCURRENCY"),
    ("autoscale", {"max": 9, "min": 1}, "WORKER_CONCURRENCY"),
    ("pool_restart", {"modules": ["os"], "reload": True}, "shut the worker down"),
    ("election", {"id": "x", "topic": "y"}, "nothing to elect"),
    (
        "add_consumer",
        {"queue": DEAD_LETTERS, "exchange": "e", "routing_key": "r"},
        "SIGNAL_INTEGRATION",
    ),
    ("no_such_command", {"a": 1}, "no such command"),
    ("ping", {"queue": 1}, "pong"),
]


@pytest.mark.parametrize(("command", "arguments", "instead"), BROADCASTS)
def test_control_command_reply_names_the_result_or_the_alternative(
    bench: Bench,
    worker: RunningWorker,
    app: Celery,
    command: str,
    arguments: dict[str, Any],
    instead: str,
) -> None:
    [reply] = app.control.broadcast(command, arguments, reply=True, limit=1, timeout=10)
    [said] = reply.values()
    assert instead in said.get("error", said.get("ok"))
    delivers(bench, "jane")
    assert "Traceback" not in worker.printed()


@pytest.mark.parametrize(
    "ask",
    [
        lambda app: app.control.revoke("some-event"),
        lambda app: app.control.terminate("some-event"),
        lambda app: app.AsyncResult("some-event").revoke(),
        lambda app: app.control.pool_grow(2),
        lambda app: app.control.purge(),
        lambda app: app.control.discard_all(),
    ],
)
def test_switched_off_command_without_a_reply_raises(
    app: Celery, ask: Callable[[Celery], object]
) -> None:
    with pytest.raises(SwitchedOff, match=r"signal-mailgun pause|WORKER_CONCURRENCY"):
        ask(app)


@pytest.mark.parametrize(("command", "instead"), COMMANDS)
def test_switched_off_command_of_celery_control_names_the_alternative(
    bench: Bench, worker: RunningWorker, command: str, instead: str
) -> None:
    shown = celery(bench, "control", *command.split())
    assert instead in " ".join(shown.out.split())
    assert "OK" not in shown.out
    delivers(bench, "jane")
    assert "Traceback" not in worker.printed() + shown.everything


@pytest.mark.parametrize("command", ["disable_events", "heartbeat", "enable_events"])
def test_harmless_command_of_celery_control_still_works(
    bench: Bench, worker: RunningWorker, command: str
) -> None:
    shown = celery(bench, "control", command)
    assert shown.status == 0
    assert "ERROR" not in shown.out
    delivers(bench, "jane")


INSPECTED = [
    *(
        "clock",
        "stats",
        "conf",
        "report",
        "registered",
        "reserved",
        "scheduled",
        "revoked",
        "active_queues",
        "active",
    ),
    *("query_task", "memsample", "memdump", "objgraph", "hello"),
]


@pytest.mark.parametrize("command", INSPECTED)
def test_inspecting_a_worker_ends_nothing_and_shows_no_secret(
    bench: Bench, worker: RunningWorker, app: Celery, command: str
) -> None:
    arguments = (
        {"ids": ["x"]}
        if command == "query_task"
        else {"from_node": "x"}
        if command == "hello"
        else {}
    )
    [reply] = app.control.broadcast(command, arguments, reply=True, limit=1, timeout=10)
    assert "sandbox-key" not in str(reply)
    assert command != "stats" or "transport_options" not in str(reply)
    delivers(bench, "jane")
    assert "Traceback" not in worker.printed()


def test_inspect_active_shows_the_events_in_flight(own: Bench, app: Celery) -> None:
    own.sandbox.control.latency(4000)
    with own.working():
        own.put({**identified("jane@example.com"), "messageId": "m-jane"})
        until(own.unacknowledged, "an event in hand")
        worker = [in_state(own, "consuming").node]
        asked = app.control.inspect(destination=worker, timeout=10)
        [[shown]] = asked.active().values()
        assert (shown["id"], shown["name"], shown["args"]) == (
            "m-jane",
            "signal.deliver",
            ["identify"],
        )
        assert "jane@example.com" not in str(shown)
        [found] = asked.query_task("m-jane", "other").values()
        assert found["m-jane"][0] == "active"
        assert "other" not in found


PURGES = [
    ("purge", "--force"),
    ("purge", "--force", "-Q", DEAD_LETTERS),
    ("amqp", "queue.purge", QUEUE),
]


@pytest.mark.parametrize("command", PURGES)
def test_celerys_purge_erases_nothing_and_names_the_alternative(
    own: Bench, command: tuple[str, ...]
) -> None:
    own.put(identified("jane@example.com"))
    own.redis.lpush(DEAD_LETTERS, "a dead letter")
    shown = celery(
        own, *(each.replace(QUEUE, own.queue) if each == QUEUE else each for each in command)
    )
    assert "signal-mailgun pause" in shown.everything
    assert "Traceback" not in shown.everything
    assert (own.queued(), own.redis.llen(DEAD_LETTERS)) == (1, 1)


JUNK: list[Any] = [
    "no JSON at all",
    b"\xff\xfe\x00",
    "[]",
    "17",
    "null",
    "{}",
    {"body": "e30=", "properties": {}},
    {"body": None, "properties": None},
    {"body": "not base64!"},
    {"headers": "no headers"},
    {"headers": {"clock": "yesterday"}},
    {"content-type": "application/x-python-serialize"},
    {"content-encoding": "klingon"},
    {"properties": {"body_encoding": "rot13", "delivery_tag": "t", "delivery_info": {}}},
]
BODIES: list[Any] = [
    {},
    [],
    "shutdown",
    {"method": 5},
    {"method": ["ping"]},
    {"method": "ping", "arguments": ["not", "named"]},
    {"method": "ping", "arguments": "text"},
    {"method": "ping", "destination": 7},
    {"method": "ping", "destination": "celery@host"},
    {"method": "ping", "pattern": "(", "matcher": "pcre"},
    {"method": "ping", "pattern": "x", "matcher": "unheard-of"},
    {"method": "ping", "reply_to": "me"},
    {"method": "ping", "reply_to": {"exchange": "reply.celery.pidbox"}},
    {"method": "no_such_command"},
    {"method": "no_such_command", "arguments": {"a": 1}},
    {"method": "__class__"},
    {"method": "enable_events", "arguments": {"unknown": 1}},
    {"method": "add_consumer"},
    {"method": "add_consumer", "arguments": {"queue": None}},
    {"method": "add_consumer", "arguments": {"queue": {"a": ["b"]}, "exchange": 5}},
    {"method": "cancel_consumer", "arguments": {"queue": 17}},
    {"method": "query_task", "arguments": {"ids": 5}},
    {"method": "query_task", "arguments": {}},
    {"method": "revoke", "arguments": {"task_id": {"a": 1}}},
    {"method": "registered", "arguments": {"taskinfoitems": 7}},
    {"method": "hello", "arguments": {}},
    {"method": "hello", "arguments": {"from_node": 1, "revoked": 5}},
    {"method": "memdump", "arguments": {"samples": "x"}},
    {"method": "conf", "arguments": {"with_defaults": {}}},
]


def published(body: Any = None, **fields: Any) -> str:
    """A message on the channel of commands, as kombu publishes it but for these fields."""
    whole = {
        "body": b64encode(json.dumps(body if body is not None else {"method": "ping"}).encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"clock": 1, "expires": 0},
        "properties": {"delivery_tag": "t", "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""},
                       "body_encoding": "base64", "delivery_mode": 1, "priority": 0},
    }  # fmt: skip
    return json.dumps({**whole, **fields})


def test_junk_on_the_control_channel_ends_no_worker(own: Bench) -> None:
    with own.working() as worker:
        before = len(worker.printed())
        for junk in JUNK:
            own.redis.publish(
                "/0.celery.pidbox", published(**junk) if isinstance(junk, dict) else junk
            )
            assert worker.process.poll() is None
        for body in BODIES:
            own.redis.publish("/0.celery.pidbox", published(body))
        # What is right is still answered, and nothing before it waits in a buffer.
        own.redis.publish(
            "/0.celery.pidbox", published({"method": "shutdown", "destination": ["another@host"]})
        )
        delivers(own, "jane")
        assert celery(own, "inspect", "ping").status == 0
        printed = worker.printed()[before:]
        assert printed.count("no command of Celery's") >= len(JUNK)
        assert "Traceback" not in printed
        assert "onnection to broker lost" not in printed
        assert [
            line for line in printed.splitlines() if line.strip() and not line.startswith("{")
        ] == []
        assert in_state(own, "consuming")
