"""JSON decoding, event by event if the whole cannot be read, so one bad event loses no others."""

import json
import re
from typing import Any

from worker.signal.event import NESTING_LIMIT, deeper_than, may_be_deeper_than
from worker.signal.quick_json import loads

# Whole strings, and the signs that begin, separate and end values. Scanning for them needs no
# recursion, so nesting of any depth costs no stack.
TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]', re.DOTALL)
KOMBU_TYPE = '"__type__"'


def read_json(text: str, levels: int, limit: int | None = None) -> Any:
    """Return the value of `text`.

    An event that Python cannot read (a number of thousands of digits, thousands of levels), or that
    is nested more than `NESTING_LIMIT` deep, stays text.

    Args:
        text: JSON that holds events.
        levels: How many containers deep the events lie.
        limit: If the whole is nested deeper, it is read event by event. None: no limit.

    Raises:
        ValueError: The text around the events is not JSON.
    """
    try:
        value = json.loads(text, object_hook=_plain) if KOMBU_TYPE in text else loads(text)
        if limit is None or not (may_be_deeper_than(limit, text) and deeper_than(limit, value)):
            return value
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError):
        pass  # a number with too many digits, or too many levels
    return _read(text.strip(), levels)


def why_no_event(text: str) -> str | None:
    """Return why `read_json` left the event in `text` as text; None if `text` is no such event."""
    try:
        value = json.loads(text)
    except RecursionError:
        return "the event is nested too deep"
    except json.JSONDecodeError:
        return None
    except ValueError:
        return "the event holds a number of more digits than can be read"
    if isinstance(value, dict) and deeper_than(NESTING_LIMIT, value):
        return f"the event is nested more than {NESTING_LIMIT} deep"
    return None


def _read(text: str, levels: int) -> Any:
    if levels and text[:1] == "[":
        return [_read(each, levels - 1) for each in _split(text)]
    if levels and text[:1] == "{":
        return dict(_member(each, levels - 1) for each in _split(text))
    return _event(text)


def _event(text: str) -> Any:
    try:
        value = json.loads(text, object_hook=_plain)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError):
        return text
    return text if deeper_than(NESTING_LIMIT, value) else value


def _member(text: str, levels: int) -> tuple[str, Any]:
    key = TOKEN.match(text)
    if not key or text[key.end() :].lstrip()[:1] != ":":
        raise ValueError("not a member of an object")
    _, _, value = text[key.end() :].partition(":")
    return json.loads(key[0]), _read(value.strip(), levels)


def _split(text: str) -> list[str]:
    """Return the texts of the entries in the outermost container of `text`.

    Raises:
        ValueError: The container has no end.
    """
    parts: list[str] = []
    depth, start = 0, 1
    for token in TOKEN.finditer(text):
        match token[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
                if not depth:
                    if token.end() != len(text):
                        break
                    last = text[start : token.start()].strip()
                    return [*parts, last] if parts or last else []
            case "," if depth == 1:
                parts.append(text[start : token.start()].strip())
                start = token.end()
    raise ValueError("not JSON")


def _plain(value: dict[str, Any]) -> Any:
    """Return a value that kombu wrapped, such as a date, in the form of this program's producers.

    Other objects are returned unchanged.
    """
    match value:
        case {
            "__type__": "datetime" | "date" | "time" | "bytes" | "base64",
            "__value__": str(text),
            **rest,
        } if not rest:
            return text
        case {"__type__": "decimal", "__value__": str(text), **rest} if not rest:
            return _number(text)
        case {"__type__": "uuid", "__value__": {"hex": str(digits)}, **rest} if (
            not rest and len(digits) == 32
        ):
            return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        case _:
            return value


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
