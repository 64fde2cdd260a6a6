"""Parser of JSON documents one after the other, each on one line or on several.

After a document that is broken it goes on with the next one.
"""

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# With RFC 7464's record separator, and byte order marks of files that were joined.
BLANKS = " \t\r\n\x1e\ufeff"
# A line that begins with one of these begins a document, even after a broken one.
BEGINS = ("{", "[", "\x1e")
# The most characters that a line or a document may have. An event has at most half a million.
LONGEST = 16 * 1024 * 1024
# Possessive, so that a string without an end costs no memory.
STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
LINE = re.compile(r"[^\n]*\n|[^\n]+")

first_value = json.JSONDecoder().raw_decode


@dataclass(frozen=True)
class Document:
    """One JSON value and its text, or why it cannot be read.

    Attributes:
        number: The number of its first line, from 1.
        value: The value.
        text: The text of the value.
        complaint: Why it cannot be read; None if it can.
    """

    number: int
    value: Any = None
    text: str = ""
    complaint: str | None = None


@dataclass
class Documents:
    """The documents of one file; lines of an unfinished document are kept until it has ended.

    Attributes:
        number: The number of lines read so far.
    """

    number: int = 0
    # The lines of the document under way, …
    _kept: list[str] = field(default_factory=list)
    # … its braces and brackets that are not closed yet, …
    _open: int = 0
    # … its characters, and …
    _size: int = 0
    # … how many characters it had when it was last parsed without an end.
    _tried: int = 0
    # The lines of a document that was given up, to be read again.
    _again: deque[str] = field(default_factory=deque)
    # Lines are skipped until one begins a document.
    _skipping: bool = False

    def all_in(self, lines: Iterator[str]) -> Iterator[Document]:
        """Yield the documents in `lines`, which have their line ends.

        A line of `LONGEST` characters without an end is too long.
        """
        for line in lines:
            yield from self._read(line)
            while self._again:
                yield from self._read(self._again.popleft())
        while self._kept:
            yield self._give_up("it ends in the middle of a value")
            while self._again:
                yield from self._read(self._again.popleft())

    def _read(self, line: str) -> Iterator[Document]:
        self.number += 1
        if self._skipping and not line.startswith(BEGINS):
            return
        self._skipping = False
        document = None if self._kept else _document(self.number, line)
        if document:
            yield document
        elif self._kept or line.strip(BLANKS):
            self._keep([line])
            yield from self._tried_out()

    def _keep(self, lines: list[str]) -> None:
        self._kept += lines
        self._size += sum(map(len, lines))
        self._open += sum(map(_opened, lines)) if self._size < LONGEST else 0

    def _tried_out(self) -> Iterator[Document]:
        if self._size >= LONGEST:
            yield self._give_up("longer than 16 MiB")
        elif self._open <= 0 or self._size >= 2 * self._tried:
            first, text = self._first, "".join(self._kept)
            found, end, complaint = _values(text)
            for value, start, stop in found:
                yield Document(first + text.count("\n", 0, start), value, text[start:stop])
            self._forget()
            self._keep(LINE.findall(text[end:]))
            self._tried = self._size
            if complaint:
                yield self._give_up(complaint)

    def _give_up(self, complaint: str) -> Document:
        """Leave out the document under way; each of its further lines may begin another."""
        document = Document(self._first, complaint=complaint)
        self._again.extendleft(reversed(self._kept[1:]))
        self.number = self._first
        self._skipping = bool(self._kept[1:])
        self._forget()
        return document

    def _forget(self) -> None:
        self._kept, self._open, self._size, self._tried = [], 0, 0, 0

    @property
    def _first(self) -> int:
        return self.number - len(self._kept) + 1


def _document(number: int, line: str) -> Document | None:
    """Return the document if `line` is a whole one, else None."""
    text = line.strip(BLANKS)
    try:
        return Document(number, json.loads(text), text) if text else None
    except (ValueError, RecursionError):
        return None


def _opened(line: str) -> int:
    bare = STRING.sub("", line)
    return bare.count("{") + bare.count("[") - bare.count("}") - bare.count("]")


def _values(text: str) -> tuple[list[tuple[Any, int, int]], int, str | None]:
    """Return the documents at the start of `text`, and what the rest is.

    Returns:
        The documents, each as its value, start and end; where the rest begins; what is wrong with
        the rest. That is None if there is no rest, or if it may be the beginning of a document.
    """
    found: list[tuple[Any, int, int]] = []
    end = 0
    while (start := _next(text, end)) < len(text):
        try:
            value, stop = first_value(text, start)
        except json.JSONDecodeError as error:
            goes_on = text[start] in "{[" and not text[error.pos :].strip(BLANKS)
            return found, end, None if goes_on else _complaint(error, text)
        except (ValueError, RecursionError) as error:
            return found, end, _complaint(error, text)
        following = text[_next(text, stop) :][:1]
        if following and (following not in "{[" or not isinstance(value, dict | list)):
            return found, end, "not JSON: something follows the value"
        found.append((value, start, stop))
        end = stop
    return found, len(text), None


def _next(text: str, place: int) -> int:
    while place < len(text) and text[place] in BLANKS:
        place += 1
    return place


def _complaint(error: Exception, text: str) -> str:
    match error:
        case RecursionError():
            return "nested too deep"
        case json.JSONDecodeError() if "\0" in text:
            return "not JSON: it holds NUL bytes"
        case json.JSONDecodeError():
            return f"not JSON: {error.msg}"
        case _:
            return "a number of thousands of digits"
