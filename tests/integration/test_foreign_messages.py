"""What other Celery clients put on the queue, and what is no message: delivered, or a dead letter that says why and is whole.

The folder `foreign` holds one message a file, byte for byte. Those that are named after a client are built as its source builds
them: gocelery (message.go), celery.node (src/app/client.ts), node-celery (protocol.js, lib/redis/RedisBroker.js), celery-php
(src/RedisConnector.php), celery-for-php (src/Messaging/MessageBuilder.php), rusty-celery (src/protocol/mod.rs).
"""

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
from celery import Celery
from kombu.compression import encoders

from tests.integration.bench import Bench, identified
from tests.servers import eventually
from tests.workers import RunningWorker
from worker.queue.dead_letter import DeadLetter
from worker.redis_client.raw_text import bytes_of

FOLDER = Path(__file__).parent / "foreign"

# file -> the members' names at example.com, or where that has a dot their addresses; and the reasons of dead letters
DELIVERED = {
    "gocelery.json": ["go"],
    "celery.node.json": ["celery-node"],
    "celery.node-protocol-1.json": ["celery-node-1"],
    "node-celery.json": ["node-celery"],
    "celery-php.json": ["celery-php"],
    "celery-php-empty-arrays.json": ["celery-php-arrays"],
    "celery-for-php.json": ["celery-for-php"],
    "celery-for-php-protocol-1.json": ["celery-for-php-1", "celery-for-php-2"],
    "rusty-celery.json": ["rusty-celery"],
    "rusty-celery-bundle.json": ["rusty-celery-1", "rusty-celery-2"],
    "headers-beside-protocol-1.json": ["headers-and-1"],
    "headers-null.json": ["headers-null"],
    "properties-missing.json": ["properties-missing"],
    "body-object.json": ["body-object"],
    "no-id.json": ["no-id"],
    "args-as-json-text.json": ["args-text"],
    "event-as-json-text.json": ["event-text"],
    "base64-in-lines.json": ["base64-lines"],
    "utf-16.json": ["utf-16"],
    "latin-1-named.json": ["latin-1"],
    "gzip-file-format.json": ["gzip-file"],
    "events-999999999999.json": ["events-1", "events-2"],
    "signal-events-0.json": ["r@x.com"],
    "enqueued-in-2099.json": ["ahead"],
    "enqueued-before-1970.json": ["before"],
    "empty-bundle.json": [],
}
DIED = {
    "latin-1-unnamed.json": ("unsupported_encoding", "the body is not UTF-8 text"),
    "latin1-plain-body.bin": ("unsupported_encoding", "the message is not UTF-8 text"),
    "rusty-celery-msgpack.json": ("unsupported_encoding", "the body is not JSON but msgpack"),
    "pickle.json": ("unsupported_encoding", "the body is not JSON but pickle"),
    "snappy.json": ("unsupported_encoding", "compressed with 'snappy'"),
    "brotli.json": ("unsupported_encoding", "compressed with 'application/x-brotli'"),
    "bomb.json": ("too_large", "more than 4194304 bytes when decompressed"),
    "cut-off-gzip.json": ("unsupported_encoding", "said to be compressed"),
    "task-deliver.json": ("unknown_task", "no task is called 'deliver'"),
    "task-with-module.json": ("unknown_task", "no task is called 'tasks.signal.deliver'"),
    "task-upper-case.json": ("unknown_task", "no task is called 'signal.Deliver'"),
    "task-bundle-unknown.json": ("unknown_task", "no task is called 'signal.deliverMany'"),
    "task-missing.json": ("unknown_task", "names no task"),
    "event-alone.json": ("unreadable_message", "an event without a Celery message around it"),
    "machinery.json": ("unreadable_message", "a JSON object without a `body`"),
    "binary-message.bin": ("unreadable_message", "bytes that are no UTF-8 text"),
    "unending-string.bin": ("unreadable_message", "bytes that are no UTF-8 text"),
    "nul-bytes.bin": ("unreadable_message", "text, but not JSON"),
}
# file -> the members, and for each dead letter what its event's place is and what it says
MIXED = {
    "bundle-one-5000-digit-int.json": (
        ["b19@x.com", "b20@x.com"],
        {"bundle-1.1": "a number of more digits"},
    ),
    "bundle-one-10000-deep.json": (["deep-1", "deep-2"], {"deep.1": "nested too deep"}),
    "bundle-many-bad.json": (
        ["bad-1", "bad-2", "nan", "twice", "sur"],
        {
            "bad.1": "nested more than 100 deep",
            "bad.2": "nested too deep",
            "bad.3": "a number of more digits",
            "bad.4": "not a string",
            "bad.5": "not null",
            "bad.6": "not a number",
        },
    ),
}


def raw(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def addresses(names: list[str]) -> set[str]:
    return {each if "@" in each else f"{each}@example.com" for each in names}


def original(buried: DeadLetter) -> bytes:
    assert buried.message.original is not None
    return bytes_of(buried.message.original)


def test_every_foreign_message_file_has_an_expected_outcome() -> None:
    assert sorted([*DELIVERED, *DIED, *MIXED]) == sorted(each.name for each in FOLDER.iterdir())


@pytest.mark.parametrize("name", DELIVERED)
def test_readable_foreign_message_is_delivered(bench: Bench, name: str) -> None:
    bench.put_raw(raw(name))
    bench.ended()
    assert set(bench.members()) == addresses(DELIVERED[name])
    assert all(each.name in ("Zoë", "Good", "") for each in bench.members().values())
    assert bench.letters() == []


@pytest.mark.parametrize("name", DIED)
def test_unreadable_foreign_message_is_one_dead_letter_with_its_reason(
    bench: Bench, name: str
) -> None:
    reason, says = DIED[name]
    bench.put_raw(raw(name))
    buried = bench.the_dead_letter()
    assert buried.letter.reason == reason
    assert says in buried.letter.answer
    assert "@" not in buried.letter.answer
    assert original(buried) == raw(name)
    assert bench.requests() == []
    bench.counted(f"dead letter: {reason}")


@pytest.mark.parametrize("name", MIXED)
def test_unreadable_event_in_a_bundle_does_not_bury_its_neighbours(bench: Bench, name: str) -> None:
    members, letters = MIXED[name]
    bench.put_raw(raw(name))
    bench.ended()
    assert set(bench.members()) == addresses(members)
    found = {each.message.id: each.letter for each in bench.letters()}
    assert found.keys() == letters.keys()
    assert {each.reason for each in found.values()} == {"malformed_event"}
    assert [name for name, says in letters.items() if says not in found[name].answer] == []


def test_events_between_foreign_messages_are_delivered_and_log_is_clean(
    bench: Bench, worker: RunningWorker
) -> None:
    for name in (*DELIVERED, *DIED, *MIXED):
        bench.put_raw(raw(name))
        bench.put(identified(f"between.{name}@example.com"))
    bench.ended()
    assert len([each for each in bench.members() if each.startswith("between.")]) == len(
        [*DELIVERED, *DIED, *MIXED]
    )
    printed = worker.printed()
    assert "Traceback" not in printed
    assert "example.com" not in printed.replace("mg.example.com", "")


@pytest.mark.parametrize("name", [*DIED])
def test_replay_puts_a_foreign_message_back_byte_for_byte(own: Bench, name: str) -> None:
    own.put_raw(raw(name))
    with own.working():
        own.the_dead_letter()
    ended = own.run("dead-letters", "replay", "--yes")
    assert ended.out.endswith(f"1 replayed to {own.queue}\n"), ended
    with redis.Redis.from_url(own.server.url) as client:
        assert client.lrange(own.queue, 0, -1) == [raw(name)]


def test_events_exported_from_unreadable_messages_can_be_sent_again(own: Bench) -> None:
    names = (
        "task-deliver.json",
        "task-bundle-unknown.json",
        "event-alone.json",
        "latin1-plain-body.bin",
    )
    own.put_raw(*map(raw, names))
    with own.working():
        own.ended()
        exported = own.run("dead-letters", "export")
        assert "1 left out: no events (unsupported_encoding)" in exported.err
        assert own.run("send", "-", given=exported.out).status == 0
        own.ended()
    sent = ["task-deliver", "task-bundle-1", "task-bundle-2", "event-alone"]
    assert set(own.members()) == addresses(sent)


def test_raw_bytes_of_a_message_can_be_exported_and_put_back_by_hand(own: Bench) -> None:
    names = ("binary-message.bin", "latin1-plain-body.bin", "task-deliver.json")
    own.put_raw(*map(raw, names))
    with own.working():
        own.ended()
    lines = own.run("dead-letters", "export", "--raw").out.split()
    assert sorted(base64.b64decode(each) for each in lines) == sorted(raw(each) for each in names)
    shown = own.run("dead-letters", "show", "lat-1")
    assert "reason     unsupported_encoding" in shown.out
    assert "Ren\\xe9" in shown.out
    assert json.loads(own.run("dead-letters", "show", "lat-1", "--json").out)["original"] in lines


def test_dead_letter_of_an_unknown_task_moved_by_hand_stays_unchanged(
    own: Bench,
) -> None:
    own.put_raw(raw("task-deliver.json"))
    with own.working():
        own.the_dead_letter()
        own.redis.rpoplpush(own.dead_letters.key, own.queue)
        assert original(own.the_dead_letter()) == raw("task-deliver.json")


COMMANDS = (
    ("status", "--json"),
    ("explain", "lat-1"),
    ("explain", "go@example.com"),
    ("dead-letters", "list"),
    ("dead-letters", "list", "--json"),
    ("dead-letters", "list", "--email", "go@example.com"),
    ("dead-letters", "show", "?"),
    ("dead-letters", "show", "?", "--json"),
    ("dead-letters", "show", "bundle-1"),
    ("dead-letters", "show", "bundle-1", "--json"),
    ("delayed", "show", "bundle-1"),
    ("delayed", "show", "bundle-1", "--json"),
    ("dead-letters", "export"),
    ("dead-letters", "export", "--raw"),
    ("dead-letters", "replay", "--dry-run"),
    ("forget", "jane@example.com", "--yes"),
)


def test_command_works_with_foreign_messages_in_every_queue(own: Bench) -> None:
    everything = [raw(name) for name in (*DELIVERED, *DIED, *MIXED)]
    with redis.Redis.from_url(own.server.url) as client:
        client.lpush(own.queue, *everything)
        client.lpush(f"{own.queue}:3", *everything)
        client.sadd(f"signal:{own.integration}:priority_lists", f"{own.queue}:3")
        client.lpush(own.dead_letters.key, *everything)
        client.zadd(own.delay_queue.key, dict.fromkeys(everything, 4e9))
        client.hset(
            f"signal:{own.integration}:unacked",
            mapping={f"t{n}": each for n, each in enumerate(everything)},
        )
        for command in COMMANDS:
            ended = own.run(*command)
            assert ended.status == 0, (command, ended.err)
            assert "a bug" not in " ".join(ended.everything.split()), command
            assert "Traceback" not in ended.everything, command
        assert json.loads(own.run("status", "--json").out)["queued"] == 2 * len(everything)
        assert client.lrange(own.queue, 0, -1)[::-1][: len(everything)] == everything
        ended = own.run("dead-letters", "purge", "--yes")
        assert ended.out.endswith(f"{len(everything)} purged\n"), ended
        assert client.llen(own.dead_letters.key) == 0


def test_forget_erases_a_member_from_unreadable_messages_too(own: Bench) -> None:
    names = (
        "gocelery.json",
        "task-bundle-unknown.json",
        "gzip-file-format.json",
        "rusty-celery.json",
        "event-alone.json",
    )
    own.put_raw(*map(raw, names))
    own.redis.lpush(own.dead_letters.key, *map(raw, names))
    own.redis.lpush(f"{own.queue}\x06\x163", raw("celery-php.json"))
    for name in ("go", "task-bundle-1", "gzip-file", "rusty-celery", "event-alone"):
        found = json.loads(own.run("forget", f"{name}@example.com", "--yes", "--json").out)
        assert (found["queue"], found["dead letters"]) == (1, 1), name
    assert (
        json.loads(own.run("forget", "celery-php@example.com", "--yes", "--json").out)["queue"] == 1
    )
    with own.working():
        own.ended()
    assert own.members() == {}
    exported = own.run("dead-letters", "export").out.split("\n")
    assert {json.loads(each)["traits"]["email"] for each in exported if each} == {
        "task-bundle-2@example.com"
    }


# -- Celery's own producers, as they can be set ----------------------------------------------------------------------

EVENT = {**identified("jane@example.com", plan="pro"), "messageId": "m-1"}


def sent(
    bench: Bench,
    event: Any = EVENT,
    *,
    task: str = "signal.deliver",
    settings: dict[str, Any],
    **options: Any,
) -> None:
    """A real Celery producer with these settings puts the event on the queue."""
    client = Celery(broker=bench.server.url)
    client.conf.update(settings)
    client.send_task(task, [event], queue=bench.queue, **options)
    client.close()


def assert_delivered(bench: Bench) -> None:
    assert bench.member("jane@example.com").vars["plan"] == "pro"
    bench.ended()
    assert bench.letters() == []


@pytest.mark.parametrize("compression", [*encoders(), "gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("protocol", [1, 2])
def test_every_compression_of_celery_is_read(bench: Bench, compression: str, protocol: int) -> None:
    sent(bench, settings={"task_protocol": protocol}, compression=compression)
    assert_delivered(bench)


@pytest.mark.parametrize("task", ["signal.deliver", "signal.deliver_many"])
@pytest.mark.parametrize("protocol", [1, 2])
def test_both_protocols_are_read(bench: Bench, task: str, protocol: int) -> None:
    event = [EVENT] if task.endswith("many") else EVENT
    sent(bench, event, task=task, settings={"task_protocol": protocol, "task_compression": "gzip"})
    assert_delivered(bench)


@pytest.mark.parametrize(
    "options",
    [
        {"countdown": 3600},
        {"expires": 0.001},
        {
            "link": {"task": "other.task", "args": [], "kwargs": {}, "options": {}},
            "chain": [{"task": "next"}],
        },
        {"headers": {"x": "y"}, "shadow": "z"},
        {"kwargs": {"event": EVENT}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_a_celery_producer_lose_no_event(bench: Bench, options: dict[str, Any]) -> None:
    args = [] if "kwargs" in options else [EVENT]
    Celery(broker=bench.server.url).send_task("signal.deliver", args, queue=bench.queue, **options)
    assert_delivered(bench)


@pytest.mark.parametrize("serializer", ["pickle", "yaml"])
@pytest.mark.parametrize("protocol", [1, 2])
def test_dead_letter_of_another_serializer_names_it(
    bench: Bench, serializer: str, protocol: int
) -> None:
    sent(bench, settings={"task_protocol": protocol}, serializer=serializer)
    buried = bench.the_dead_letter()
    assert buried.letter.reason == "unsupported_encoding"
    assert f"not JSON but {serializer}" in buried.letter.answer


def test_python_types_in_an_event_are_read_as_their_values(bench: Bench) -> None:
    event = {
        "type": "track",
        "event": "Order Completed",
        "timestamp": datetime(2024, 5, 1, tzinfo=UTC),
        "traits": {"email": "jane@example.com"},
        "properties": {"order_id": UUID(int=7), "revenue": Decimal("12.5"), "currency": "EUR"},
    }
    sent(bench, event, settings={})
    found = bench.member("jane@example.com").vars
    assert (found["last_order_id"], found["last_order_revenue"]) == (str(UUID(int=7)), 12.5)


@pytest.mark.parametrize("sep", [":", "\x06\x16", "::", "|"])
@pytest.mark.parametrize("steps", [[0, 3, 6, 9], list(range(10)), [0, 9]], ids=str)
def test_priority_message_is_delivered_from_lists_of_any_name(
    own: Bench, sep: str, steps: list[int]
) -> None:
    options = {
        "broker_transport_options": {
            "sep": sep,
            "priority_steps": steps,
            "queue_order_strategy": "priority",
        }
    }
    for number, priority in enumerate((0, 3, 9, 255)):
        sent(own, identified(f"p{number}@example.com"), settings=options, priority=priority)
    assert len(own.redis.keys(f"{own.queue}*")) > 1
    with own.working():
        eventually(lambda: own.delivered() == 4, what="all four")
        own.ended()


def test_priority_messages_count_as_queued_for_their_integration_alone(
    own: Bench,
) -> None:
    options = {"broker_transport_options": {"sep": ":", "priority_steps": [0, 5]}}
    for number in range(3):
        sent(own, identified(f"p{number}@example.com"), settings=options, priority=5)
    own.redis.lpush(f"{own.queue}2:5", "another integration's")
    own.redis.lpush(f"{own.queue}.dead_letter:5", "no event")
    with own.working(WORKER_CONCURRENCY="1"):
        eventually(lambda: own.delivered() == 3, what="all three")
        own.ended()
    assert [each.address for each in own.posts()] == [
        f"p{number}@example.com" for number in range(3)
    ]
    sent(own, identified("later@example.com"), settings=options, priority=5)
    assert json.loads(own.run("status", "--json").out)["queued"] == 1
    assert (own.redis.llen(f"{own.queue}2:5"), own.redis.llen(f"{own.queue}.dead_letter:5")) == (
        1,
        1,
    )


# -- what a message says of itself -----------------------------------------------------------------------------------


def with_signal(id: str, event: Any, signal: dict[str, Any], task: str = "signal.deliver") -> bytes:
    body = json.dumps([[event], {}, None])
    return json.dumps(
        {"body": body, "headers": {"task": task, "id": id, "signal": signal}}
    ).encode()


def test_event_dated_years_ahead_freezes_no_field(bench: Bench) -> None:
    bench.put_raw(
        with_signal("ahead", identified("jane@example.com", plan="old"), {"enqueued_at": 4e9})
    )
    assert bench.member("jane@example.com").vars["plan"] == "old"
    bench.put(identified("jane@example.com", plan="new"))
    eventually(
        lambda: bench.members()["jane@example.com"].vars["plan"] == "new", what="the newer plan"
    )


def test_retry_window_that_starts_years_ahead_still_ends(own: Bench) -> None:
    own.sandbox.control.add_fault("status", status=503)
    ahead = {"enqueued_at": 4e9, "patience_from": 4e9}
    own.put_raw(with_signal("ahead", identified("jane@example.com"), ahead))
    with own.working(RETRY_MAX_AGE_HOURS="0.0003", RETRY_MAX_ATTEMPTS="1000"):
        assert own.the_dead_letter().letter.reason == "retries_exhausted"


@pytest.mark.parametrize("events", [0, -1, 10**12, 1e400, "many", None])
def test_wrong_event_count_in_a_header_does_not_change_the_rate(own: Bench, events: Any) -> None:
    for number in range(40):
        own.put_raw(
            with_signal(f"e{number}", identified(f"p{number}@example.com"), {"events": events})
        )
    with own.working(MAILGUN_RATE_LIMIT="600", MAILGUN_MEMBER_STATE="ledger"):
        eventually(lambda: own.delivered() == 40, 60, what="all forty")
        own.ended()
