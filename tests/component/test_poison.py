"""What no worker takes is put aside in Redis, whole: too large messages, and those that workers do not survive."""

import base64
import json
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from tests.integrations import OwnIntegration, rules_with
from worker.consumer.atomic_fetch import FETCH
from worker.queue.codec import encode
from worker.queue.dead_letter import again
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.in_flight import put_back, restore_overdue
from worker.queue.intake import events_read, parse_raw
from worker.queue.message import DELIVER_MANY, TASK, AttemptRecord, Limits, Message
from worker.queue.poison import limits_for_script
from worker.redis_client.keys import Keys
from worker.redis_client.raw_text import bytes_of

LIMITS = Limits(bytes=100_000, events=100, returns=3)
EVENT = {"type": "identify", "traits": {"email": "jane@example.com"}}


class Fetched(NamedTuple):
    """What the script gave."""

    wait: float
    messages: list[str]
    tags: list[str]
    aside: list[str]


def fetch(
    own: OwnIntegration, *, room: int = 100, in_hand: int = 0, bytes_left: int = LIMITS.bytes
) -> Fetched:
    """What a worker with these limits gets now."""
    its = Keys(own.name)
    letters = its.dead_letters
    keys = (*own.gate().keys, own.queue, *own.unacked_keys, f"signal:{own.name}:fetched_at")
    aside = (letters, its.dead_letter_counts)
    tag = f"{own.redis.incr('takes'):09d}"
    arguments = (
        rules_with().to_json(),
        room,
        tag,
        bytes_left,
        limits_for_script(LIMITS, own.name, letters),
        in_hand,
    )
    reply: Any = own.redis.eval(FETCH, len(keys) + 2, *keys, *aside, *map(str, arguments))
    return Fetched(float(reply[0]), reply[1], reply[3], reply[4])


def letters_of(own: OwnIntegration) -> DeadLetterQueue:
    return DeadLetterQueue(own.redis, own.name, own.queue)


def message(id: str, own: OwnIntegration, **fields: Any) -> str:
    return encode(Message(id=id, args=({**EVENT, **fields},), enqueued_at=1.0), own.queue)


def bare(id: str) -> str:
    body = base64.b64encode(json.dumps([[EVENT], {}, {}]).encode()).decode()
    headers, properties = (
        {"task": TASK, "id": id},
        {"body_encoding": "base64", "correlation_id": id},
    )
    return json.dumps({"body": body, "headers": headers, "properties": properties})


# -- too large


@pytest.mark.parametrize(
    "raw",
    [
        b'{"headers": {"id": "m-1"}, "properties": {"correlation_id": "m-1"}, "body": "'
        + b"\xff\xfe\0\x1b\r\n\t\\" * 20_000
        + b'"}',
        b"\x80\x04\x95" * 50_000,
        'café 😀 \u202e \\ / " '.encode() * 20_000,
        b"[" * 200_000,
        b"{}" + b" " * 200_000,
        json.dumps({"a": "\ud800" * 50_000}).encode(),
    ],
    ids=["object", "pickle", "text", "nested", "blanks", "surrogates"],
)
def test_too_large_message_becomes_a_dead_letter_with_every_byte(
    own: OwnIntegration, raw: bytes
) -> None:
    own.redis.rpush(own.queue, message("next", own))
    own.redis.rpush(own.queue, raw)
    took = fetch(own)
    assert len(took.messages) == 1
    assert took.aside[0] == "too_large"
    assert own.redis.llen(own.queue) == 0
    letters = letters_of(own)
    assert letters.totals() == letters.cached_counts() == {"too_large": 1}
    [buried] = letters.newest_first()
    assert (buried.letter.reason, buried.letter.integration) == ("too_large", own.name)
    assert (
        buried.letter.answer
        == f"put aside unread: MESSAGE_MAX_BYTES is 100000, and the message has more ({len(raw)})"
    )
    assert "MESSAGE_MAX_BYTES" in buried.letter.fix
    assert abs(buried.letter.died_at - own.now()) < 60
    assert bytes_of(again(buried.message, own.queue, 0.0)) == raw
    assert letters.replay([buried], 0.0) == 1
    assert (bytes_of(str(own.redis.lindex(own.queue, 0))), letters.count()) == (raw, 0)


def test_a_too_large_message_goes_by_its_own_id_and_its_events_can_be_read(
    own: OwnIntegration,
) -> None:
    raw = message("m-1", own, properties={"x": "y" * 100_000})
    own.redis.lpush(own.queue, raw)
    assert fetch(own).aside == ["too_large", "m-1"]
    [buried] = letters_of(own).newest_first()
    assert buried.message.id == "m-1"
    assert [each.args[0]["traits"] for each in events_read(buried.message)] == [EVENT["traits"]]


@pytest.mark.parametrize("size", [99_999, 100_000])
def test_message_of_the_maximum_size_is_fetched(own: OwnIntegration, size: int) -> None:
    own.redis.lpush(own.queue, "x" * size)
    assert len(fetch(own).messages) == 1


def test_many_too_large_messages_are_put_aside_a_few_at_a_time(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, *["x" * 100_001] * 25, message("last", own))
    assert [len(fetch(own).messages) for _ in range(3)] == [0, 0, 1]
    assert letters_of(own).count() == 25


def test_replayed_too_large_message_is_buried_again_and_not_wrapped_twice(
    own: OwnIntegration,
) -> None:
    own.redis.lpush(own.queue, "x" * 100_001)
    for _ in range(3):
        assert fetch(own).aside[0] == "too_large"
        [buried] = letters_of(own).newest_first()
        assert len(buried.raw) < 103_000
        letters_of(own).replay([buried], 0.0)


def test_messages_too_large_together_are_fetched_one_after_another(
    own: OwnIntegration,
) -> None:
    own.redis.lpush(own.queue, *["x" * 60_000] * 3)
    assert len(fetch(own).messages) == 1
    waits = fetch(own, in_hand=1, bytes_left=40_000)
    assert (waits.messages, waits.wait > 0) == ([], True)
    own.redis.rpush(own.queue, "small")
    assert fetch(own, in_hand=1, bytes_left=40_000).messages == ["small"]
    assert len(fetch(own).messages) == 1


# -- what workers do not survive


def worker_died(own: OwnIntegration) -> None:
    """The worker that has the messages in hand is gone for good, and another one finds that out."""
    assert restore_overdue(own.redis, own.queue, own.unacked_keys, 0.0) > 0


def test_message_that_kills_its_workers_is_put_aside(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, bare("m-1"))
    for _ in range(LIMITS.returns):
        assert len(fetch(own).messages) == 1
        worker_died(own)
    took = fetch(own)
    assert (took.messages, took.aside) == ([], ["poison_message", "m-1"])
    [buried] = letters_of(own).newest_first()
    assert (buried.letter.reason, buried.message.id) == ("poison_message", "m-1")
    assert (
        buried.letter.answer
        == "put aside unread: 3 times a worker ended, or failed, while it had it"
    )
    assert events_read(buried.message)[0].args == (EVENT,)


def test_replayed_poison_message_has_all_its_returns_again(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, message("m-1", own))
    for _ in range(LIMITS.returns):
        fetch(own)
        worker_died(own)
    fetch(own)
    [buried] = letters_of(own).newest_first()
    letters_of(own).replay([buried], 0.0)
    [again_taken] = fetch(own).messages
    assert (parse_raw(again_taken, str).id, parse_raw(again_taken, str).returns) == ("m-1", 0)


def test_orderly_requeue_counts_as_no_return(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, message("m-1", own))
    for _ in range(20):
        took = fetch(own)
        assert len(took.messages) == 1
        put_back(own.redis, own.queue, own.unacked_keys, took.tags)
    assert letters_of(own).count() == 0


def test_requeue_after_a_failure_counts_as_a_return(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, message("m-1", own))
    for _ in range(LIMITS.returns):
        put_back(own.redis, own.queue, own.unacked_keys, fetch(own).tags, failed=True)
    assert fetch(own).aside == ["poison_message", "m-1"]


def test_message_returned_twice_is_fetched_alone(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, *(message(f"m-{each}", own) for each in range(3)))
    for _ in range(2):
        assert len(fetch(own).messages) == 3
        worker_died(own)
    busy = fetch(own, in_hand=1)
    assert (busy.messages, busy.wait > 0) == ([], True)
    taken = [fetch(own).messages for _ in range(3)]
    assert [[parse_raw(each, str).id for each in messages] for messages in taken] == [
        ["m-0"],
        ["m-1"],
        ["m-2"],
    ]


def test_fresh_message_is_not_fetched_with_one_returned_twice(own: OwnIntegration) -> None:
    own.redis.lpush(own.queue, message("suspect", own), message("fresh", own))
    for _ in range(2):
        put_back(own.redis, own.queue, own.unacked_keys, fetch(own, room=1).tags, failed=True)
    assert [parse_raw(each, str).id for each in fetch(own).messages] == ["suspect"]
    assert [parse_raw(each, str).id for each in fetch(own, in_hand=1).messages] == ["fresh"]


def test_a_return_changes_nothing_that_is_read(own: OwnIntegration) -> None:
    """Neither what the message says nor the stamp of its first taking."""
    for raw in (bare("b"), f"  {bare('c')}", message("m", own)):
        own.redis.lpush(own.queue, raw)
        first = parse_raw(fetch(own).messages[0], str)
        worker_died(own)
        second = parse_raw(fetch(own).messages[0], str)
        worker_died(own)
        third = parse_raw(fetch(own).messages[0], str)
        assert [each.returns for each in (first, second, third)] == [0, 1, 2]
        assert first == replace(second, returns=0) == replace(third, returns=0)
        own.redis.delete(own.queue, *own.unacked_keys)


def test_message_refused_after_a_return_is_kept_as_it_came(own: OwnIntegration) -> None:
    raw = '{ "body": "?", "headers": {"id": "x"}}'
    own.redis.lpush(own.queue, raw)
    for _ in range(2):
        fetch(own)
        worker_died(own)
    assert parse_raw(fetch(own).messages[0], str).original == raw


def test_return_is_remembered_only_while_the_event_waits_untried() -> None:
    """Its member may be locked still by the worker that died with it."""
    message = Message(id="m", args=(EVENT,), returns=2)
    assert parse_raw(encode(message.after_wait(), "q"), str).returns == 2
    tried = message.after_attempt(AttemptRecord(1.0, "unavailable", None), 0.0, spent=True)
    assert [
        parse_raw(encode(each, "q"), str).returns for each in (tried, message.reset_for_replay(1.0))
    ] == [0, 0]


# -- too many events


@pytest.mark.parametrize(("events", "refused"), [(100, False), (101, True)])
def test_a_bundle_of_too_many_events_is_refused_whole(events: int, *, refused: bool) -> None:
    raw = encode(Message(id="b", args=([EVENT] * events,), task=DELIVER_MANY), "q")
    found = parse_raw(raw, str, LIMITS)
    assert (found.refusal is not None) == refused
    if found.refusal:
        assert found.refusal.reason is DeadLetterReason.TOO_MANY_EVENTS
        assert found.refusal.text == "the bundle has 101 events, and MESSAGE_MAX_EVENTS is 100"
        assert found.original == raw
        assert len(events_read(found)) == 101
