"""An event's message: what it says of its way, and the form in which it lies on Redis."""

import base64
import json
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given

from tests.unit.strategies import any_text, json_values, messages, strange_json
from worker.privacy import redacted
from worker.queue.codec import (
    DecodeError,
    decode,
    encode,
    encode_texts,
    message_from_headers,
    progress,
)
from worker.queue.envelope import parse_envelope
from worker.queue.message import (
    APART_SECONDS,
    DELIVER_MANY,
    HISTORY_LENGTH,
    TASK,
    AttemptRecord,
    Message,
    unbundle,
    usable_id,
)
from worker.signal.event import MalformedEvent, parse_event

QUEUE = "mailgun.default"
EVENT = {"type": "identify", "traits": {"email": "jane@example.com"}}
MESSAGE = Message(id="m1", args=(EVENT,), kind="identify", enqueued_at=100.0)
FAILED = AttemptRecord(at=200.0, outcome="unavailable", status=503)


def headers_of(raw: str) -> dict[str, Any]:
    headers: dict[str, Any] = json.loads(raw)["headers"]
    return headers


@given(messages)
def test_a_message_reads_back_as_it_was_written(message: Message) -> None:
    assert decode(encode(message, QUEUE))[0] == message


@given(messages)
def test_encoded_message_is_plain_ascii_on_one_line(message: Message) -> None:
    raw = encode(message, QUEUE)
    assert raw.isascii()
    assert raw.isprintable()


def test_encoded_message_follows_celerys_protocol_2() -> None:
    envelope = json.loads(encode(MESSAGE, QUEUE))
    assert envelope["headers"]["task"] == TASK
    assert envelope["headers"]["id"] == envelope["properties"]["correlation_id"] == "m1"
    assert envelope["properties"]["delivery_info"] == {"exchange": "", "routing_key": QUEUE}
    assert (envelope["content-type"], envelope["content-encoding"]) == ("application/json", "utf-8")
    args, kwargs, embed = json.loads(base64.b64decode(envelope["body"]))
    assert (args, kwargs) == ([EVENT], {})
    assert embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@given(messages)
def test_a_message_written_from_texts_is_the_same(message: Message) -> None:
    [event, *rest] = message.args or (EVENT,)
    alone = replace(message, args=(event,), kwargs={}, task=TASK)
    assert decode(encode_texts(replace(alone, args=()), QUEUE, [json.dumps(event)]))[0] == alone
    bundle = replace(alone, args=(rest,), task=DELIVER_MANY)
    assert (
        decode(encode_texts(replace(bundle, args=()), QUEUE, [json.dumps(each) for each in rest]))[
            0
        ]
        == bundle
    )


def test_flower_is_shown_the_kind_in_place_of_the_arguments() -> None:
    raw = encode(MESSAGE, QUEUE)
    assert (headers_of(raw)["argsrepr"], headers_of(raw)["kwargsrepr"]) == ("identify", "{}")
    assert "jane" not in raw


def test_encoded_message_has_no_expiry_and_no_eta() -> None:
    headers = headers_of(encode(MESSAGE, QUEUE))
    assert (headers["eta"], headers["expires"], headers["timelimit"]) == (None, None, [None, None])


def test_flowers_retries_are_the_delay_queues() -> None:
    assert headers_of(encode(replace(MESSAGE, requeues=3), QUEUE))["retries"] == 3


def test_further_headers_are_kept_and_given_back() -> None:
    message, headers = decode(encode(MESSAGE, QUEUE, dead_letter={"reason": "rejected"}))
    assert message == MESSAGE
    assert headers["dead_letter"] == {"reason": "rejected"}


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "nonsense",
        "5",
        "null",
        "[]",
        "{}",
        '"text"',
        '{"headers": {}}',
        '{"headers": {"id": "x"}, "body": 5}',
        '{"headers": {"id": "x"}, "body": "%%%"}',
        '{"headers": {"id": "x"}, "body": "W10="}',
        '{"headers": {"id": "x"}, "body": "/w=="}',
        '{"headers": [], "body": "W10="}',
        "[" * 100_000,
    ],
)
def test_text_that_is_no_message_is_unreadable_in_one_line(raw: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(raw)
    assert str(caught.value).isprintable()


@given(any_text | strange_json.map(json.dumps))
def test_any_text_is_a_message_or_unreadable(raw: str) -> None:
    with suppress(DecodeError):
        assert isinstance(decode(raw)[0], Message)


@given(strange_json)
def test_a_message_whose_progress_is_garbage_is_read_or_unreadable(value: Any) -> None:
    envelope = json.loads(encode(MESSAGE, QUEUE))
    for name in ("enqueued_at", "patience_from", "first_tried", "attempts", "throttled", "trail"):
        envelope["headers"]["signal"] = {name: value}
        with suppress(DecodeError):
            decode(json.dumps(envelope))[0].with_timestamps(1.0)


def test_bare_clients_message_has_empty_progress() -> None:
    found = message_from_headers(
        id="t1", args=[EVENT], kwargs={}, headers={"argsrepr": "({'email': 'jane@example.com'},)"}
    )
    assert found == Message(id="t1", args=(EVENT,), kind="event")


def test_arguments_shown_by_a_bare_client_are_not_taken_as_the_kind() -> None:
    found = message_from_headers(
        id="t1", args=[EVENT], kwargs={}, headers={"argsrepr": "jane@example.com", "signal": {}}
    )
    assert found.kind == "event"


def test_failed_attempt_is_counted_and_ends_a_row_of_throttled_ones() -> None:
    found = replace(MESSAGE, attempts=1, throttled=4, requeues=5).after_attempt(
        FAILED, 0.0, spent=True
    )
    assert (found.attempts, found.throttled, found.requeues, found.attempt_history) == (
        2,
        0,
        6,
        (FAILED,),
    )


def test_a_throttled_attempt_is_free() -> None:
    found = replace(MESSAGE, attempts=1, throttled=4, requeues=5).after_attempt(
        FAILED, 0.0, spent=False
    )
    assert (found.attempts, found.throttled, found.requeues) == (1, 5, 6)


def test_wait_without_an_attempt_counts_only_as_a_requeue() -> None:
    tired = replace(MESSAGE, attempts=1, throttled=4, requeues=5, attempt_history=(FAILED,))
    assert tired.after_wait() == replace(tired, requeues=6)


def test_attempt_history_keeps_the_latest_attempts() -> None:
    message = MESSAGE
    for at in range(HISTORY_LENGTH + 5):
        message = message.after_attempt(AttemptRecord(at, "unavailable", 503), 0.0, spent=True)
    assert [each.at for each in message.attempt_history] == list(range(5, HISTORY_LENGTH + 5))


def test_an_event_waits_since_it_was_enqueued() -> None:
    assert MESSAGE.with_timestamps(500.0) == replace(MESSAGE, retry_window_start=100.0)


def test_retry_window_starts_at_the_first_attempt_on_the_gates_clock() -> None:
    assert MESSAGE.seconds_tried(1000.0) == 0
    once = MESSAGE.after_attempt(FAILED, 1000.0, spent=True)
    assert once.seconds_tried(1000.0) == 0
    twice = once.after_attempt(FAILED, 1060.0, spent=False)
    assert twice.seconds_tried(1090.0) == 90
    assert decode(encode(twice, QUEUE))[0].seconds_tried(1090.0) == 90


def test_retry_window_restarts_when_its_clock_did() -> None:
    tried = MESSAGE.after_attempt(FAILED, 1000.0, spent=True)
    assert tried.seconds_tried(5.0) == 0
    assert tried.after_attempt(FAILED, 5.0, spent=True).seconds_tried(8.0) == 3


def test_bare_clients_event_waits_since_a_worker_first_fetched_it() -> None:
    found = replace(MESSAGE, enqueued_at=None).with_timestamps(500.0)
    assert (found.enqueued_at, found.retry_window_start) == (500.0, 500.0)
    assert found.with_timestamps(900.0) == found


@pytest.mark.parametrize("ahead", [1e9, 5e10])
def test_time_in_the_future_counts_as_the_moment_of_the_fetch(
    ahead: float,
) -> None:
    found = replace(MESSAGE, enqueued_at=ahead, retry_window_start=ahead).with_timestamps(500.0)
    assert (found.enqueued_at, found.retry_window_start) == (500.0, 500.0)
    assert found.with_timestamps(900.0) == found


def test_producers_clock_slightly_ahead_keeps_the_order_in_a_bundle() -> None:
    bundle = replace(BUNDLE, enqueued_at=500.0, retry_window_start=500.0).with_timestamps(500.0)
    events = [each.with_timestamps(500.0) for each in unbundle(bundle)]
    times = [each.enqueued_at or 0 for each in events]
    assert times == sorted(set(times))


@pytest.mark.parametrize("kind", ["\x1b[31mred\n", "a" * 5000, 5, None, "\ud800", "\u202egnp"])
def test_kind_shown_by_flower_is_short_and_on_one_line(kind: object) -> None:
    headers = {"argsrepr": kind, "signal": {"attempts": 1}}
    found = message_from_headers(id="m", args=[], kwargs={}, headers=headers).kind
    assert found
    assert found.isprintable()
    assert len(found) <= 80


def test_a_time_of_zero_is_a_time() -> None:
    found = Message(id="m", args=(), enqueued_at=0.0, retry_window_start=0.0)
    assert found.with_timestamps(500.0) == found


def test_replayed_event_gets_a_new_retry_window_and_keeps_its_history() -> None:
    tired = replace(
        MESSAGE,
        retry_window_start=100.0,
        first_tried=7.0,
        attempts=50,
        throttled=3,
        requeues=60,
        attempt_history=(FAILED,),
    )
    assert tired.reset_for_replay(900.0) == replace(
        tired, attempts=0, throttled=0, retry_window_start=900.0, first_tried=None
    )


@given(messages)
def test_progress_is_json(message: Message) -> None:
    json.dumps(progress(message), allow_nan=False)


@pytest.mark.parametrize("value", ["a", "m-1", "0123456789", "a.b:c_d-e", "A" * 128])
def test_an_id_that_is_safe_to_show_is_usable(value: str) -> None:
    assert usable_id(value) == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        5,
        True,
        "jane@example.com",
        "a b",
        "a\nb",
        "a\n",
        "-a",
        "ä",
        "A" * 129,
        ["a"],
        "a/b",
    ],
)
def test_an_id_that_is_not_safe_to_show_is_not_usable(value: object) -> None:
    assert usable_id(value) is None


@given(json_values)
def test_any_value_is_a_usable_id_or_not(value: Any) -> None:
    assert usable_id(value) in (value, None)


# -- bundles -------------------------------------------------------------------------------------------------------

JANE = {"type": "identify", "messageId": "m1", "traits": {"email": "jane@example.com"}}
ORDER = {"type": " Track ", "event": "Order for sam@example.com", "message_id": 7}
BUNDLE = Message(
    id="b1", args=([JANE, ORDER],), kind="2 events", enqueued_at=100.0, task=DELIVER_MANY
)


def test_a_message_of_one_event_carries_itself() -> None:
    assert unbundle(MESSAGE) == [MESSAGE]


def test_bundle_unpacks_each_event_as_the_message_it_would_be_alone() -> None:
    order_kind, order_at = "Order for <address>", 100.0 + APART_SECONDS
    assert unbundle(BUNDLE) == [
        Message(id="m1", args=(JANE,), kind="identify", enqueued_at=100.0, bundle="b1"),
        Message(id="7", args=(ORDER,), kind=order_kind, enqueued_at=order_at, bundle="b1"),
    ]


def test_event_of_a_bundle_keeps_the_bundles_id_through_redis() -> None:
    event = unbundle(BUNDLE)[0].after_attempt(FAILED, 0.0, spent=True)
    assert decode(encode(event, QUEUE))[0].bundle == "b1"
    assert "bundle" not in headers_of(encode(MESSAGE, QUEUE))["signal"]


@pytest.mark.parametrize("said", ["jane@example.com", 5, "", "x\n", None, ["b1"]])
def test_a_bundles_id_that_is_not_safe_to_show_is_ignored(said: object) -> None:
    found = message_from_headers(id="m", args=(), kwargs={}, headers={"signal": {"bundle": said}})
    assert found.bundle is None


def test_event_of_a_bundle_is_what_replace_makes_of_the_bundle() -> None:
    """It is copied by its dictionary, which must hold its fields and nothing else."""
    bundle = replace(BUNDLE, args=([JANE],), returns=2, size=70)
    (found,) = unbundle(bundle)
    assert found == replace(
        bundle, id=found.id, args=(JANE,), kind=found.kind, task=TASK, bundle=bundle.id
    )
    assert vars(found).keys() == {each.name for each in fields(Message)}


@pytest.mark.parametrize("own", [None, "", "jane@example.com", {}, True])
def test_event_without_a_usable_id_gets_the_bundles_and_its_position(
    own: object,
) -> None:
    bundle = replace(BUNDLE, args=([{**JANE, "messageId": own}] * 3,))
    assert [each.id for each in unbundle(bundle)] == ["b1.0", "b1.1", "b1.2"]
    assert unbundle(decode(encode(bundle, QUEUE))[0]) == unbundle(bundle)


@pytest.mark.parametrize("item", [None, 5, "x", True, [], [JANE], {}, {"type": 5}, {"type": " "}])
def test_malformed_event_in_a_bundle_leaves_its_neighbours_valid(item: object) -> None:
    before, bad, after = unbundle(replace(BUNDLE, args=([JANE, item, JANE],)))
    assert (bad.id, bad.args, bad.kind, bad.task) == ("b1.1", (item,), "not an event", TASK)
    with pytest.raises(MalformedEvent):
        parse_event(bad.args[0])
    assert [each.args for each in (before, after)] == [(JANE,), (JANE,)]


def test_empty_bundle_has_no_events() -> None:
    assert unbundle(replace(BUNDLE, args=([],))) == []


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        (("x",), {}),
        ((None,), {}),
        (([JANE], [JANE]), {}),
        (([JANE], None), {}),
        (([JANE],), {"a": 1}),
    ],
)
def test_bundle_message_with_wrong_arguments_stays_whole(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    none = replace(BUNDLE, args=args, kwargs=kwargs)
    assert unbundle(none) == [none]


def test_events_of_a_bundle_with_a_time_are_a_microsecond_apart() -> None:
    at = 1.8e9
    first, second = unbundle(replace(BUNDLE, enqueued_at=at))
    assert first.enqueued_at == at
    assert second.enqueued_at is not None
    assert at < second.enqueued_at < at + 1e-5
    assert [each.enqueued_at for each in unbundle(replace(BUNDLE, enqueued_at=None))] == [
        None,
        None,
    ]


@given(messages)
def test_events_of_a_message_carry_its_attempt_history(message: Message) -> None:
    for each in unbundle(replace(message, id="m1")):
        assert (
            each.retry_window_start,
            each.attempts,
            each.throttled,
            each.requeues,
            each.attempt_history,
        ) == (
            (
                message.retry_window_start,
                message.attempts,
                message.throttled,
                message.requeues,
                message.attempt_history,
            )
        )
        assert decode(encode(each, QUEUE))[0] == each


@given(json_values, json_values)
def test_event_of_a_bundle_has_id_and_kind_of_the_parsed_event(kind: Any, own: Any) -> None:
    event = {"type": "track", "event": kind, "messageId": own}
    with suppress(MalformedEvent):
        parsed = parse_event(event)
        [found] = unbundle(replace(BUNDLE, args=([event],)))
        assert found.id == (usable_id(parsed.message_id) or "b1.0")
        assert found.kind == redacted(parsed.kind)


def test_bundle_stays_a_bundle_when_encoded_and_delayed() -> None:
    raw = encode(BUNDLE, QUEUE)
    assert headers_of(raw)["task"] == "signal.deliver_many"
    assert decode(raw)[0] == BUNDLE
    assert BUNDLE.after_wait().task == DELIVER_MANY


def test_bundle_with_replaced_events_is_the_same_otherwise() -> None:
    envelope = json.loads(encode(BUNDLE, QUEUE, trace="t1"))
    changed = json.loads(parse_envelope(json.dumps(envelope)).with_args([[ORDER]]))
    assert json.loads(base64.b64decode(changed.pop("body")))[0] == [[ORDER]]
    assert changed == {key: value for key, value in envelope.items() if key != "body"}


def test_bundle_of_another_client_may_have_a_plain_body() -> None:
    envelope = json.loads(encode(BUNDLE, QUEUE))
    envelope["body"] = base64.b64decode(envelope["body"]).decode()
    del envelope["properties"]["body_encoding"]
    assert decode(parse_envelope(json.dumps(envelope)).with_args([[JANE]]))[0] == replace(
        BUNDLE, args=([JANE],)
    )
