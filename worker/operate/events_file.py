"""Events from a file: one JSON object, an array of them, or NDJSON, told apart by looking at the file."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Entry:
    """One value of the file, or why there is none."""

    number: int  # of its line (NDJSON) or its place in the array, from 1
    value: Any = None
    complaint: str | None = None


def entries(stream: IO[str]) -> Iterator[Entry]:
    """Every value in `stream`. NDJSON goes line by line in flat memory; any other JSON text is read whole."""
    start = ""
    for line in _without_mark(stream):
        start += line
        if line.strip():
            break
    if isinstance(_loaded(start), dict) or not start.strip():
        yield from _lines(start, stream)
        return
    text = start + stream.read()
    document = _loaded(text)
    if isinstance(document, list):
        yield from (Entry(number, value) for number, value in enumerate(document, 1))
    elif document is not None:
        yield Entry(1, document)
    else:
        yield from _lines(text, iter(()))


def _without_mark(stream: IO[str]) -> Iterator[str]:
    """The lines; a byte order mark before the first one is no part of it."""
    for number, line in enumerate(stream):
        yield line if number else line.removeprefix("\ufeff")


def open_events(file: Path) -> IO[str]:
    """`file` for reading; what is no UTF-8 becomes a bad line. Raises `OSError`."""
    return file.open(encoding="utf-8-sig", errors="replace")


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
