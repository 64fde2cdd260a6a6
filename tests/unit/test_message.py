"""An event's message: what it says of its way, and the form in which it lies on Redis."""

import base64
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from tests.unit.strategies import any_text, json_values, messages, strange_json
from worker.delivery.message import (
    TASK,
    TRAIL_LENGTH,
    Message,
    Try,
    UnreadableMessage,
    decoded,
    encoded,
    message_of,
    progress,
    usable_id,
)

QUEUE = "mailgun.default"
EVENT = {"type": "identify", "traits": {"email": "jane@example.com"}}
MESSAGE = Message(id="m1", args=(EVENT,), kind="identify", enqueued_at=100.0)
FAILED = Try(at=200.0, outcome="unavailable", status=503)


def headers_of(raw: str) -> dict[str, Any]:
    headers: dict[str, Any] = json.loads(raw)["headers"]
    return headers


@given(messages)
def test_a_message_reads_back_as_it_was_written(message: Message) -> None:
    assert decoded(encoded(message, QUEUE))[0] == message


@given(messages)
def test_what_lies_on_redis_is_plain_ascii_on_one_line(message: Message) -> None:
    raw = encoded(message, QUEUE)
    assert raw.isascii()
    assert raw.isprintable()


def test_the_form_is_celerys_protocol_2() -> None:
    envelope = json.loads(encoded(MESSAGE, QUEUE))
    assert envelope["headers"]["task"] == TASK
    assert envelope["headers"]["id"] == envelope["properties"]["correlation_id"] == "m1"
    assert envelope["properties"]["delivery_info"] == {"exchange": "", "routing_key": QUEUE}
    assert (envelope["content-type"], envelope["content-encoding"]) == ("application/json", "utf-8")
    args, kwargs, embed = json.loads(base64.b64decode(envelope["body"]))
    assert (args, kwargs) == ([EVENT], {})
    assert embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def test_flower_is_shown_the_kind_in_place_of_the_arguments() -> None:
    raw = encoded(MESSAGE, QUEUE)
    assert (headers_of(raw)["argsrepr"], headers_of(raw)["kwargsrepr"]) == ("identify", "{}")
    assert "jane" not in raw


def test_nothing_expires_or_waits_in_a_workers_memory() -> None:
    headers = headers_of(encoded(MESSAGE, QUEUE))
    assert (headers["eta"], headers["expires"], headers["timelimit"]) == (None, None, [None, None])


def test_flowers_retries_are_the_parkings() -> None:
    assert headers_of(encoded(replace(MESSAGE, parkings=3), QUEUE))["retries"] == 3


def test_further_headers_are_kept_and_given_back() -> None:
    message, headers = decoded(encoded(MESSAGE, QUEUE, dead_letter={"reason": "rejected"}))
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
def test_what_is_no_message_is_unreadable_in_one_line(raw: str) -> None:
    with pytest.raises(UnreadableMessage) as caught:
        decoded(raw)
    assert str(caught.value).isprintable()


@given(any_text | strange_json.map(json.dumps))
def test_any_text_is_a_message_or_unreadable(raw: str) -> None:
    with suppress(UnreadableMessage):
        assert isinstance(decoded(raw)[0], Message)


@given(strange_json)
def test_a_message_whose_progress_is_garbage_is_read_or_unreadable(value: Any) -> None:
    envelope = json.loads(encoded(MESSAGE, QUEUE))
    for name in ("enqueued_at", "patience_from", "attempts", "throttled", "trail"):
        envelope["headers"]["signal"] = {name: value}
        with suppress(UnreadableMessage):
            decoded(json.dumps(envelope))[0].seen(1.0)


def test_a_bare_clients_message_says_nothing_of_its_way() -> None:
    found = message_of(id="t1", args=[EVENT], kwargs={}, headers={"argsrepr": "({'email': 'jane@example.com'},)"})
    assert found == Message(id="t1", args=(EVENT,), kind="event")


def test_what_a_bare_client_shows_of_its_arguments_is_not_taken_over_with_empty_progress() -> None:
    found = message_of(id="t1", args=[EVENT], kwargs={}, headers={"argsrepr": "jane@example.com", "signal": {}})
    assert found.kind == "event"


def test_a_failed_attempt_is_counted_and_ends_a_row_of_throttlings() -> None:
    found = replace(MESSAGE, attempts=1, throttled=4, parkings=5).tried(FAILED, spent=True)
    assert (found.attempts, found.throttled, found.parkings, found.trail) == (2, 0, 6, (FAILED,))


def test_a_throttled_attempt_is_free() -> None:
    found = replace(MESSAGE, attempts=1, throttled=4, parkings=5).tried(FAILED, spent=False)
    assert (found.attempts, found.throttled, found.parkings) == (1, 5, 6)


def test_waiting_without_being_tried_counts_only_as_a_parking() -> None:
    tired = replace(MESSAGE, attempts=1, throttled=4, parkings=5, trail=(FAILED,))
    assert tired.parked() == replace(tired, parkings=6)


def test_no_parked_message_is_a_probe() -> None:
    probe = replace(MESSAGE, probe=True)
    assert not probe.parked().probe
    assert not probe.tried(FAILED, spent=True).probe
    assert not probe.tried(FAILED, spent=False).probe


def test_what_lies_on_redis_never_says_that_it_is_a_probe() -> None:
    assert not decoded(encoded(replace(MESSAGE, probe=True), QUEUE))[0].probe


@pytest.mark.parametrize(
    ("said", "is_probe"), [(True, True), (False, False), (None, False), (1, False), ("yes", False)]
)
def test_a_message_is_a_probe_only_where_the_worker_says_so(said: object, is_probe: bool) -> None:  # noqa: FBT001
    assert message_of(id="m1", args=[EVENT], kwargs={}, headers={"signal": {"probe": said}}).probe is is_probe


def test_the_trail_keeps_the_latest_attempts() -> None:
    message = MESSAGE
    for at in range(TRAIL_LENGTH + 5):
        message = message.tried(Try(at, "unavailable", 503), spent=True)
    assert [each.at for each in message.trail] == list(range(5, TRAIL_LENGTH + 5))


def test_patience_counts_from_when_the_event_was_enqueued() -> None:
    assert MESSAGE.seen(500.0) == replace(MESSAGE, patience_from=100.0)


def test_patience_of_a_bare_clients_event_counts_from_when_it_was_first_seen() -> None:
    found = replace(MESSAGE, enqueued_at=None).seen(500.0)
    assert (found.enqueued_at, found.patience_from) == (500.0, 500.0)
    assert found.seen(900.0) == found


def test_a_time_of_zero_is_a_time() -> None:
    found = Message(id="m", args=(), enqueued_at=0.0, patience_from=0.0)
    assert found.seen(500.0) == found


def test_a_replayed_event_has_all_patience_ahead_of_it_and_keeps_its_story() -> None:
    tired = replace(MESSAGE, patience_from=100.0, attempts=50, throttled=3, parkings=60, trail=(FAILED,))
    assert tired.replayed(900.0) == replace(tired, attempts=0, throttled=0, patience_from=900.0)


@given(messages)
def test_progress_is_json(message: Message) -> None:
    json.dumps(progress(message), allow_nan=False)


@pytest.mark.parametrize("value", ["a", "m-1", "0123456789", "a.b:c_d-e", "A" * 128])
def test_an_id_that_is_safe_to_show_is_usable(value: str) -> None:
    assert usable_id(value) == value


@pytest.mark.parametrize(
    "value", [None, "", 5, True, "jane@example.com", "a b", "a\nb", "a\n", "-a", "ä", "A" * 129, ["a"], "a/b"]
)
def test_an_id_that_is_not_safe_to_show_is_not_usable(value: object) -> None:
    assert usable_id(value) is None


@given(json_values)
def test_any_value_is_a_usable_id_or_not(value: Any) -> None:
    assert usable_id(value) in (value, None)
