"""Events from a file: one JSON object, an array of them, or NDJSON, told apart by looking at the file."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

BLANKS = " \t\r\n"
CHUNK = 16 * 1024  # characters of an array read at a time
LONGEST = (
    16 * 1024 * 1024
)  # characters within which a value that takes several lines must end; an event has half a million

_first_value = json.JSONDecoder().raw_decode


@dataclass(frozen=True)
class Entry:
    """One value of the file, or why there is none."""

    number: int  # of its line (NDJSON) or its place in the array, from 1
    value: Any = None
    complaint: str | None = None


def entries(stream: IO[str]) -> Iterator[Entry]:
    """Every value in `stream`, in flat memory: the elements of an array, else line by line, else one value of many lines."""
    start = _first_line(stream)
    if start.lstrip(BLANKS).startswith("["):
        yield from _elements(start.lstrip(BLANKS)[1:], stream)
        return
    start += stream.readline() if start[-1:] not in {"", "\n"} else ""
    if start and not isinstance(_loaded(start), dict):
        start += stream.read(LONGEST)
        more = stream.readline()
        document = None if more else _loaded(start)
        if document is not None:
            yield Entry(1, document)
            return
        start += more
    yield from _lines(start, stream)


def open_events(file: Path) -> IO[str]:
    """`file` for reading; what is no UTF-8 becomes a bad line. Raises `OSError`."""
    return file.open(encoding="utf-8-sig", errors="replace")


def _first_line(stream: IO[str]) -> str:
    """The first line that is not blank, at most a chunk of it, and the blank ones before it; without a byte order mark."""
    start = stream.readline(CHUNK).removeprefix("\ufeff")
    while not start.strip(BLANKS) and (line := stream.readline(CHUNK)):
        start += line
    return start


def _elements(text: str, stream: IO[str]) -> Iterator[Entry]:
    """The elements of the array that goes on with `text`, and then in `stream`."""
    number = 1
    while not (text := _not_blank(text, stream)).startswith("]"):
        found = _element(text, stream)
        if found is None:
            yield Entry(number, complaint="not JSON from here on: the rest of the array is left out")
            return
        value, text = found
        yield Entry(number, value)
        number += 1
    if _not_blank(text[1:], stream):
        yield Entry(number, complaint="not JSON: what follows the array is left out")


def _element(text: str, stream: IO[str]) -> tuple[Any, str] | None:
    """The value at the start of `text`, which is read on until that has ended for sure, and what follows it and its comma."""
    while len(text) <= LONGEST:
        try:
            value, end = _first_value(text)
            rest = text[end:].lstrip(BLANKS)
            if rest.startswith((",", "]")):
                return value, rest.removeprefix(",")
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


def _lines(start: str, rest: Iterator[str] | IO[str]) -> Iterator[Entry]:
    number = 0
    for source in (io.StringIO(start), rest):
        for line in source:
            number += 1
            if line.strip():
                yield _entry(number, line)


def _entry(number: int, line: str) -> Entry:
    try:
        return Entry(number, json.loads(line))
    except (ValueError, RecursionError) as error:
        return Entry(number, complaint=f"not JSON: {getattr(error, 'msg', type(error).__name__)}")


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
