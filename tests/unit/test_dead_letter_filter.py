"""Filters of dead letters: a wrong value is told with what there is, on the command line and to the task alike."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.strategies import any_text, strange_json
from worker.queue.dead_letter_filter import FILTERS, parse_filter

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def refusal(**filters: Any) -> str:
    """Why these filters are refused: one line."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse_filter(NOW, filters)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_unknown_reason_error_lists_the_reasons_and_suggests_one() -> None:
    told = refusal(reason="rejcted")
    assert "did you mean rejected?" in told
    assert "list_not_found" in told
    assert "did you mean" not in refusal(reason="\x1bbogus")


def test_dead_letter_reason_of_another_program_can_be_filtered_for() -> None:
    assert parse_filter(NOW, {"reason": "odd"}, others=lambda: ["odd"]).reason == "odd"
    assert parse_filter(NOW, {"reason": "unknown"}).reason == "unknown"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"status": 999}, "from 100 to 599"),
    ({"status": True}, "whole number"),
    ({"status": "400"}, "whole number"),
    ({"reason": 5}, "takes a text"),
    ({"reason": ""}, "empty"),
    ({"id": " "}, "empty"),
    ({"kind": ""}, "empty"),
    ({"since": ""}, "empty"),
    ({"email": "jane"}, "address"),
    ({"email": "@x"}, "address"),
    ({"email": "a@b@c"}, "address"),
    ({"since": "yesterday"}, "ISO 8601"),
    ({"since": "9999999d"}, "too far away"),
    ({"since": "1" * 400 + "d"}, "too far away"),
    ({"since": "0001-01-01T00:00+14:00"}, "too far away"),
    ({"since": "2026-11-26"}, "in the future"),
    ({"since": "1h", "until": "2h"}, "after the filter until"),
    ({"limits": 5}, "no filter limits"),
    ({"reasons": "rejected"}, "did you mean reason?"),
    ({"preset": None}, "no filter preset"),
    ({"now": None}, "no filter now"),
]


@pytest.mark.parametrize(("filters", "word"), WRONG)
def test_wrong_filter_value_error_shows_a_right_one(filters: dict[str, Any], word: str) -> None:
    assert word in refusal(**filters)


def test_right_filter_values_are_parsed() -> None:
    wanted = parse_filter(
        NOW, {"since": "2h", "until": "2100-01-01T00:00+02:00", "status": 400, "email": " A@x.com "}
    )
    assert wanted.since == NOW - timedelta(hours=2)
    assert wanted.until == datetime(2099, 12, 31, 22, tzinfo=UTC)
    assert (wanted.status, wanted.email, wanted.reason) == (400, " A@x.com ", None)
    assert parse_filter(NOW, dict.fromkeys(FILTERS)) == parse_filter(NOW, {})


spans = st.from_regex(r"\A[0-9.+-]{1,400}[smhd]\Z")


@settings(max_examples=300, derandomize=True)
@given(st.dictionaries(st.sampled_from(FILTERS) | any_text, strange_json | spans, max_size=3))
def test_any_filters_are_understood_or_refused_in_one_line(filters: dict[str, Any]) -> None:
    try:
        parse_filter(NOW, filters)
    except ValueError as error:
        assert str(error).isprintable()  # noqa: PT017  both ends are right
