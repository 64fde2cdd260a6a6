"""Events from a file: one object, an array, or NDJSON, told apart by looking; bad lines keep their numbers."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import tracemalloc
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.strategies import json_objects, json_values
from worker.ops import event_file
from worker.ops.event_file import CHUNK, entries, open_events
from worker.ops.json_documents import LONGEST
from worker.ops.text_file import NotText, text_in

A, B = {"type": "page", "n": 1}, {"type": "page", "n": 2, "text": "ü\u2028line"}


def tarred(name: str, data: bytes) -> bytes:
    """A tar archive of one file."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return written.getvalue()


def read(text: str) -> list[tuple[int, Any]]:
    """Number and value of each entry; the class of what is no JSON is `str`."""
    return [
        (each.number, "bad" if each.complaint else each.value)
        for each in entries(io.StringIO(text))
    ]


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
        (f"\n{json.dumps(A, indent=2)}\n\n", [(2, A)]),
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
        (f"[{json.dumps(A)}]\n[{json.dumps(B)}]\n[]\n[5]", [(1, A), (2, B), (3, 5)]),
        (f"[{json.dumps(A)}]\n[", [(1, A), (2, "bad")]),
        (f"{json.dumps(A)}\n{{broken\n{json.dumps(B)}", [(1, A), (2, "bad"), (3, B)]),
        (f"{{broken\n{json.dumps(A)}\n", [(1, "bad"), (2, A)]),
        (f"{{broken\n{LINES}", [(1, "bad"), (2, A), (3, B)]),
        (f"5\n{json.dumps(A)}\n", [(1, 5), (2, A)]),
        ("broken", [(1, "bad")]),
    ],
)
def test_form_of_a_file_is_detected_from_its_content(
    text: str, found: list[tuple[int, Any]]
) -> None:
    assert read(text) == found


PRETTY_A, PRETTY_B = json.dumps(A, indent=2), json.dumps(B, indent=2)  # of four and five lines
DEEP = {
    "type": "page",
    "context": {"page": {"url": "https://x/"}, "list": [{"type": "page"}, {"type": "track"}]},
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{PRETTY_A}\n{PRETTY_B}", [(1, A), (5, B)]),
        (f"{PRETTY_A}{PRETTY_B}\n{PRETTY_A}", [(1, A), (4, B), (9, A)]),
        (f"{PRETTY_A}\n\n{json.dumps(B)}\n{PRETTY_A}\n", [(1, A), (6, B), (7, A)]),
        (json.dumps(A) + json.dumps(B) + "\n" + json.dumps(A), [(1, A), (1, B), (2, A)]),
        (f"\x1e{json.dumps(A)}\n\x1e{PRETTY_B}\n\x1e{json.dumps(A)}\n", [(1, A), (2, B), (7, A)]),
        (json.dumps(A) + "\n\ufeff" + json.dumps(B), [(1, A), (2, B)]),
        # What is broken costs itself, and is never taken apart into events.
        (f'{{"type": "page",\n{json.dumps(A)}\n{json.dumps(B)}\n', [(1, "bad"), (2, A), (3, B)]),
        (f'{{"a": {{"b": 1}}\n{json.dumps(A)}\n{json.dumps(B)}\n', [(1, "bad"), (2, A), (3, B)]),
        (f'{{"a":\n{json.dumps(A)}', [(1, "bad"), (2, A)]),
        (f'{{"a": "unended\n{json.dumps(A)}', [(1, "bad"), (2, A)]),
        (
            json.dumps(DEEP, indent=1).replace('"url"', "url") + f"\n{PRETTY_B}",
            [(1, "bad"), (17, B)],
        ),
        (json.dumps(DEEP, indent=1)[:-2] + f"\n{PRETTY_B}", [(1, "bad"), (16, B)]),
        (json.dumps(DEEP, indent=1)[:-2], [(1, "bad")]),
        (f"{json.dumps(A)},\n{json.dumps(B)}\n", [(1, "bad"), (2, B)]),
        (f"{json.dumps(A)} 5\n{json.dumps(B)}\n", [(1, "bad"), (2, B)]),
        (f"{json.dumps(A)}\n\0\0\0\n{json.dumps(B)}\n", [(1, A), (2, "bad"), (3, B)]),
    ],
)
def test_json_documents_may_follow_one_another_in_any_layout(
    text: str, found: list[tuple[int, Any]]
) -> None:
    assert read(text) == found


objects = st.dictionaries(
    st.text(max_size=5), st.integers() | st.text(max_size=5) | json_objects, max_size=3
)


@settings(max_examples=60)
@given(st.lists(objects, min_size=1, max_size=6), st.data())
def test_objects_joined_in_any_way_are_all_found_again(
    values: list[Any], data: st.DataObject
) -> None:
    indents = data.draw(
        st.lists(st.sampled_from([None, 0, 2]), min_size=len(values), max_size=len(values))
    )
    joint = data.draw(st.sampled_from(["", "\n", "\r\n", "\n\n", " ", "\n\x1e", "\t"]))
    text = joint.join(
        json.dumps(value, indent=indent) for value, indent in zip(values, indents, strict=True)
    )
    assert [value for _, value in read(text)] == values


@settings(max_examples=300, derandomize=True)
@given(
    st.lists(
        st.sampled_from([*'{}[]":,\n\\ \x1e\0', "\udcff", '{"type":"page"}', "5", "a,b", "\n"]),
        max_size=40,
    )
)
def test_any_text_can_be_read_and_each_line_is_reported_at_most_once(parts: list[str]) -> None:
    try:
        found = read("".join(parts))
    except NotText:
        return
    numbers = [number for number, value in found if value == "bad"]
    assert len(numbers) == len(set(numbers))


def test_broken_line_is_reported_with_its_reason() -> None:
    [entry] = entries(io.StringIO("{broken"))
    assert entry.complaint
    assert entry.complaint.startswith("not JSON")
    assert "broken" not in entry.complaint


def test_a_line_nested_too_deep_is_a_bad_line_and_the_rest_is_read() -> None:
    assert read(f"{json.dumps(A)}\n{'[' * 50_000}\n{json.dumps(B)}\n") == [
        (1, A),
        (2, "bad"),
        (3, B),
    ]


def test_ndjson_is_read_line_by_line_and_never_whole(tmp_path: Path) -> None:
    file = tmp_path / "events"
    file.write_text(f"{json.dumps(A)}\n" * 100_000)
    with open_events(file) as stream:
        found = entries(stream)
        assert [next(found).number for _ in range(5)] == [1, 2, 3, 4, 5]
        assert sum(1 for _ in stream) > 50_000  # still to be read


def test_undecodable_bytes_cost_one_line_and_a_byte_order_mark_none(tmp_path: Path) -> None:
    file = tmp_path / "events"
    file.write_bytes(
        b"\xef\xbb\xbf" + json.dumps(A).encode() + b"\n\xff\xfe\n" + json.dumps(A).encode()
    )
    with open_events(file) as stream:
        found = [(each.number, each.complaint is None) for each in entries(stream)]
    assert found == [(1, True), (2, False), (3, True)]


@given(st.lists(json_values, max_size=8), st.sampled_from([None, 0, 3]), st.integers(1, 9))
def test_an_array_is_the_same_however_its_text_is_cut(
    values: list[Any], indent: int | None, chunk: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_file, "CHUNK", chunk)
        assert read(json.dumps(values, indent=indent)) == list(enumerate(values, 1))


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_read_element_by_element_and_never_whole(
    tmp_path: Path, indent: int | None
) -> None:
    file = tmp_path / "events"
    file.write_text(json.dumps([A] * 100_000, indent=indent))
    with open_events(file) as stream:
        found = entries(stream)
        assert [next(found).value for _ in range(5)] == [A] * 5
        assert len(stream.read()) > file.stat().st_size - 4 * CHUNK  # still to be read


def test_element_longer_than_a_chunk_is_read() -> None:
    long = {"type": "page", "text": "x" * (3 * CHUNK)}
    assert read(json.dumps([A, long, A])) == [(1, A), (2, long), (3, A)]


def test_an_array_that_breaks_is_not_read_to_the_end_in_search_of_more() -> None:
    stream = io.StringIO("[" + json.dumps(A) + ', "' + "x" * (3 * LONGEST))
    assert [each.complaint is None for each in entries(stream)] == [True, False]
    assert len(stream.read()) > LONGEST / 2


def test_an_array_nested_too_deep_is_a_bad_element() -> None:
    assert read(f"[{json.dumps(A)}, {'[' * 50_000}]") == [(1, A), (2, "bad")]


def test_file_with_a_broken_first_line_is_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "events"
    line = json.dumps({**A, "text": "x" * 1000})
    file.write_text("{broken\n" + f"{line}\n" * 40_000)
    with open_events(file) as stream:
        found = entries(stream)
        assert [next(found).complaint is None for _ in range(3)] == [False, True, True]
        assert sum(1 for _ in stream) > 30_000  # still to be read


def test_first_line_longer_than_a_chunk_is_one_line() -> None:
    long = {"type": "page", "text": "x" * (3 * CHUNK)}
    assert read(f"{json.dumps(long)}\n{json.dumps(A)}\n") == [(1, long), (2, A)]
    assert read(json.dumps(long)) == [(1, long)]


# -- bytes -------------------------------------------------------------------------------------------------------------


def read_bytes(data: bytes) -> list[tuple[int, Any]]:
    """Number and value of each entry in a file of these bytes."""
    return [
        (each.number, "bad" if each.complaint else each.value)
        for each in entries(text_in(io.BytesIO(data)))
    ]


def refused(data: bytes) -> str:
    """Why a file of these bytes is none of events."""
    with pytest.raises(NotText) as caught:
        read_bytes(data)
    return str(caught.value)


def test_line_that_is_no_utf8_is_a_bad_line_and_is_not_decoded_otherwise() -> None:
    latin = json.dumps({**A, "name": "Zoë Müller"}, ensure_ascii=False).encode("latin-1")
    [first, entry, last] = entries(
        text_in(
            io.BytesIO(
                LINES.splitlines()[0].encode() + b"\n" + latin + b"\n" + json.dumps(A).encode()
            )
        )
    )
    assert (first.complaint, last.complaint) == (None, None)
    assert (entry.number, entry.value) == (2, None)
    assert "UTF-8" in str(entry.complaint)
    assert read_bytes(
        b"[" + json.dumps(A).encode() + b"," + latin + b"," + json.dumps(A).encode() + b"]"
    ) == [
        (1, A),
        (2, "bad"),
        (3, A),
    ]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_damaged_compressed_file_is_read_up_to_the_damage(compress: Any) -> None:
    whole = compress(LINES.encode())
    assert read_bytes(whole) == [(1, A), (2, B)]
    many = compress(
        "".join(json.dumps({**A, "n": os.urandom(200).hex()}) + "\n" for _ in range(5_000)).encode()
    )
    found = read_bytes(many[: len(many) // 2])
    assert len(found) > 1
    assert [value == "bad" for _, value in found] == [False] * (len(found) - 1) + [True]
    assert "damaged" in refused(whole[:12])


@pytest.mark.parametrize(
    "encoding",
    ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"],
)
def test_file_in_any_unicode_encoding_is_read_with_or_without_a_bom(encoding: str) -> None:
    text = json.dumps(A) + "\r\n" + json.dumps(B, ensure_ascii=False) + "\r\n"
    assert read_bytes(text.encode(encoding)) == [(1, A), (2, B)]
    assert read_bytes(gzip.compress(text.encode(encoding))) == [(1, A), (2, B)]


def test_half_a_character_at_the_end_costs_the_last_line() -> None:
    assert read_bytes(LINES.encode("utf-16")[:-5]) == [(1, A), (2, "bad")]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"\x28\xb5\x2f\xfd\x04\x00", "zstd -dc"),
        (b"PK\x03\x04rest", "unzip"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"\x7fELF\x02\x01\x01" + bytes(9), "binary"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "binary"),
        (gzip.compress(b"\x7fELF\x02\x01\x01" + bytes(9), mtime=0), "binary"),
        (tarred("2026.ndjson", b'{"type":"page"}\n'), "tar -xOf"),
        (b"email,name\njane@example.com,Jane\n", "CSV"),
        (b'"email";"name"\n"jane@example.com";"Jane"\n', "CSV"),
        (b"\n\nemail\tname\n\njane@example.com\tJane\n", "CSV"),
        (b"email,name", "CSV"),
    ],
)
def test_file_that_holds_no_events_is_refused_by_its_kind(data: bytes, word: str) -> None:
    assert word in refused(data)


def test_batch_is_reported_and_not_read_as_an_event() -> None:
    for name in ("events", "batch"):
        [entry] = entries(io.StringIO(json.dumps({name: [A], "sentAt": "now"})))
        assert f"`{name}`" in str(entry.complaint)
    assert read(json.dumps({**A, "events": [1]})) == [(1, {**A, "events": [1]})]


def test_pipe_that_yields_byte_by_byte_is_read_as_a_file() -> None:
    ours, theirs = os.pipe()

    def slowly() -> None:
        with os.fdopen(theirs, "wb", buffering=0) as file:
            for byte in gzip.compress(LINES.encode()):
                file.write(bytes([byte]))

    writing = Thread(target=slowly)
    writing.start()
    with os.fdopen(ours, "rb") as file:
        assert [each.value for each in entries(text_in(file))] == [A, B]
    writing.join()


def test_overlong_line_is_a_bad_line_and_costs_no_more_memory(
    tmp_path: Path,
) -> None:
    file = tmp_path / "events.gz"
    with gzip.open(file, "wb", compresslevel=1) as zipped:
        zipped.write(b'{"a": "')
        for _ in range(80):
            zipped.write(b"x" * 1024 * 1024)
        zipped.write(b'"}\n' + LINES.encode())
    tracemalloc.start()
    with open_events(file) as stream:
        found = [(each.number, each.complaint is None) for each in entries(stream)]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [(1, False), (2, True), (3, True)]
    assert most < 8 * LONGEST


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.binary(max_size=200)
    | st.builds(
        lambda head, rest: head + rest,
        st.sampled_from(
            [
                b"\x1f\x8b\x08",
                b"BZh9",
                b"\xfd7zXZ\x00",
                b"\xff\xfe",
                b"{\x00",
                b"[",
                b"\xef\xbb\xbf{",
            ]
        ),
        st.binary(max_size=80),
    )
)
def test_any_bytes_can_be_read_without_a_failure(data: bytes) -> None:
    with suppress(NotText):
        read_bytes(data)
