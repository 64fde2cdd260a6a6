"""JSON by `msgspec`: the same values and the same errors as Python's `json` has."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given

from tests.unit.strategies import any_text, json_values, strange_json
from worker.signal.quick_json import ascii_json, compact_json, loads

# What `msgspec` refuses or might read otherwise, as other clients write it.
TEXTS = [
    "NaN",
    '{"a": [1, -Infinity]}',
    "123456789012345678901234567890",
    "-9223372036854775809",
    "1e400",
    "-0",
    "0.1e-7",
    "1.00000000000000000001",
    '"\\ud83d"',
    '"\\ud83d\\ude00"',
    '{"a": 1, "a": 2}',
    '"a\\u0000b"',
    " \t\r\n1 ",
    "9" * 5000,
    "[" * 500 + "]" * 500,
    "[" * 100_000,
    '"\x01"',
    "\ufeff{}",
    '"\udcff"',
    "01",
    "{'a': 1}",
    "[1,]",
    "",
    "1 2",
]


def result(read: Any, text: str) -> tuple[str, str]:
    """What came of the text, in a form in which NaN equals NaN and 1 is not 1.0."""
    try:
        return "read", repr(read(text))
    except (ValueError, RecursionError) as error:
        return "refused", type(error).__name__


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_text_is_read_or_refused_as_json_does(text: str) -> None:
    assert result(loads, text) == result(json.loads, text)


@given(any_text)
def test_any_text_is_read_or_refused_as_json_does(text: str) -> None:
    assert result(loads, text) == result(json.loads, text)


@given(strange_json)
def test_any_value_is_read_as_json_reads_it(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert result(loads, text) == result(json.loads, text)


@given(json_values)
def test_any_value_is_written_so_that_json_reads_it(value: Any) -> None:
    for text in (compact_json(value), ascii_json(value)):
        assert repr(json.loads(text)) == repr(json.loads(json.dumps(value)))
    assert ascii_json(value).isascii()


def test_letters_are_escaped_only_where_ascii_is_asked_for() -> None:
    assert compact_json({"name": "Şahin"}) == '{"name":"Şahin"}'
    assert ascii_json({"name": "Şahin"}) == '{"name":"\\u015eahin"}'


@given(strange_json)
def test_what_is_written_is_always_strict_json(value: Any) -> None:
    with suppress(ValueError):
        json.loads(compact_json(value), parse_constant=pytest.fail)
    with suppress(ValueError):
        json.loads(ascii_json(value), parse_constant=pytest.fail)


def test_a_value_of_a_type_that_nothing_can_write_is_refused() -> None:
    with pytest.raises(TypeError):
        compact_json({"a": object()})
