"""Search for a person's data in messages, so that an operator can erase it.

An event about another address does not match, even if it mentions the person. In a message that
names no valid address every text counts: that is a malformed event, or a message that could not be
read, whose bytes are searched plain, decoded from base64, and decompressed.
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import idna

from worker.queue.compression import LIMIT_BYTES, compression_of, decompressed
from worker.queue.dead_letter_filter import address_of
from worker.queue.intake import events_read
from worker.queue.message import Message
from worker.redis_client.raw_text import bytes_of
from worker.signal.address import MalformedEmail, ascii_lower, lenient_address, normalize_address
from worker.signal.preset import Preset

BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
ESCAPED = re.compile(r"(?<!\\)\\+(?:u([0-9a-fA-F]{4})|[nrtbf])")
# Enough for a body in base64, compressed, that holds another in base64.
DEEPEST = 3
CHARSETS = ("utf-8", "utf-16-le", "utf-16-be", "latin-1")


@dataclass(frozen=True)
class Person:
    """A person, by address.

    Attributes:
        address: The address in the form that `lenient_address` returns.
        preset: Where an event carries its address.
    """

    address: str
    preset: Preset

    def is_in(self, message: Message) -> bool:
        """Return True if the message is this person's.

        It is an event, or a message of which no event could be read. A bundle returns False, since
        each of its events is asked about by itself.
        """
        if message.original is not None:
            return not events_read(message) and self._is_in_bytes(
                bytes_of(message.original), DEEPEST
            )
        if message.is_bundle:
            return False
        with suppress(MalformedEmail):
            return normalize_address(address_of(message.args, self.preset)) == self.address
        texts = texts_in([*message.args, dict(message.kwargs)])
        return any(map(self._is_in_text, texts))

    def _is_in_text(self, text: str) -> bool:
        if self._mention.search(ascii_lower(text)):
            return True
        unescaped = ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else " ", text)
        if self._mention.search(ascii_lower(unescaped)):
            return True
        return "@" in text and len(text) <= 1000 and lenient_address(text) == self.address

    def _is_in_bytes(self, data: bytes, deeper: int) -> bool:
        if any(self._is_in_text(data.decode(each, "replace")) for each in CHARSETS):
            return True
        return deeper > 0 and any(self._is_in_bytes(each, deeper - 1) for each in _within(data))

    @cached_property
    def _mention(self) -> "re.Pattern[str]":
        spellings = "|".join(
            re.escape(ascii_lower(each)) for each in (self.address, in_punycode(self.address))
        )
        return re.compile(rf"(?<![\w.+-])(?:{spellings})(?![\w-]|\.\w)")


def in_punycode(address: str) -> str:
    """Return the address with its domain in Punycode, or unchanged if it has no such form."""
    local, _, domain = address.rpartition("@")
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError:
        return address


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in `value`, with keys of dicts, and the texts in JSON within a text."""
    left = [value]
    while left:
        match left.pop():
            case str(text):
                yield text
                if text.lstrip()[:1] in ("{", "["):
                    with suppress(ValueError, RecursionError):
                        left.append(json.loads(text))
            case dict() as known:
                left += known.keys()
                left += known.values()
            case list() | tuple() as several:
                left += several


def _within(data: bytes) -> Iterator[bytes]:
    """Yield what is compressed or encoded in base64 in `data`."""
    name = compression_of(data)
    if name:
        try:
            yield decompressed(data, name, LIMIT_BYTES)
        except (ValueError, LookupError, OverflowError):
            return
    for found in BASE64.finditer(
        b"".join(data.replace(b"\\n", b"").split()) if b"\n" in data else data
    ):
        text = found[0].rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        yield base64.b64decode(text[: len(text) - (len(text) % 4 == 1)] + b"=" * (-len(text) % 4))
