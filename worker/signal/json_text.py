"""JSON as it is sent: every letter as it is, so that text in no script takes more room than UTF-8 needs."""

import json
import re
from typing import Any

HALF_CHARACTER = re.compile("[\ud800-\udfff]")
# Circular values are found by their depth, which costs nothing; looking for them costs a third more.
_written = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def json_text(value: Any) -> str:
    """Return `value` as JSON on one line that can be encoded as UTF-8: only half characters are escaped.

    Raises `TypeError`, `ValueError` or `RecursionError` for what JSON cannot carry.
    """
    text = _written(value)
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return HALF_CHARACTER.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
    return text


def bytes_in(text: str) -> int:
    """Return how many bytes `text` takes as UTF-8."""
    return len(text) if text.isascii() else len(text.encode())
