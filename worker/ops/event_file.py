"""Reader of event files: JSON documents one after the other, on one line or several, or arrays.

The content shows which form it is. A value that cannot be read becomes an entry with a complaint,
and reading goes on. A file of another kind raises `NotText`.
"""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from worker.ops.json_documents import BLANKS, LONGEST, Document, Documents, first_value
from worker.ops.text_file import BROKEN, NOT_TEXT, NotText, lines_of, text_in, whole_line

CHUNK = 16 * 1024  # characters of an array read at a time
SEPARATORS = (",", ";", "\t")  # of a CSV file
DAMAGED = "the compressed file is damaged from here on: the rest is left out"
BAD_BYTES = "bytes that are no UTF-8 text; iconv -f latin1 -t utf-8 FILE converts a Latin-1 file"
# Where a request to Signal, or one of a Segment library, carries its events.
BATCHES = ("events", "batch")


@dataclass(frozen=True)
class FileEntry:
    """One value of the file, or why there is none.

    Attributes:
        number: The number of its first line, or its position in the array, from 1.
        value: The value.
        complaint: Why it cannot be read; None if it can.
    """

    number: int
    value: Any = None
    complaint: str | None = None


def entries(stream: IO[str]) -> Iterator[FileEntry]:
    """Yield each value in `stream`; memory does not grow with the file.

    A damaged compressed file ends with a complaint, after the values before the damage.

    Raises:
        NotText: The file is CSV.
        OSError: Reading fails.
    """
    number = 0
    try:
        for entry in _entries(stream):
            number = entry.number
            yield entry
    except (OSError, *BROKEN) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not bz2's
            raise
        yield FileEntry(number + 1, complaint=DAMAGED)


@contextmanager
def open_events(file: Path) -> Iterator[IO[str]]:
    """Open `file` as text, whatever its compression and its Unicode encoding.

    Raises:
        OSError: The file cannot be opened or read.
        NotText: The file is neither text nor a supported compression of it.
    """
    try:
        opened = file.open("rb")
    except ValueError:  # its name has a NUL or half a character
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
    """Yield the elements of the array whose rest is `text` and `stream`, and of arrays after it."""
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
    """Read the array's element at the start of `text`, with more from `stream` until it has ended.

    Returns:
        The value, its text, and what follows it, without its comma; None if it is no JSON, or is
        too long.
    """
    while len(text) <= LONGEST:
        try:
            value, end = first_value(text)
            rest = text[end:].lstrip(BLANKS)
            if rest.startswith((",", "]")):
                return value, text[:end], rest.removeprefix(",")
        except (ValueError, RecursionError):
            pass  # the value may go on; a number, too: "0." begins with 0
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
                    complaint=f"its events lie in `{name}`: send those, "
                    f"as jq -c '.{name}[]' FILE prints",
                )
    return FileEntry(number, value, document.complaint)
