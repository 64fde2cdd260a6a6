"""Events from a file: JSON documents one after the other, each on a line or on several, or one array; told apart by looking.

What cannot be read is an entry with a complaint, and the rest goes on. What is no such file at all raises `NotText`.
"""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from worker.ops.json_documents import BLANKS, LONGEST, Document, Documents
from worker.ops.text_file import BROKEN, NOT_TEXT, NotText, lines_of, text_in, whole_line

CHUNK = 16 * 1024  # characters of an array read at a time
SEPARATORS = (",", ";", "\t")  # of a CSV file
BAD_BYTES = "bytes that are no UTF-8 text; iconv -f latin1 -t utf-8 FILE converts a Latin-1 file"
BATCHES = (
    "events",
    "batch",
)  # where a request to Signal, or a Segment library's, carries its events

_first_value = json.JSONDecoder().raw_decode


@dataclass(frozen=True)
class FileEntry:
    """One value of the file, or why there is none."""

    number: int  # of its first line, or its place in the array, from 1
    value: Any = None
    complaint: str | None = None


def entries(stream: IO[str]) -> Iterator[FileEntry]:
    """Every value in `stream`, in flat memory. Raises `NotText`, and `OSError` when reading fails.

    A damaged compressed file ends with a complaint; what comes before the damage has been read by then.
    """
    number = 0
    try:
        for entry in _entries(stream):
            number = entry.number
            yield entry
    except BROKEN:
        yield FileEntry(
            number + 1,
            complaint="the compressed file is damaged from here on: the rest is left out",
        )
    except OSError as error:
        if error.errno is not None:
            raise
        yield FileEntry(
            number + 1,
            complaint="the compressed file is damaged from here on: the rest is left out",
        )


@contextmanager
def open_events(file: Path) -> Iterator[IO[str]]:
    """`file` as text, whatever its compression and its Unicode encoding. Raises `OSError` or `NotText`."""
    try:
        opened = file.open("rb")
    except ValueError:  # a NUL or half a character in its name
        raise FileNotFoundError(errno.ENOENT, "no file has such a name") from None
    with opened:
        yield text_in(opened)


def _entries(stream: IO[str]) -> Iterator[FileEntry]:
    blank, start = 0, stream.readline(CHUNK)
    while start and not start.strip(BLANKS):
        blank, start = blank + start.endswith("\n"), stream.readline(CHUNK)
    if start.lstrip(BLANKS).startswith("["):
        yield from _elements(start.lstrip(BLANKS)[1:], stream)
        return
    start = whole_line(start, stream, LONGEST)
    lines = lines_of(stream, LONGEST)
    if not _is_json(start) and start.lstrip(BLANKS)[:1] != "{":
        second = next((line for line in lines if line.strip(BLANKS)), "")
        _refuse_csv(start, second)
        lines = chain([second], lines)
    yield from map(_entry, Documents(blank).all_in(chain([start], lines)))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_csv(first: str, second: str) -> None:
    if "{" in first:  # JSON with something before it
        return
    for separator in SEPARATORS:
        if first.count(separator) > 0 and (
            not second or first.count(separator) == second.count(separator)
        ):
            raise NotText("CSV, not JSON: write each row as one JSON object a line")


# One array


def _elements(text: str, stream: IO[str]) -> Iterator[FileEntry]:
    """The elements of the array that goes on with `text`, and then in `stream`, and of the arrays that follow it."""
    number = 1
    while True:
        text = _not_blank(text, stream)
        if text.startswith("]"):
            text = _not_blank(text[1:], stream)
            if not text.startswith("["):
                break
            text = text[1:]
        elif found := _element(text, stream):
            value, spelled, text = found
            yield _entry(Document(number, value, spelled))
            number += 1
        else:
            yield FileEntry(
                number, complaint="not JSON from here on: the rest of the array is left out"
            )
            return
    if text:
        yield FileEntry(number, complaint="not JSON: what follows the array is left out")


def _element(text: str, stream: IO[str]) -> tuple[Any, str, str] | None:
    """The value at the start of `text`, which is read on until that has ended for sure, its text, and what follows its comma."""
    while len(text) <= LONGEST:
        try:
            value, end = _first_value(text)
            rest = text[end:].lstrip(BLANKS)
            if rest.startswith((",", "]")):
                return value, text[:end], rest.removeprefix(",")
        except (ValueError, RecursionError):
            pass  # perhaps because it goes on, as a number may too: "0." begins with 0
        more = stream.read(max(CHUNK, len(text)))
        if not more:
            break
        text += more
    return None


def _not_blank(text: str, stream: IO[str]) -> str:
    while not (text := text.lstrip(BLANKS)) and (more := stream.read(CHUNK)):
        text = more
    return text


def _entry(document: Document) -> FileEntry:
    number, value = document.number, document.value
    if NOT_TEXT in document.text:
        return FileEntry(number, complaint=BAD_BYTES)
    if isinstance(value, dict) and not isinstance(value.get("type"), str):
        for name in BATCHES:
            if isinstance(value.get(name), list):
                return FileEntry(
                    number,
                    complaint=f"its events lie in `{name}`: send those, as jq -c '.{name}[]' FILE prints",
                )
    return FileEntry(number, value, document.complaint)
