"""Whatever lies on the queue becomes a message that the task can be given, and none of it is lost on the way."""

import base64
import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis.strategies import binary
from kombu.utils import json as kombu_json

from tests.unit.strategies import any_text, messages, strange_json
from worker.queue.codec import celery_message, decode, encode, message_from_headers
from worker.queue.compression import LIMIT_BYTES, zstd
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.intake import events_read, parse_raw, shown_id, without
from worker.queue.message import AHEAD_SECONDS, DELIVER_MANY, TASK, Message, unbundle
from worker.redis_client.raw_text import bytes_of
from worker.signal.event import NESTING_LIMIT, MalformedEvent, parse_event
from worker.signal.event_json import why_no_event
from worker.signal.json_value import to_json_value
from worker.signal.patch import patch_from_event
from worker.signal.preset import load_preset

QUEUE = "mailgun.default"
EVENT = {"type": "identify", "traits": {"email": "jane@example.com"}}
MESSAGE = Message(id="m1", args=(EVENT,), kind="identify", enqueued_at=100.0)


def message_in(raw: object) -> Message:
    return parse_raw(raw if isinstance(raw, str | bytes) else json.dumps(raw), lambda: "new-id")


def admit(raw: object) -> dict[str, Any]:
    return celery_message(message_in(raw), QUEUE)


def body_of(payload: dict[str, Any]) -> Any:
    body = payload["body"]
    if payload["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body)
    return json.loads(body)


def envelope(**headers: object) -> dict[str, Any]:
    """A well-formed message as a bare client sends it, with further `headers`."""
    to_json_value: dict[str, Any] = json.loads(encode(MESSAGE, QUEUE))
    del to_json_value["headers"]["signal"]
    to_json_value["headers"] |= {
        "argsrepr": "({'email': 'jane@example.com'},)",
        "origin": "gen1@elsewhere",
        **headers,
    }
    return to_json_value


def with_body(body: object) -> dict[str, Any]:
    return {**envelope(), "body": base64.b64encode(json.dumps(body).encode()).decode()}


def with_properties(**properties: object) -> dict[str, Any]:
    to_json_value = envelope()
    to_json_value["properties"] |= properties
    return to_json_value


def assert_celery_takes(payload: dict[str, Any]) -> None:
    """What Celery's worker reads before the task runs. Of another shape it ends the worker, or loses the event."""
    headers, properties = payload["headers"], payload["properties"]
    args, kwargs, embed = body_of(payload)
    assert isinstance(args, list)
    assert isinstance(kwargs, dict)
    assert isinstance(embed, dict)
    assert headers["task"] in {TASK, DELIVER_MANY}
    assert isinstance(headers["id"], str)
    assert headers["id"]
    assert isinstance(headers.get("retries") or 0, int)
    assert headers.get("timelimit") in (None, [None, None])
    assert "compression" not in headers
    assert headers.get("eta") is None, "it would wait in a worker's memory"
    assert headers.get("expires") is None, "it would be dropped unseen"
    assert isinstance(properties["delivery_info"], dict)
    assert payload["content-type"] == "application/json"


def assert_refused_and_kept_whole(
    raw: str | bytes, reason: DeadLetterReason = DeadLetterReason.UNREADABLE_MESSAGE, says: str = ""
) -> None:
    """The message says what is wrong, and keeps what came byte for byte, also as a dead letter."""
    message = message_in(raw)
    assert_celery_takes(celery_message(message, QUEUE))
    assert message.refusal
    assert message.refusal.reason == reason
    assert says in message.refusal.text
    assert "jane" not in message.refusal.text
    assert message.args == ()
    buried = decode(encode(message, QUEUE))[0]
    assert bytes_of(buried.original or "") == (raw if isinstance(raw, bytes) else bytes_of(raw))


@given(any_text | strange_json.map(json.dumps))
def test_any_text_on_the_queue_is_kept_whole(raw: str) -> None:
    assert_refused_and_kept_whole(raw)


@given(binary())
def test_any_bytes_on_the_queue_are_kept_whole(raw: bytes) -> None:
    assert_refused_and_kept_whole(raw)


@pytest.mark.parametrize(
    "raw", ["", "nonsense", "{", "null", "[]", "9" * 5000, "[" * 100_000, '{"a":' * 100_000]
)
def test_payload_that_is_no_message_is_kept_whole(raw: str) -> None:
    assert_refused_and_kept_whole(raw, says="not a Celery message")


def test_bare_event_without_envelope_is_no_message_but_readable() -> None:
    raw = json.dumps(EVENT)
    assert_refused_and_kept_whole(raw, says="an event without a Celery message around it")
    assert [each.args for each in events_read(message_in(raw))] == [(EVENT,)]


U, T, E = (
    DeadLetterReason.UNREADABLE_MESSAGE,
    DeadLetterReason.UNKNOWN_TASK,
    DeadLetterReason.UNSUPPORTED_ENCODING,
)


@pytest.mark.parametrize(
    ("message", "reason", "says"),
    [
        (envelope(task="tasks.signal.deliver"), T, "no task is called 'tasks.signal.deliver'"),
        (envelope(task="jane@example.com"), T, "no task is called a text of 16 characters"),
        (
            {**envelope(task="tasks.add"), "content-type": "application/x-msgpack"},
            T,
            "'tasks.add', and the body is not JSON",
        ),
        (envelope(task=""), T, "no task is called a text of 0 characters"),
        (envelope(task=None), T, "names no task"),
        (envelope(task=["signal.deliver"]), T, "names no task"),
        ({**envelope(), "headers": None}, T, "names no task"),
        ({**envelope(), "body": None}, U, "neither text nor base64"),
        ({**envelope(), "body": 5}, U, "neither text nor base64"),
        ({**envelope(), "body": ""}, U, "not JSON"),
        ({**envelope(), "body": "%%%"}, U, "neither JSON nor base64"),
        ({**envelope(), "body": "e30x"}, U, "not JSON"),
        ({**envelope(), "content-type": "application/x-python-serialize"}, E, "pickle"),
        ({**envelope(), "content-type": "application/x-msgpack"}, E, "msgpack"),
        ({**envelope(), "content-type": "application/x-yaml"}, E, "yaml"),
        ({**envelope(), "content-type": "application/data"}, E, "raw"),
        ({**envelope(), "content-type": "text/jane@example.com"}, E, "a text of 21 characters"),
        ({**envelope(), "content-type": 5}, E, "of type int"),
        ({**envelope(), "content-encoding": "rot13"}, E, "'rot13'"),
        ({**envelope(), "content-encoding": "idna"}, E, "'idna'"),
        ({**envelope(), "content-encoding": "no such"}, E, "a text of 7 characters"),
        (with_properties(body_encoding="rot13"), E, "'rot13'"),
        (envelope(compression="snappy"), E, "'snappy', which is not known here"),
        (envelope(compression=5), E, "of type int"),
        (envelope(compression="gzip"), E, "and is not"),
        (with_body(5), U, "no list of arguments"),
        (with_body([]), U, "no list of arguments"),
        (with_body({}), U, "neither a task nor arguments"),
        (with_body([EVENT, {}, {}]), U, "the arguments are no list"),
        (with_body([[EVENT], ["x"], {}]), U, "the keyword arguments no object"),
    ],
)
def test_unreadable_message_is_named_and_kept_whole(
    message: dict[str, Any], reason: DeadLetterReason, says: str
) -> None:
    assert_refused_and_kept_whole(json.dumps(message), reason, says)


@pytest.mark.parametrize(
    "message",
    [
        envelope(id=None),
        envelope(id=""),
        envelope(id=5),
        {**envelope(), "properties": None},
        {**envelope(), "properties": []},
        {**envelope(), "content-type": None},
        {**envelope(), "content-type": "application/json; charset=utf-8"},
        {**envelope(), "content-encoding": "binary"},
        {**envelope(), "body": [[EVENT], {}, {}]},
        {**envelope(), "body": base64.encodebytes(json.dumps([[EVENT], {}, {}]).encode()).decode()},
        {
            **envelope(),
            "body": base64.urlsafe_b64encode(json.dumps([[EVENT], {}, {}]).encode())
            .decode()
            .rstrip("="),
        },
        {
            **with_properties(body_encoding=None),
            "body": base64.b64encode(json.dumps([[EVENT], {}, {}]).encode()).decode(),
        },
        with_body([[EVENT]]),
        with_body([[EVENT], None, None]),
        with_body([[EVENT], [], []]),
        with_body({"args": [EVENT]}),
        with_body([[], {"event": EVENT}, {}]),
        with_body([None, {"event": EVENT}, {}]),
        with_body([json.dumps([EVENT]), "{}", {}]),
        with_body([[json.dumps(EVENT)], {}, {}]),
        envelope(bad=10**4000),
    ],
)
def test_unusual_message_still_yields_its_event(message: dict[str, Any]) -> None:
    assert body_of(admit(message))[:2] == [[EVENT], {}]


def test_a_header_that_cannot_be_read_costs_no_event() -> None:
    raw = json.dumps(envelope(odd="digits")).replace('"digits"', "9" * 5000)
    assert body_of(admit(raw))[0] == [EVENT]


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("application/x-gzip", zlib.compress),
        ("gzip", zlib.compress),
        ("gzip", gzip.compress),
        ("zlib", zlib.compress),
        ("application/x-bz2", bz2.compress),
        ("bzip2", bz2.compress),
        ("application/x-lzma", lzma.compress),
        ("xz", lambda data: lzma.compress(data, preset=9)),
        ("application/zstd", zstd.compress),
        ("zstd", lambda data: zstd.compress(data, 19)),
    ],
)
def test_compressed_body_is_read_unless_it_would_fill_the_memory(
    name: str, compress: Callable[[bytes], bytes]
) -> None:
    def with_data(data: bytes) -> str:
        return json.dumps({**envelope(compression=name), "body": base64.b64encode(data).decode()})

    whole = compress(json.dumps([[EVENT], {}, {}]).encode())
    assert body_of(admit(with_data(whole)))[0] == [EVENT]
    assert_refused_and_kept_whole(with_data(whole[:-5]), E, "compressed")
    assert_refused_and_kept_whole(with_data(whole + b"rest"), E, "compressed")
    in_pieces = b"".join(map(compress, (b"[[", json.dumps(EVENT).encode(), b"], {}, {}]")))
    assert body_of(admit(with_data(in_pieces)))[0] == [EVENT]
    big = with_data(compress(b" " * (LIMIT_BYTES + 1)))
    assert_refused_and_kept_whole(
        big, DeadLetterReason.TOO_LARGE, f"more than {LIMIT_BYTES} bytes when decompressed"
    )


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_body_compressed_without_a_header_is_read(
    compress: Callable[[bytes], bytes],
) -> None:
    data = compress(json.dumps([[EVENT], {}, {}]).encode())
    assert body_of(admit({**envelope(), "body": base64.b64encode(data).decode()}))[0] == [EVENT]


@pytest.mark.parametrize(
    "charset",
    ["utf-8", "utf-16", "utf-16-le", "UTF-32", "iso-8859-1", "latin-1", "cp1252", "utf-8-sig"],
)
def test_a_body_in_another_charset_is_read(charset: str) -> None:
    event = {**EVENT, "name": "René"}
    body = json.dumps([[event], {}, {}], ensure_ascii=False).encode(charset)
    message = {**envelope(), "content-encoding": charset, "body": base64.b64encode(body).decode()}
    assert body_of(admit(message))[0] == [event]


def test_body_in_an_unnamed_charset_is_not_guessed() -> None:
    body = json.dumps([[{**EVENT, "name": "René"}], {}, {}], ensure_ascii=False).encode("latin-1")
    message = {**envelope(), "body": base64.b64encode(body).decode()}
    assert_refused_and_kept_whole(json.dumps(message), E, "the body is not UTF-8 text")
    to_json_value = {**with_properties(body_encoding=None), "body": "BODY"}
    raw = (
        json.dumps(to_json_value)
        .encode()
        .replace(
            b'"BODY"', json.dumps(body.decode("latin-1"), ensure_ascii=False).encode("latin-1")
        )
    )
    assert_refused_and_kept_whole(raw, E, "the message is not UTF-8 text")


def test_python_types_wrapped_by_celery_read_as_the_producer_writes_them() -> None:
    sent = {
        "type": "identify",
        "timestamp": datetime(2024, 5, 1, 12, tzinfo=UTC),
        "properties": {"revenue": Decimal("9.5"), "id": UUID(int=1)},
        "not": {"__type__": "jane", "__value__": 1},
    }
    body = [[sent], {}, {}]
    message = {**envelope(), "body": base64.b64encode(kombu_json.dumps(body).encode()).decode()}
    [event] = body_of(admit(message))[0]
    assert event == {**to_json_value(sent), "not": sent["not"]}


def test_an_event_of_an_unknown_task_can_be_read() -> None:
    bundle = {
        **with_body([[[EVENT, EVENT]], {}, {}]),
        "headers": envelope(task="tasks.deliver_many")["headers"],
    }
    assert [each.args[0] for each in events_read(message_in(envelope(task="tasks.deliver")))] == [
        EVENT
    ]
    assert [each.args[0] for each in events_read(message_in(bundle))] == [EVENT, EVENT]


def test_dead_letter_moved_to_the_queue_counts_as_its_original_message() -> None:
    raw = json.dumps(envelope(task="tasks.deliver"))
    letter = encode(message_in(raw), QUEUE, dead_letter={"reason": "unknown_task"})
    assert message_in(letter).original == raw


@given(messages)
def test_producers_message_is_admitted_unchanged(message: Message) -> None:
    payload = admit(encode(message, QUEUE))
    assert_celery_takes(payload)
    assert decode(json.dumps(payload))[0] == replace(message, id=shown_id(message.id))


def test_id_that_may_be_an_address_is_shown_as_a_stable_digest() -> None:
    assert shown_id("m-1") == "m-1"
    assert shown_id("jane@example.com") == shown_id("jane@example.com")
    assert "jane" not in shown_id("jane@example.com")


def test_a_bare_clients_message_keeps_its_id_and_its_event() -> None:
    payload = admit(envelope())
    assert_celery_takes(payload)
    assert payload["headers"]["id"] == "m1"
    assert body_of(payload)[:2] == [[EVENT], {}]


def test_wrong_arguments_are_admitted_for_the_task_to_bury() -> None:
    assert body_of(admit(with_body([[EVENT, 5], {"a": 1}, {}])))[:2] == [[EVENT, 5], {"a": 1}]


def test_a_body_that_is_not_base64_is_read_as_it_is() -> None:
    message = with_properties(body_encoding=None)
    message["body"] = json.dumps([[EVENT], {}, {}])
    assert body_of(admit(message))[0] == [EVENT]


@pytest.mark.parametrize("signal", [None, {}, [], "x", 5])
def test_arguments_shown_by_a_bare_client_are_struck_out(signal: object) -> None:
    headers = admit(envelope(signal=signal, kwargsrepr="{'email': 'jane@example.com'}"))["headers"]
    assert "jane" not in json.dumps(headers)


@pytest.mark.parametrize(
    "message",
    [
        with_body([[EVENT], {}]),
        with_body([[EVENT], {}, {}, {}]),
        with_body([[EVENT], {}, 5]),
        envelope(timelimit=5),
        envelope(eta="soon"),
        envelope(eta="2099-01-01T00:00:00+00:00"),
        envelope(expires="soon"),
        envelope(expires="2020-01-01T00:00:00+00:00"),
        envelope(retries="many"),
        with_properties(delivery_info="x"),
    ],
    ids=[
        "a body of two",
        "a body of four",
        "an embed that is a number",
        "a time limit that is a number",
        "an ETA that is no time",
        "an ETA",
        "an expiry that is no time",
        "an expiry",
        "retries that are a text",
        "delivery info that is a text",
    ],
)
def test_envelope_with_any_content_stops_no_worker_and_loses_no_event(
    message: dict[str, Any],
) -> None:
    payload = admit(message)
    assert_celery_takes(payload)
    assert body_of(payload)[0] in ([EVENT], [json.dumps(message)])


@given(strange_json)
def test_progress_headers_with_any_content_can_be_read_by_the_task(value: Any) -> None:
    for signal in (
        value,
        *(
            {name: value}
            for name in (
                "enqueued_at",
                "patience_from",
                "first_tried",
                "attempts",
                "throttled",
                "trail",
            )
        ),
    ):
        payload = admit(envelope(signal=signal))
        args, kwargs, _ = body_of(payload)
        seen = message_from_headers(
            id="m1", args=args, kwargs=kwargs, headers=payload["headers"]
        ).with_timestamps(1000.0)
        assert seen.enqueued_at is not None
        assert seen.retry_window_start is not None
        assert 0 <= seen.enqueued_at <= 1000.0 + AHEAD_SECONDS
        assert 0 <= seen.retry_window_start <= 1000.0 + AHEAD_SECONDS
        assert seen.attempts + seen.throttled + seen.requeues >= 0
        assert decode(encode(seen, QUEUE))[0] == seen


@given(strange_json, strange_json, strange_json, strange_json)
def test_message_of_any_parts_is_admitted_or_refused(
    one: Any, two: Any, three: Any, four: Any
) -> None:
    for task in (TASK, DELIVER_MANY, "tasks.other", one):
        for body in (
            [one, two, three],
            {"args": one, "kwargs": two, "id": three},
            {"task": one, "args": [two]},
            one,
        ):
            headers = (
                {"task": task, "id": two, "compression": four}
                if four
                else {"task": task, "signal": three}
            )
            raw = json.dumps(
                {
                    "body": body if three else json.dumps(body),
                    "headers": headers,
                    "properties": four,
                }
            )
            message = message_in(raw)
            assert bool(message.refusal) == (message.original is not None)
            assert isinstance(json.dumps([each.args for each in events_read(message)]), str)
            without(raw, lambda each: bool(each.args))


@pytest.mark.parametrize("depth", [10, 100, 400, 600, 800, 900, 950, 980])
def test_an_event_nested_too_deep_is_malformed_and_breaks_nothing(depth: int) -> None:
    raw = json.dumps(envelope())
    nested = (
        '{"type":"identify","traits":{"email":"jane@example.com","plan":'
        + "[" * depth
        + "]" * depth
        + "}}"
    )
    body = base64.b64encode(f"[[{nested}],{{}},{{}}]".encode()).decode()
    args = body_of(admit(raw.replace(json.loads(raw)["body"], body)))[0]
    with suppress(MalformedEvent):
        patch_from_event(parse_event(args[0]), load_preset())


def protocol_1(**fields: object) -> dict[str, Any]:
    body = {
        "task": TASK,
        "id": "t1",
        "args": [EVENT],
        "kwargs": {},
        "retries": 0,
        "eta": None,
        **fields,
    }
    return {**with_body(body), "headers": {}}


def test_a_message_of_celerys_protocol_1_keeps_its_id_and_its_event() -> None:
    payload = admit(protocol_1())
    assert_celery_takes(payload)
    assert payload["headers"]["id"] == "t1"
    assert body_of(payload)[:2] == [[EVENT], {}]
    assert "jane" not in json.dumps(payload["headers"])


@pytest.mark.parametrize(
    "message",
    [
        protocol_1(task="another"),
        protocol_1(args=5),
        protocol_1(kwargs="x"),
        protocol_1(kwargs=[5]),
    ],
)
def test_unreadable_message_of_celerys_protocol_1_is_kept_whole(message: dict[str, Any]) -> None:
    reason = T if "another" in base64.b64decode(message["body"]).decode() else U
    assert_refused_and_kept_whole(json.dumps(message), reason)


# -- bundles -------------------------------------------------------------------------------------------------------

BUNDLE = Message(
    id="b1", args=([EVENT, {**EVENT, "messageId": "m2"}],), kind="2 events", task=DELIVER_MANY
)


def events_of(payload: dict[str, Any]) -> list[Any]:
    """What the task is given, event by event."""
    return [each.args[0] for each in unbundle(decode(json.dumps(payload))[0])]


def deep(depth: int) -> dict[str, Any]:
    """An event of so many containers within one another."""
    value: Any = "x"
    for _ in range(depth - 1):
        value = [value]
    return {"type": "identify", "plan": value}


def test_bundle_is_admitted_as_a_bundle() -> None:
    payload = admit(encode(BUNDLE, QUEUE))
    assert_celery_takes(payload)
    assert decode(json.dumps(payload))[0] == BUNDLE


def test_bare_clients_bundle_keeps_id_and_events_and_shows_no_event() -> None:
    bare = {
        **with_body([[[EVENT, EVENT]], {}, {}]),
        "headers": envelope(task=DELIVER_MANY)["headers"],
    }
    payload = admit(bare)
    assert_celery_takes(payload)
    assert (payload["headers"]["task"], payload["headers"]["id"]) == (DELIVER_MANY, "m1")
    assert events_of(payload) == [EVENT, EVENT]
    assert "jane" not in json.dumps(payload["headers"])


def test_a_bundle_of_celerys_protocol_1_is_one_too() -> None:
    payload = admit(protocol_1(task=DELIVER_MANY, args=[[EVENT, EVENT]]))
    assert_celery_takes(payload)
    assert events_of(payload) == [EVENT, EVENT]


@pytest.mark.parametrize("args", [[], ["x"], [[EVENT], [EVENT]], [None], [5]])
def test_bundle_with_wrong_arguments_is_admitted_for_the_task_to_bury(args: list[Any]) -> None:
    payload = admit(encode(replace(BUNDLE, args=tuple(args)), QUEUE))
    assert_celery_takes(payload)
    assert body_of(payload)[0] == args


def test_an_event_in_a_bundle_may_be_as_deep_as_one_alone() -> None:
    events = [deep(NESTING_LIMIT - 1), EVENT]
    assert events_of(admit(encode(replace(BUNDLE, args=(events,)), QUEUE))) == events
    parse_event(events[0])


def test_event_just_too_deep_is_admitted_as_sent_single_or_in_a_bundle() -> None:
    event = deep(NESTING_LIMIT)
    with pytest.raises(MalformedEvent):
        parse_event(event)
    assert events_of(admit(encode(replace(MESSAGE, args=(event,)), QUEUE))) == [event]
    assert events_of(admit(encode(replace(BUNDLE, args=([event, EVENT],)), QUEUE))) == [
        event,
        EVENT,
    ]


@pytest.mark.parametrize(
    "depth", [NESTING_LIMIT + 1, NESTING_LIMIT + 2, NESTING_LIMIT + 3, 300, 900]
)
def test_event_nested_too_deep_leaves_its_neighbours_in_a_bundle_valid(depth: int) -> None:
    before, bad, after = events_of(
        admit(encode(replace(BUNDLE, args=([EVENT, deep(depth), EVENT],)), QUEUE))
    )
    assert (before, after) == (EVENT, EVENT)
    with pytest.raises(MalformedEvent):
        parse_event(bad)
    assert bad == deep(depth) or json.loads(bad) == deep(depth)


@pytest.mark.parametrize("where", ["kwargs", "embed", "beside"])
def test_bundle_nested_deep_outside_its_events_keeps_everything(where: str) -> None:
    nested = deep(500)
    args = [[EVENT], nested] if where == "beside" else [[EVENT]]
    body = [
        args,
        {"a": nested} if where == "kwargs" else {},
        {"a": nested} if where == "embed" else {},
    ]
    message = message_in({**with_body(body), "headers": envelope(task=DELIVER_MANY)["headers"]})
    assert list(message.args[0]) == [EVENT]
    assert message.is_bundle == (where == "embed")
    assert ("[" * 300 in repr((message.args, message.kwargs))) == (where != "embed")


def test_number_that_python_cannot_read_beside_the_events_loses_none() -> None:
    body = f'[[[{json.dumps(EVENT)}]],{{}},{{"chain":{"9" * 5000}}}]'
    message = message_in({"body": body, "headers": {"task": DELIVER_MANY, "id": "b1"}})
    assert [each.args[0] for each in unbundle(message)] == [EVENT]


def test_arguments_of_a_bundle_are_json_values() -> None:
    message = message_in({**with_body([[[EVENT]], {}, {}]), "headers": {"task": DELIVER_MANY}})
    assert message.arguments == ([EVENT],)


@pytest.mark.parametrize(
    "bad", ["9" * 5000, "[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000]
)
@pytest.mark.parametrize("task", [DELIVER_MANY, TASK])
@pytest.mark.parametrize("protocol", [1, 2])
def test_event_that_python_cannot_read_leaves_its_neighbours_readable(
    bad: str, task: str, protocol: int
) -> None:
    event = '{"type": "identify", "text": "\\",]}[\\\\", "a": ' + bad + "}"
    args = (
        f"[[{json.dumps(EVENT)}, {event}, {json.dumps(EVENT)}]]"
        if task == DELIVER_MANY
        else f"[{event}]"
    )
    body = (
        f"[{args}, {{}}, {{}}]"
        if protocol == 2
        else f'{{"args": {args}, "task": "{task}", "id": "b1"}}'
    )
    headers = {"task": task, "id": "b1"} if protocol == 2 else {}
    message = message_in({"body": body, "headers": headers})
    events = [each.args[0] for each in unbundle(message)]
    assert events == ([EVENT, event, EVENT] if task == DELIVER_MANY else [event])
    assert why_no_event(event)
