"""Events of a bundle that are decoded one by one."""

import json
from typing import Any

import pytest
from hypothesis import given

from tests.unit.strategies import strange_json
from worker.signal.event_json import EventTexts, event_in, read_bundle, read_json

EVENT = {"type": "identify", "traits": {"email": "jane@example.com", "name": "Zoë"}}
EMBED = {"callbacks": None, "chain": None}
# Of events that `json` reads and `msgspec` does not, and the other way round.
ODD = [
    "1e999",
    "NaN",
    "-Infinity",
    '"\\ud800"',
    "9" * 5000,
    "-0",
    "1.0",
    '"{\\"type\\":\\"page\\"}"',
]


def bundle(events: str, kwargs: str = "{}") -> str:
    return f"[[[{events}]],{kwargs},{json.dumps(EMBED)}]"


def events_at_once(text: str) -> str:
    return repr(list(map(event_in, read_json(text, 3)[0][0])))


def test_a_bundle_is_read_with_its_events_as_text() -> None:
    text = bundle(f"{json.dumps(EVENT)}, {json.dumps(EVENT, ensure_ascii=False)}")
    body = read_bundle(text)
    assert body is not None
    (events,), kwargs, embed = body
    assert isinstance(events, EventTexts)
    assert len(events) == 2
    assert list(events) == list(events) == [EVENT, EVENT]
    assert (kwargs, embed) == ({}, EMBED)


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_odd_event_of_a_bundle_is_read_as_all_at_once_would_be(odd: str) -> None:
    for event in (odd, f'{{"type":"page","value":{odd}}}', f"[{odd}]"):
        text = bundle(f"{json.dumps(EVENT)},{event},{json.dumps(EVENT)}")
        body = read_bundle(text)
        assert body is None or repr(list(body[0][0])) == events_at_once(text)


@pytest.mark.parametrize("escaped", [True, False])
@given(value=strange_json)
def test_any_event_of_a_bundle_is_read_as_all_at_once_would_be(
    *, value: Any, escaped: bool
) -> None:
    text = json.dumps([[[value, EVENT]], {}, EMBED], ensure_ascii=escaped)
    body = read_bundle(text)
    assert body is None or repr(list(body[0][0])) == events_at_once(text)


@pytest.mark.parametrize(
    "text",
    [
        "[[[{},]],{},{}]",
        "[[[{}]],{},{}",
        "[[[{} {}]],{},{}]",
        "[[[01]],{},{}]",
        '[[["\x01"]],{},{}]',
        "[[[{}],[{}]],{},{}]",
        "[[{}],{},{}]",
        "[[[{}]],[],{}]",
        "[[[{}]],{}]",
        bundle("{}", '{"events": []}'),
        bundle('{"__type__": "datetime", "__value__": "2026-01-01"}'),
        bundle("[" * 100_000 + "]" * 100_000),
        f'[[[{{}}]],{{}},{{"chain":{"9" * 5000}}}]',
        '{"args": [[{}]], "task": "signal.deliver_many"}',
        "",
    ],
)
def test_what_is_not_quite_a_bundle_of_ours_is_left_to_the_slower_reader(text: str) -> None:
    assert read_bundle(text) is None
