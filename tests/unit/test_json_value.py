"""A producer's event as JSON text: what is written, what is refused, and that the quick way is no other way."""

import json
from collections import OrderedDict, UserDict
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.strategies import any_text, json_objects, json_values, strange_json
from worker import MalformedEvent, SignalEvent
from worker.signal.event import NESTING_LIMIT, parse_event
from worker.signal.json_value import event_text, to_json_value

EVENT = {"type": "identify", "messageId": "m1", "traits": {"email": "jane@example.com"}}


class Plan(StrEnum):
    PRO = "pro"


class Level(IntEnum):
    HIGH = 3


ODD_KEYS = [
    None,
    True,
    False,
    float("nan"),
    float("inf"),
    float("-inf"),
    3,
    1.5,
    10**40,
    "null",
    "true",
    Plan.PRO,
    Level.HIGH,
]


def read_back(event: Any) -> Any:
    """What a worker reads of the event; of what is refused, why. As text, in which a NaN equals another."""
    try:
        return repr(json.loads(event_text(event)))
    except MalformedEvent as error:
        return str(error)


def read_closely(event: Any) -> Any:
    """The same by its meaning: each value made plain, and the whole parsed."""
    try:
        sent = to_json_value(event)
        parse_event(sent)
        return repr(json.loads(json.dumps(sent)))
    except MalformedEvent as error:
        return str(error)
    except ValueError:  # of thousands of digits, or a signalling NaN
        return "the event holds a number that JSON cannot carry"


def nested(depth: int, innermost: Any = None) -> Any:
    """An event whose innermost value has so many containers around it."""
    value = innermost
    for level in range(depth - 1):
        value = {"a": value} if level % 2 else [value]
    return {"type": "page", "properties": value}


odd_keys = (
    any_text
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["null", "true", "NaN"])
)
odd_values = st.recursive(
    strange_json
    | st.datetimes()
    | st.decimals()
    | st.uuids()
    | st.binary(max_size=2)
    | st.sampled_from(["🦊", Plan.PRO]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(odd_keys, inner, max_size=3)
    ),
    max_leaves=6,
)
types = st.sampled_from(
    ["page", " Track ", "identify", "", " ", "gr\ud800oup", Plan.PRO, 5, None, True]
)
fields = st.sampled_from(
    ["event", "name", "userId", "messageId", "message_id", "properties", "traits", "timestamp"]
)
events = st.builds(
    lambda kind, more: {"type": kind, **more},
    types,
    st.dictionaries(fields | any_text, odd_values, max_size=4),
)


@given(events | odd_values)
@example({"type": "page", "properties": {1.5: 2, 3: 4, -0.0: 5}})
@example({"type": "page", "properties": {1: "a", "1": "b"}})
@example({"type": "page", "properties": {"a": ({"b": float("nan")},)}})
@example({"type": "track", "event": "\ud800"})
@example({"type": "page", "properties": {"\udfff": 1}})
@example({"type": "page", "traits": {"name": "\ud83e\udd8a half: \udd8a"}})
@example({"type": "track", "event": 10**5000})
@example({"type": "identify", "traits": {"level": Level.HIGH, "plan": Plan.PRO}})
def test_fast_serializer_writes_and_refuses_like_the_strict_one(event: Any) -> None:
    assert read_back(event) == read_closely(event)


@pytest.mark.parametrize("key", ODD_KEYS)
def test_key_that_is_no_text_is_written_as_python_spells_it(key: Any) -> None:
    event = {"type": "page", "properties": {"a": [{key: 1}]}}
    assert json.loads(event_text(event))["properties"] == {"a": [{str(key): 1}]}


@pytest.mark.parametrize("innermost", [None, [], {}, "x", [1]])
@pytest.mark.parametrize(
    "depth", [1, 50, *range(NESTING_LIMIT - 3, NESTING_LIMIT + 4), 300, 900, 5000]
)
def test_nesting_limit_is_the_same_for_each_serializer(depth: int, innermost: Any) -> None:
    event = nested(depth, innermost)
    assert read_back(event) == read_closely(event)


def test_event_of_many_lists_that_is_not_deep_is_accepted() -> None:
    event = {
        "type": "track",
        "event": "Order Completed",
        "properties": {"products": [{"sku": n} for n in range(500)]},
    }
    assert json.loads(event_text(event)) == event


def test_event_that_contains_itself_is_refused() -> None:
    event: dict[str, Any] = {"type": "page"}
    event["properties"] = {"again": event}
    assert read_back(event) == f"the event is nested more than {NESTING_LIMIT} deep"


@given(json_objects)
def test_event_text_is_one_line_and_can_be_encoded(properties: dict[str, Any]) -> None:
    text = event_text({**EVENT, "properties": properties})
    assert "\n" not in text
    assert json.loads(text.encode())["properties"] == properties


@pytest.mark.parametrize("text", ["\u0436", "\u20ac", "\U0001f600", "e\u0301", "\u2028"])
def test_event_text_in_any_script_is_as_short_as_in_utf_8(text: str) -> None:
    assert event_text({"type": "page", "name": text * 1000}).encode().count(text.encode()) == 1000


@pytest.mark.parametrize("half", ["\ud800", "a\udfffb", "\udc80\U0001f600", "\ud83d\u0436"])
def test_half_characters_are_kept_when_written(half: str) -> None:
    assert json.loads(event_text({"type": "page", half: half}).encode())[half] == half


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (datetime(2024, 5, 1, 10, tzinfo=UTC), "2024-05-01T10:00:00+00:00"),
        (date(2024, 5, 1), "2024-05-01"),
        (Decimal("9.95"), 9.95),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ((1, 2), [1, 2]),
        (UserDict({"a": (1,)}), {"a": [1]}),
        (OrderedDict(a=(1,)), {"a": [1]}),
        ({5: "a", None: "b"}, {"5": "a", "None": "b"}),
    ],
)
def test_type_unknown_to_json_is_written_as_a_known_one(value: object, sent: object) -> None:
    assert to_json_value({"a": [value]}) == {"a": [sent]}
    assert json.loads(event_text({**EVENT, "properties": {"a": [value]}}))["properties"] == {
        "a": [sent]
    }


def test_an_event_may_be_any_mapping() -> None:
    assert json.loads(event_text(UserDict(EVENT))) == EVENT


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), 1j])
def test_value_that_json_cannot_carry_is_refused_by_its_type(value: object) -> None:
    with pytest.raises(
        MalformedEvent, match=rf"holds a {type(value).__name__}, which JSON cannot carry"
    ):
        event_text({**EVENT, "properties": {"a": value}})


@pytest.mark.parametrize("value", [10**5000, Decimal("sNaN")], ids=["5,000 digits", "sNaN"])
def test_a_number_that_json_cannot_carry_is_refused_without_being_quoted(value: object) -> None:
    with pytest.raises(MalformedEvent, match=r"^the event holds a number that JSON cannot carry$"):
        event_text({**EVENT, "properties": {"a": value}})


@given(json_values)
def test_json_value_is_written_unchanged(value: Any) -> None:
    assert to_json_value(value) == value


def test_signal_event_model_is_written_as_an_event_that_reads_the_same() -> None:
    event = SignalEvent(
        type="track",
        event="Order Completed",
        user_id="u1",
        message_id="m1",
        properties={"a": None, "b": [1, {"c": 2.5}]},
        timestamp=datetime(2024, 5, 1, 10, tzinfo=UTC),
    )
    assert parse_event(json.loads(event_text(event))) == event


@pytest.mark.parametrize("properties", [{"a": object()}, nested(300)])
def test_a_signal_event_that_json_cannot_carry_is_refused(properties: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvent):
        event_text(SignalEvent(type="page", properties=properties))
