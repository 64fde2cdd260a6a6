"""Text from outside as it may be shown: what a terminal obeys, what turns or hides text, and half characters are escaped."""

import json
import re
from typing import Any

# Drawn as nothing although `str.isprintable` lets them through: default-ignorable letters and marks (Unicode's
# DerivedCoreProperties.txt), and the blank of Braille.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

# What this program itself prints, where an encoding does not know it.
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
    r"""Return `text` on one line with every character that is not plainly visible escaped, as in `\x1b`, `\n` or `\u202e`.

    Of white space only the plain blank stays. A second time nothing changes.
    """
    return (
        text
        if _is_fit(text)
        else "".join(each if _is_fit(each) else _escaped(each) for each in text)
    )


def readable_json(value: Any, indent: int | None = None) -> str:
    r"""Return `value` as JSON for people: letters of every script as they are, the rest escaped as JSON does it: `\u202e`.

    Raises `RecursionError` for what is nested too deep.
    """
    lines = json.dumps(value, indent=indent, ensure_ascii=False).split(
        "\n"
    )  # of the layout: in a text they are escaped
    return "\n".join(line if _is_fit(line) else "".join(map(_as_json, line)) for line in lines)


def encodable(text: str, encoding: str) -> str:
    r"""Return `text` as `encoding` can say it: this program's own signs as ASCII, such as `->`, others as `\u2192`."""
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
