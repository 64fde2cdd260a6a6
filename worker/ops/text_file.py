"""Decoder of text files: it detects compression and Unicode encoding, and names other formats.

It looks only at the first bytes, and reads nothing twice, so that a FIFO or standard input will do.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, cast

from worker.queue.compression import compression_of

# Bytes that are enough to detect the format.
HEAD = 64
# Characters read at a time of a line that is left out.
CHUNK = 256 * 1024
# Stands for bytes that are no text in the file's encoding.
NOT_TEXT = "\udcff"

# What reading a damaged compressed file raises.
BROKEN = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)

# The caller closes the files.
COMPRESSED: dict[str | None, Callable[[IO[bytes]], IO[bytes]]] = {
    "gzip": lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb")),
    "bzip2": lambda file: cast("IO[bytes]", bz2.BZ2File(file)),
    "xz": lambda file: cast("IO[bytes]", lzma.LZMAFile(file)),  # noqa: SIM115
}
UNREADABLE = {
    b"\x28\xb5\x2f\xfd": "compressed by zstd: zstd -dc FILE | signal-mailgun send -",
    b"\x04\x22\x4d\x18": "compressed by lz4: lz4 -dc FILE | signal-mailgun send -",
    b"\x1f\x9d": "compressed by compress: gzip -dc FILE | signal-mailgun send -",
    b"PK\x03\x04": "a zip archive: unzip -p FILE | signal-mailgun send -",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"PAR1": "a Parquet file: write its rows as one JSON object a line",
    b"Obj\x01": "an Avro file: write its records as one JSON object a line",
    b"SQLite format 3": "an SQLite database: write its rows as one JSON object a line",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a picture",
}
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# JSON begins with an ASCII character; the zeros beside it show the encoding (RFC 4627, section 3).
ZEROS = {
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
}
# How a JSON value begins.
BEGINNINGS = frozenset('{["-0123456789tfn')


class NotText(ValueError):
    """The error of a file that cannot be read as text; its text says what it is and what to do."""


def text_in(file: IO[bytes]) -> IO[str]:
    """Return `file` as text that is read on demand; bytes that are no text become `NOT_TEXT`.

    Reading from it raises one of `BROKEN`, or `OSError`, if a compressed file is damaged.

    Raises:
        NotText: It is no text, or a compressed file that is damaged from its beginning.
        OSError: Reading fails.
    """
    head, file = _peek(file)
    opened = COMPRESSED.get(compression_of(head))
    if opened:
        try:
            head, file = _peek(opened(file))
        except (OSError, *BROKEN):
            raise NotText("a compressed file that is damaged from its beginning") from None
    encoding, mark = _encoding(head)
    _refuse(head, encoding)
    file.read(mark)
    return io.TextIOWrapper(cast("io.BufferedReader", file), encoding, errors="marked")


def _peek(file: IO[bytes]) -> tuple[bytes, IO[bytes]]:
    """Return the first bytes of `file`, and a file that begins with them and goes on with it."""
    head = b""
    while len(head) < HEAD and (more := file.read(HEAD - len(head))):
        head += more
    return head, cast("IO[bytes]", io.BufferedReader(_Joined(head, file), io.DEFAULT_BUFFER_SIZE))


class _Joined(io.RawIOBase):
    """A file that consists of some bytes and the rest of another file."""

    def __init__(self, head: bytes, file: IO[bytes]) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        size = len(buffer)
        data = self._head[:size] or self._more(size)
        self._head = self._head[size:]
        buffer[: len(data)] = data
        return len(data)

    def _more(self, size: int) -> bytes:
        # `read1` returns what is there, without waiting for more.
        read = getattr(self._file, "read1", self._file.read)
        return cast("bytes", read(size) or b"")


def _encoding(head: bytes) -> tuple[str, int]:
    """Return the encoding that `head` shows, and the length of its byte order mark in bytes."""
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    zeros = tuple(byte == 0 for byte in head[:4])
    return ZEROS.get(cast("tuple[bool, bool, bool, bool]", zeros), "utf-8"), 0


def _refuse(head: bytes, encoding: str) -> None:
    for magic, what in UNREADABLE.items():
        if head.startswith(magic):
            raise NotText(what)
    text = head.decode(encoding, "replace").lstrip("\ufeff \t\r\n\x1e")
    if "\0\0\0\0" in text:
        raise NotText(
            "no text but binary data; "
            "of a tar archive, tar -xOf FILE | signal-mailgun send - reads the files"
        )
    if text[:1] not in BEGINNINGS and any(
        ord(each) < 32 and each not in "\t\r\n\x1b\x1e" for each in text
    ):
        raise NotText("no text but binary data: JSON is needed, one object a line")


def _marked(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return NOT_TEXT, error.end


codecs.register_error("marked", _marked)


def lines_of(stream: IO[str], longest: int) -> Iterator[str]:
    """Yield the lines of `stream`.

    Of a line of more than `longest` characters only its first part is yielded, without a line end.
    """
    while line := whole_line("", stream, longest):
        yield line


def whole_line(start: str, stream: IO[str], longest: int) -> str:
    """Return the line that begins with `start` and goes on in `stream`.

    If it is longer than `longest` characters, the rest of it is read and left out.
    """
    line = start if start[-1:] == "\n" else start + stream.readline(longest - len(start))
    if len(line) >= longest and line[-1:] != "\n":
        while (rest := stream.readline(CHUNK)) and rest[-1:] != "\n":
            pass
    return line
