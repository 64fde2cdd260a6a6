"""Events from a file: one object, an array, or NDJSON, told apart by looking; bad lines keep their numbers."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import json_values
from worker.operate import events_file
from worker.operate.events_file import CHUNK, LONGEST, entries, open_events

A, B = {"type": "page", "n": 1}, {"type": "page", "n": 2, "text": "ü\u2028line"}


def read(text: str) -> list[tuple[int, Any]]:
    """Number and value of each entry; the class of what is no JSON is `str`."""
    return [(each.number, "bad" if each.complaint else each.value) for each in entries(io.StringIO(text))]


LINES = f"{json.dumps(A)}\n{json.dumps(B, ensure_ascii=False)}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("\n \n", []),
        (LINES, [(1, A), (2, B)]),
        (LINES.strip(), [(1, A), (2, B)]),
        (f"\n\n{LINES}\n\n", [(3, A), (4, B)]),
        (json.dumps(A), [(1, A)]),
        (json.dumps(A, indent=2), [(1, A)]),
        (f"\n{json.dumps(A, indent=2)}\n\n", [(1, A)]),
        (json.dumps([A, B]), [(1, A), (2, B)]),
        (json.dumps([A, B], indent=4), [(1, A), (2, B)]),
        ("[]", []),
        ("[1, null]", [(1, 1), (2, None)]),
        (" \n[ ]\n", []),
        ("[12,3.5 ,\ttrue\n]", [(1, 12), (2, 3.5), (3, True)]),
        (f"[{json.dumps(A)},", [(1, A), (2, "bad")]),
        (f"[{json.dumps(A)}", [(1, "bad")]),
        (f"[{json.dumps(A)}, {{broken}}, {json.dumps(B)}]", [(1, A), (2, "bad")]),
        (f"[{json.dumps(A)} {json.dumps(B)}]", [(1, "bad")]),
        (f"[{json.dumps(A)}]\n{json.dumps(B)}", [(1, A), (2, "bad")]),
        ("[", [(1, "bad")]),
        (f"{json.dumps(A)}\n{{broken\n{json.dumps(B)}", [(1, A), (2, "bad"), (3, B)]),
        (f"{{broken\n{json.dumps(A)}\n", [(1, "bad"), (2, A)]),
        (f"{{broken\n{LINES}", [(1, "bad"), (2, A), (3, B)]),
        (f"5\n{json.dumps(A)}\n", [(1, 5), (2, A)]),
        ("broken", [(1, "bad")]),
        (f"{json.dumps(A, indent=2)}\n{json.dumps(B, indent=2)}", None),
    ],
)
def test_the_form_is_told_by_looking(text: str, found: list[tuple[int, Any]] | None) -> None:
    if (
        found is None
    ):  # two pretty objects after another are no JSON: every line is reported, none is taken for an event
        assert not any(isinstance(value, dict) and "type" in value for _, value in read(text))
    else:
        assert read(text) == found


def test_a_line_says_why_it_is_none() -> None:
    [entry] = entries(io.StringIO("{broken"))
    assert entry.complaint
    assert entry.complaint.startswith("not JSON")
    assert "broken" not in entry.complaint


def test_a_line_nested_too_deep_is_a_bad_line_and_the_rest_is_read() -> None:
    assert read(f"{json.dumps(A)}\n{'[' * 50_000}\n{json.dumps(B)}\n") == [(1, A), (2, "bad"), (3, B)]


def test_ndjson_is_read_line_by_line_and_never_whole(tmp_path: Path) -> None:
    file = tmp_path / "events"
    file.write_text(f"{json.dumps(A)}\n" * 100_000)
    with open_events(file) as stream:
        found = entries(stream)
        assert [next(found).number for _ in range(5)] == [1, 2, 3, 4, 5]
        assert sum(1 for _ in stream) > 50_000  # still to be read


def test_a_byte_order_mark_and_bytes_that_are_no_text_cost_one_line(tmp_path: Path) -> None:
    file = tmp_path / "events"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(A).encode() + b"\n\xff\xfe\n" + json.dumps(A).encode())
    with open_events(file) as stream:
        found = [(each.number, each.complaint is None) for each in entries(stream)]
    assert found == [(1, True), (2, False), (3, True)]


@given(st.lists(json_values, max_size=8), st.sampled_from([None, 0, 3]), st.integers(1, 9))
def test_an_array_is_the_same_however_its_text_is_cut(values: list[Any], indent: int | None, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events_file, "CHUNK", chunk)
        assert read(json.dumps(values, indent=indent)) == list(enumerate(values, 1))


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_read_element_by_element_and_never_whole(tmp_path: Path, indent: int | None) -> None:
    file = tmp_path / "events"
    file.write_text(json.dumps([A] * 100_000, indent=indent))
    with open_events(file) as stream:
        found = entries(stream)
        assert [next(found).value for _ in range(5)] == [A] * 5
        assert len(stream.read()) > file.stat().st_size - 4 * CHUNK  # still to be read


def test_an_element_may_be_longer_than_what_is_read_at_a_time() -> None:
    long = {"type": "page", "text": "x" * (3 * CHUNK)}
    assert read(json.dumps([A, long, A])) == [(1, A), (2, long), (3, A)]


def test_an_array_that_breaks_is_not_read_to_the_end_in_search_of_more() -> None:
    stream = io.StringIO("[" + json.dumps(A) + ', "' + "x" * (3 * LONGEST))
    assert [each.complaint is None for each in entries(stream)] == [True, False]
    assert len(stream.read()) > LONGEST / 2


def test_an_array_nested_too_deep_is_a_bad_element() -> None:
    assert read(f"[{json.dumps(A)}, {'[' * 50_000}]") == [(1, A), (2, "bad")]


def test_lines_whose_first_is_broken_are_not_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "events"
    line = json.dumps({**A, "text": "x" * 1000})
    file.write_text("{broken\n" + f"{line}\n" * 40_000)
    with open_events(file) as stream:
        found = entries(stream)
        assert [next(found).complaint is None for _ in range(3)] == [False, True, True]
        assert sum(1 for _ in stream) > 10_000  # still to be read
        assert sum(1 for _ in found) > 10_000


def test_a_first_line_longer_than_what_is_read_at_a_time_is_one_line() -> None:
    long = {"type": "page", "text": "x" * (3 * CHUNK)}
    assert read(f"{json.dumps(long)}\n{json.dumps(A)}\n") == [(1, long), (2, A)]
    assert read(json.dumps(long)) == [(1, long)]
