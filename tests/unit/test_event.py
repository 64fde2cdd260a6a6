"""What counts as an event, and what of it is read, in each of Signal's dialects."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import any_text, json_objects, json_values
from worker.signal.event import MalformedEvent, SignalEvent, id_in, kind_in, parse_event

CONTAINERS = ("properties", "traits", "context")
TEXTS = (
    "event",
    "name",
    "userId",
    "user_id",
    "anonymousId",
    "anonymous_id",
    "groupId",
    "group_id",
    "messageId",
)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (None, "null"),
        ([], "an array"),
        ((), "an array"),
        ("page", "a string"),
        (True, "a boolean"),
        (5, "a number"),
        (5.5, "a number"),
    ],
)
def test_event_that_is_not_an_object_is_malformed(data: object, kind: str) -> None:
    with pytest.raises(MalformedEvent, match=f"^an event is a JSON object, not {kind}$"):
        parse_event(data)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"event": "Signed Up"},
        *({"type": each} for each in (None, "", "  ", 5, True, ["page"], {"a": 1})),
    ],
)
def test_an_event_without_a_usable_type_is_malformed(event: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvent, match="no usable `type`"):
        parse_event(event)


@pytest.mark.parametrize("kind", ["page", " Page ", "PAGE"])
def test_the_type_is_read_ignoring_case_and_spaces(kind: str) -> None:
    assert parse_event({"type": kind}).type == "page"


def test_an_event_needs_nothing_but_its_type() -> None:
    event = parse_event({"type": "identify"})
    assert event == SignalEvent(type="identify")
    assert (event.properties, event.traits, event.context, event.timestamp) == ({}, {}, {}, None)


def test_unknown_fields_are_ignored() -> None:
    assert parse_event({"type": "page", "sentAt": 5, "integrations": {"All": True}}) == parse_event(
        {"type": "page"}
    )


@pytest.mark.parametrize(
    ("camel", "snake"),
    [
        ("userId", "user_id"),
        ("anonymousId", "anonymous_id"),
        ("groupId", "group_id"),
        ("messageId", "message_id"),
    ],
)
def test_ids_are_read_in_camel_case_and_snake_case(camel: str, snake: str) -> None:
    assert getattr(parse_event({"type": "page", camel: "x1"}), snake) == "x1"
    assert getattr(parse_event({"type": "page", snake: "x1"}), snake) == "x1"
    assert getattr(parse_event({"type": "page", camel: None, snake: "x1"}), snake) == "x1"


@pytest.mark.parametrize("name", [*TEXTS, *CONTAINERS, "timestamp"])
def test_an_explicit_null_counts_as_absent(name: str) -> None:
    assert parse_event({"type": "page", name: None}) == parse_event({"type": "page"})


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("value", ["text", 5, True, [], [{"email": "jane@example.com"}]])
def test_a_container_of_another_type_counts_as_absent(name: str, value: object) -> None:
    unread = name == "context" and value != []  # what it says of consent is not known
    read = parse_event({"type": "page", name: value})
    assert read == parse_event({"type": "page"}).model_copy(update={"context_unread": unread})


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [True, 1.5, [], {}, "", "   "])
def test_a_text_of_another_type_or_without_content_counts_as_absent(
    name: str, value: object
) -> None:
    assert parse_event({"type": "page", name: value}) == parse_event({"type": "page"})


def test_a_whole_number_is_read_as_a_text() -> None:
    assert parse_event({"type": "page", "userId": 123}).user_id == "123"


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-01T10:00:00Z",
        "2024-05-01T10:00:00.000Z",
        "2024-05-01T12:00:00+02:00",
        "2024-05-01T10:00:00",
        " 2024-05-01 10:00:00 ",
    ],
)
def test_a_timestamp_is_read_in_utc_and_without_offset_taken_as_utc(text: str) -> None:
    event = parse_event({"type": "page", "timestamp": text})
    assert event.timestamp == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert event.timestamp.tzinfo is UTC


@pytest.mark.parametrize(
    "value", ["yesterday", True, {}, [], 5, "0001-01-01T00:00:00+14:00", "2024-13-01"]
)
def test_a_timestamp_that_is_not_understood_leaves_the_event_undated(value: object) -> None:
    event = parse_event({"type": "page", "timestamp": value})
    assert (event.timestamp, event.undated) == (None, True)


@pytest.mark.parametrize("event", [{}, {"timestamp": None}, {"timestamp": " "}, {"undated": True}])
def test_absent_timestamp_is_not_reported_as_unreadable(event: dict[str, Any]) -> None:
    found = parse_event({"type": "page", **event})
    assert (found.timestamp, found.undated) == (None, False)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"type": "track", "event": "Signed Up"}, "Signed Up"),
        ({"type": "track"}, "track"),
        ({"type": "page", "event": "Signed Up", "name": "Home"}, "page"),
        ({"type": "track", "event": "x" * 200}, "x" * 80),
    ],
)
def test_the_kind_is_the_name_of_a_track_and_else_the_type(
    event: dict[str, Any], kind: str
) -> None:
    assert parse_event(event).kind == kind


def test_parsed_event_is_immutable() -> None:
    event = parse_event({"type": "page"})
    assert parse_event(event) is event


@given(
    st.dictionaries(
        st.sampled_from(["type", *TEXTS, *CONTAINERS, "timestamp"]) | any_text, json_values
    )
)
def test_any_object_is_an_event_or_malformed(data: dict[str, Any]) -> None:
    with suppress(MalformedEvent):
        assert parse_event(data).type


@given(st.dictionaries(st.sampled_from([*TEXTS, *CONTAINERS, "timestamp"]) | any_text, json_values))
def test_an_object_with_a_type_is_always_an_event(data: dict[str, Any]) -> None:
    assert parse_event({**data, "type": "identify"}).type == "identify"


def test_malformed_event_error_quotes_nothing_of_the_event() -> None:
    with pytest.raises(MalformedEvent) as caught:
        parse_event(["jane@example.com"])
    assert "jane" not in str(caught.value)


@given(json_objects, json_values, json_values, json_values, json_values)
def test_kind_and_id_are_the_same_without_reading_the_rest(
    event: dict[str, Any], kind: Any, name: Any, own: Any, other: Any
) -> None:
    types = ["track", "page", " Track ", kind]
    for each in types:
        data = {**event, "type": each, "event": name, "messageId": own, "message_id": other}
        with suppress(MalformedEvent):
            parsed = parse_event(data)
            assert (kind_in(data), id_in(data)) == (parsed.kind, parsed.message_id)


@pytest.mark.parametrize("kind", [None, "", " ", 5, True, [], {}])
def test_event_without_a_usable_type_has_no_kind(kind: object) -> None:
    assert kind_in({"type": kind, "event": "Signed Up"}) == ""
