"""Every way of putting an event on the queue ends at Mailgun, and all of them leave the same message on Redis."""

import base64
import json
from typing import Any

import pytest
from celery import Celery

from tests.integration.bench import Bench, Printed, identified, printed_by
from worker.queue.codec import encode
from worker.queue.message import Message

JANE = "jane@example.com"
EVENT = {**identified(JANE, plan="pro"), "messageId": "m-1"}


def program(bench: Bench, text: str, **settings: str) -> Printed:
    """The Python program to its end, with REDIS_URL and no other setting."""
    # With -u it is not preloaded: it has only the modules that it imports itself.
    arguments = "-u", "-c", text
    return printed_by(*arguments, folder=bench.folder, REDIS_URL=bench.server.url, **settings)


def test_enqueue_with_redis_url_alone_returns_the_events_own_id(bench: Bench) -> None:
    ended = program(bench, f"import worker; print(worker.enqueue({EVENT!r}))")
    assert (ended.status, ended.out, ended.err) == (0, "m-1\n", "")
    assert bench.member(JANE).vars == {"plan": "pro"}


def test_enqueue_of_an_event_without_a_usable_id_returns_a_new_one(own: Bench) -> None:
    text = (
        "import worker\n"
        f"for id in (None, '', 'jane@example.com', 'a b', 5): print(worker.enqueue({{**{EVENT!r}, 'messageId': id}}))"
    )
    ended = program(own, text, SIGNAL_INTEGRATION=own.integration)
    ids = ended.out.split()
    assert len(set(ids)) == 5
    assert "@" not in ended.out
    with own.working():
        own.ended()
    assert own.letters() == []


def test_enqueue_accepts_event_models(bench: Bench) -> None:
    text = f"import worker; worker.enqueue(worker.SignalEvent(type='identify', traits={EVENT['traits']!r}))"
    assert program(bench, text).status == 0
    assert bench.member(JANE).vars == {"plan": "pro"}


def test_enqueue_of_a_malformed_event_raises_and_enqueues_nothing(own: Bench) -> None:
    text = "import worker\ntry: worker.enqueue({'traits': {}})\nexcept worker.MalformedEvent as error: print(error)"
    ended = program(own, text, SIGNAL_INTEGRATION=own.integration)
    assert (ended.status, own.queued()) == (0, 0)
    assert "type" in ended.out


def test_enqueue_many_reads_any_number_of_events_lazily(own: Bench) -> None:
    text = (
        "import worker\n"
        "events = ({'type': 'identify', 'traits': {'email': f'p{n}@example.com'}} for n in range(1203))\n"
        "print(worker.enqueue_many(events))"
    )
    ended = program(own, text, SIGNAL_INTEGRATION=own.integration)
    assert (ended.status, ended.out) == (0, "1203\n")
    assert (len(own.queued_events()), own.queued()) == (1203, 13)


def test_enqueue_many_names_the_malformed_event_and_keeps_earlier_ones(own: Bench) -> None:
    text = (
        "import worker\n"
        f"events = [{EVENT!r}] * 600 + [{{}}] + [{EVENT!r}]\n"
        "try: worker.enqueue_many(iter(events))\n"
        "except worker.MalformedEvent as error: print(error)"
    )
    ended = program(own, text, SIGNAL_INTEGRATION=own.integration)
    assert ended.out.startswith("event 601: ")
    assert len(own.queued_events()) == 600


def test_events_are_delivered_in_the_order_of_the_queue(own: Bench) -> None:
    own.put(*(identified(f"p{number}@example.com") for number in range(10)))
    with own.working(WORKER_CONCURRENCY="1"):
        own.ended()
    assert [each.address for each in own.posts()] == [
        f"p{number}@example.com" for number in range(10)
    ]


def test_a_plain_celery_client_without_this_package_can_send(bench: Bench) -> None:
    text = (
        "import sys\n"
        "from celery import Celery\n"
        f"client = Celery(broker={bench.server.url!r})\n"
        f"client.send_task('signal.deliver', [{EVENT!r}], queue='mailgun.default')\n"
        "assert not any(name.partition('.')[0] == 'worker' for name in sys.modules)"
    )
    assert program(bench, text).err == ""
    assert bench.member(JANE).vars == {"plan": "pro"}
    bench.ended()


@pytest.mark.parametrize(
    "options",
    [
        {"countdown": 3600},
        {"expires": 0.001},
        {"retry": True, "compression": "zlib"},
        {"serializer": "pickle"},
        {"task_id": "mine"},
        {"time_limit": 1, "soft_time_limit": 1},
        {"link": {"task": "other.task", "args": [], "kwargs": {}, "options": {}}},
        {"headers": {"x": "y"}, "shadow": "z"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_event_with_any_celery_option_is_delivered_or_a_dead_letter(
    bench: Bench, options: dict[str, Any]
) -> None:
    Celery(broker=bench.server.url).send_task(
        "signal.deliver", [EVENT], queue="mailgun.default", **options
    )
    bench.ended()
    assert len(bench.members()) + len(bench.letters()) == 1


def test_event_is_shown_by_its_id_and_not_by_its_arguments(own: Bench) -> None:
    own.put(EVENT)
    headers = json.loads(own.redis.lindex(own.queue, 0))["headers"]
    assert (headers["id"], headers["argsrepr"], headers["kwargsrepr"]) == ("m-1", "identify", "{}")


def test_the_bare_message_is_built_as_celerys_own_client_builds_it(own: Bench) -> None:
    client = Celery(broker=own.server.url)
    client.send_task("signal.deliver", [EVENT], queue=own.queue, task_id="m-1")
    own.put_raw(encode(Message(id="m-1", args=(EVENT,)), own.queue))
    ours, celerys = (json.loads(own.redis.lindex(own.queue, place)) for place in (0, 1))
    assert set(ours) == set(celerys)
    assert set(ours["headers"]) == {*celerys["headers"], "signal"}
    assert set(ours["properties"]) == set(celerys["properties"])
    assert json.loads(base64.b64decode(ours["body"])) == json.loads(
        base64.b64decode(celerys["body"])
    )
    told = ("argsrepr", "origin", "ignore_result", "signal")
    assert {k: v for k, v in ours["headers"].items() if k not in told} == {
        k: v for k, v in celerys["headers"].items() if k not in told
    }
    for name in ("body_encoding", "correlation_id", "delivery_mode", "priority", "delivery_info"):
        assert ours["properties"][name] == celerys["properties"][name], name
    for name in ("content-type", "content-encoding"):
        assert ours[name] == celerys[name], name


def test_enqueue_with_an_unreachable_redis_raises(own: Bench) -> None:
    text = f"import worker, redis\ntry: worker.enqueue({EVENT!r})\nexcept redis.RedisError: print('told')"
    ended = printed_by("-c", text, folder=own.folder, REDIS_URL="redis://127.0.0.1:1/0")
    assert (ended.status, ended.out) == (0, "told\n")


def test_long_text_in_any_script_is_delivered_if_it_fits_a_message(own: Bench) -> None:
    """Its letters are not escaped on the way, nor when it has to wait."""
    name = "Zoë ж \U0001f600 " * 3000  # 39,000 bytes; escaped and in base64 nearly twice the limit
    own.sandbox.control.add_fault("status", status=503, count=1)
    event = {**identified(JANE, name="Zoë", plan="pro"), "context": {"library": name}}
    printed = own.run(
        "send",
        "-",
        given=f"{json.dumps(event)}\n{json.dumps({**event, 'more': name})}\n",
        MESSAGE_MAX_BYTES="65536",
    )
    assert printed.status == 1
    assert printed.out == f"1 enqueued on {own.queue}, 1 bad lines left out\n"
    assert "line 2: the event is too large" in printed.err
    with own.working(MESSAGE_MAX_BYTES="65536"):
        own.ended()
    assert own.member(JANE).name == "Zoë"
    assert own.redis.llen(f"{own.queue}.dead_letter") == 0
