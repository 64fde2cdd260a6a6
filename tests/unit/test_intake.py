"""Whatever lies on the queue becomes a message that the task can be given, and none of it is lost on the way."""

import base64
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from tests.unit.strategies import any_text, messages, strange_json
from worker.delivery.intake import admitted, shown_id
from worker.delivery.message import DELIVER_MANY, TASK, Message, decoded, encoded, events_in, message_of
from worker.delivery.message import envelope as envelope_of
from worker.signal.event import NESTING_LIMIT, MalformedEvent, parse_event
from worker.signal.patch import patch_of
from worker.signal.preset import load_preset

QUEUE = "mailgun.default"
EVENT = {"type": "identify", "traits": {"email": "jane@example.com"}}
MESSAGE = Message(id="m1", args=(EVENT,), kind="identify", enqueued_at=100.0)


def admit(raw: object) -> dict[str, Any]:
    return envelope_of(admitted(raw if isinstance(raw, str) else json.dumps(raw), lambda: "new-id"), QUEUE)


def body_of(payload: dict[str, Any]) -> Any:
    body = payload["body"]
    if payload["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body)
    return json.loads(body)


def envelope(**headers: object) -> dict[str, Any]:
    """A well-formed message as a bare client sends it, with further `headers`."""
    plain: dict[str, Any] = json.loads(encoded(MESSAGE, QUEUE))
    del plain["headers"]["signal"]
    plain["headers"] |= {"argsrepr": "({'email': 'jane@example.com'},)", "origin": "gen1@elsewhere", **headers}
    return plain


def with_body(body: object) -> dict[str, Any]:
    return {**envelope(), "body": base64.b64encode(json.dumps(body).encode()).decode()}


def with_properties(**properties: object) -> dict[str, Any]:
    plain = envelope()
    plain["properties"] |= properties
    return plain


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


def assert_wrapped(payload: dict[str, Any], raw: str) -> None:
    """The task gets the whole text as its argument, and buries it as malformed."""
    assert_celery_takes(payload)
    assert body_of(payload)[:2] == [[raw], {}]
    assert payload["headers"]["id"] == "new-id"
    assert payload["headers"]["task"] == TASK
    with pytest.raises(MalformedEvent):
        parse_event(raw)


@given(any_text | strange_json.map(json.dumps))
def test_any_text_is_admitted_whole(raw: str) -> None:
    assert_wrapped(admit(raw), raw)


@pytest.mark.parametrize("raw", ["", "nonsense", "{", "null", "[]", "9" * 5000, "[" * 100_000, '{"a":' * 100_000])
def test_what_is_no_message_becomes_the_argument_of_one(raw: str) -> None:
    assert_wrapped(admit(raw), raw)


def test_the_bare_event_is_no_message() -> None:
    raw = json.dumps(EVENT)
    assert_wrapped(admit(raw), raw)


@pytest.mark.parametrize(
    "message",
    [
        envelope(task="another.task"),
        envelope(task=None),
        envelope(task=["signal.deliver"]),
        envelope(id=None),
        envelope(id=""),
        envelope(id=5),
        {**envelope(), "headers": None},
        {**envelope(), "headers": []},
        {**envelope(), "properties": None},
        {**envelope(), "body": None},
        {**envelope(), "body": 5},
        {**envelope(), "body": "%%%"},
        {**envelope(), "content-type": "application/x-python-serialize"},
        {**envelope(), "content-type": None},
        with_body(5),
        with_body([]),
        with_body([[EVENT]]),
        with_body([EVENT, {}, {}]),
        with_body([[EVENT], [], {}]),
        with_body({"args": [EVENT]}),
        with_properties(body_encoding="rot13"),
    ],
)
def test_a_message_that_celery_would_discard_is_admitted_whole(message: dict[str, Any]) -> None:
    raw = json.dumps(message)
    assert_wrapped(admit(raw), raw)


@given(messages)
def test_our_own_message_arrives_as_it_was_written(message: Message) -> None:
    payload = admit(encoded(message, QUEUE))
    assert_celery_takes(payload)
    assert decoded(json.dumps(payload))[0] == replace(message, id=shown_id(message.id))


def test_an_id_that_could_be_an_address_is_shown_as_a_digest_that_stays_the_same() -> None:
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
def test_what_a_bare_client_would_show_of_its_arguments_is_struck_out(signal: object) -> None:
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
        envelope(compression="gzip"),
        envelope(compression="unknown"),
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
        "compressed, it says",
        "unknown compression",
        "retries that are a text",
        "delivery info that is a text",
    ],
)
def test_nothing_in_an_envelope_stops_a_worker_or_loses_the_event(message: dict[str, Any]) -> None:
    payload = admit(message)
    assert_celery_takes(payload)
    assert body_of(payload)[0] in ([EVENT], [json.dumps(message)])


@given(strange_json)
def test_whatever_a_message_says_of_its_way_the_task_can_read_it(value: Any) -> None:
    for signal in (
        value,
        *({name: value} for name in ("enqueued_at", "patience_from", "first_tried", "attempts", "throttled", "trail")),
    ):
        payload = admit(envelope(signal=signal))
        args, kwargs, _ = body_of(payload)
        seen = message_of(id="m1", args=args, kwargs=kwargs, headers=payload["headers"]).seen(1000.0)
        assert seen.enqueued_at is not None
        assert seen.patience_from is not None
        assert 1000.0 - seen.patience_from <= 1000.0
        assert seen.attempts + seen.throttled + seen.parkings >= 0
        assert decoded(encoded(seen, QUEUE))[0] == seen


@pytest.mark.parametrize("depth", [10, 100, 400, 600, 800, 900, 950, 980])
def test_an_event_nested_too_deep_is_malformed_and_breaks_nothing(depth: int) -> None:
    raw = json.dumps(envelope())
    nested = '{"type":"identify","traits":{"email":"jane@example.com","plan":' + "[" * depth + "]" * depth + "}}"
    body = base64.b64encode(f"[[{nested}],{{}},{{}}]".encode()).decode()
    args = body_of(admit(raw.replace(json.loads(raw)["body"], body)))[0]
    with suppress(MalformedEvent):
        patch_of(parse_event(args[0]), load_preset())


def protocol_1(**fields: object) -> dict[str, Any]:
    body = {"task": TASK, "id": "t1", "args": [EVENT], "kwargs": {}, "retries": 0, "eta": None, **fields}
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
        protocol_1(id=None),
        protocol_1(args=5),
        protocol_1(kwargs="x"),
        protocol_1(kwargs=[5]),
    ],
)
def test_a_message_of_protocol_1_that_celery_would_discard_is_admitted_whole(message: dict[str, Any]) -> None:
    raw = json.dumps(message)
    assert_wrapped(admit(raw), raw)


# -- bundles -------------------------------------------------------------------------------------------------------

BUNDLE = Message(id="b1", args=([EVENT, {**EVENT, "messageId": "m2"}],), kind="2 events", task=DELIVER_MANY)


def events_of(payload: dict[str, Any]) -> list[Any]:
    """What the task is given, event by event."""
    return [each.args[0] for each in events_in(decoded(json.dumps(payload))[0])]


def deep(depth: int) -> dict[str, Any]:
    """An event of so many containers within one another."""
    value: Any = "x"
    for _ in range(depth - 1):
        value = [value]
    return {"type": "identify", "plan": value}


def test_a_bundle_stays_one() -> None:
    payload = admit(encoded(BUNDLE, QUEUE))
    assert_celery_takes(payload)
    assert decoded(json.dumps(payload))[0] == BUNDLE


def test_a_bare_clients_bundle_keeps_its_id_and_its_events_and_shows_none_of_them() -> None:
    bare = {**with_body([[[EVENT, EVENT]], {}, {}]), "headers": envelope(task=DELIVER_MANY)["headers"]}
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
def test_what_is_no_bundle_is_admitted_for_the_task_to_bury(args: list[Any]) -> None:
    payload = admit(encoded(replace(BUNDLE, args=tuple(args)), QUEUE))
    assert_celery_takes(payload)
    assert body_of(payload)[0] == args


def test_an_event_in_a_bundle_may_be_as_deep_as_one_alone() -> None:
    events = [deep(NESTING_LIMIT - 1), EVENT]
    assert events_of(admit(encoded(replace(BUNDLE, args=(events,)), QUEUE))) == events
    parse_event(events[0])


def test_an_event_a_little_too_deep_goes_as_it_was_sent_alone_and_in_a_bundle() -> None:
    event = deep(NESTING_LIMIT)
    with pytest.raises(MalformedEvent):
        parse_event(event)
    assert events_of(admit(encoded(replace(MESSAGE, args=(event,)), QUEUE))) == [event]
    assert events_of(admit(encoded(replace(BUNDLE, args=([event, EVENT],)), QUEUE))) == [event, EVENT]


@pytest.mark.parametrize("depth", [NESTING_LIMIT + 1, NESTING_LIMIT + 2, NESTING_LIMIT + 3, 300, 900])
def test_an_event_nested_too_deep_is_malformed_and_its_neighbours_are_not(depth: int) -> None:
    before, bad, after = events_of(admit(encoded(replace(BUNDLE, args=([EVENT, deep(depth), EVENT],)), QUEUE)))
    assert (before, after) == (EVENT, EVENT)
    with pytest.raises(MalformedEvent):
        parse_event(bad)
    assert bad == deep(depth) or json.loads(bad) == deep(depth)


@pytest.mark.parametrize("where", ["kwargs", "embed", "beside"])
def test_a_bundle_that_is_deep_elsewhere_is_admitted_whole(where: str) -> None:
    nested = deep(500)
    args = [[EVENT], nested] if where == "beside" else [[EVENT]]
    body = [args, {"a": nested} if where == "kwargs" else {}, {"a": nested} if where == "embed" else {}]
    raw = json.dumps({**with_body(body), "headers": envelope(task=DELIVER_MANY)["headers"]})
    assert_wrapped(admit(raw), raw)
