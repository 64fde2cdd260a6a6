"""Escape control, bidirectional and invisible characters, and lone surrogates, in outside text."""

import json
import re
from typing import Any

# Invisible although `str.isprintable` accepts them: default-ignorable letters and marks (Unicode's
# DerivedCoreProperties.txt), and the blank Braille cell.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

# Replacements for this program's own signs, used if the encoding lacks them.
_PLAIN = str.maketrans(
    {
        "✓": "+",
        "✗": "x",
        "→": "->",
        "…": "...",
        "–": "-",
        "·": "*",
        "≥": ">=",
        "━": "-",
        "╸": "-",
        "╺": "-",
    }
)


def printable(text: str) -> str:
    r"""Return `text` on one line with every invisible character escaped, as in `\x1b` or `\u202e`.

    The only white space that stays is the plain space. The function is idempotent.
    """
    if _is_fit(text):
        return text
    return "".join(each if _is_fit(each) else _escaped(each) for each in text)


def readable_json(value: Any, indent: int | None = None) -> str:
    r"""Return `value` as JSON for people: visible characters stay, others are escaped as `\u202e`.

    Args:
        value: The value.
        indent: Spaces for each level; None writes one line.

    Raises:
        RecursionError: The value is nested too deep.
    """
    # JSON escapes line breaks within strings, so these are the layout's.
    lines = json.dumps(value, indent=indent, ensure_ascii=False).split("\n")
    return "\n".join(line if _is_fit(line) else "".join(map(_as_json, line)) for line in lines)


def encodable(text: str, encoding: str) -> str:
    r"""Return `text` with the characters that `encoding` lacks replaced.

    This program's own signs become ASCII, such as `->`; others are escaped, as in `\u2192`.
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    return text


def _is_fit(text: str) -> bool:
    return text.isprintable() and (text.isascii() or not _INVISIBLE.search(text))


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return _SHORT.get(character) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _as_json(character: str) -> str:
    return character if _is_fit(character) else json.dumps(character)[1:-1]
