"""JSON decoding, event by event if the whole cannot be read, so one bad event loses no others."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from worker.signal.event import NESTING_LIMIT, deeper_than, may_be_deeper_than
from worker.signal.quick_json import loads

# Whole strings, and the signs that begin, separate and end values. Scanning for them needs no
# recursion, so nesting of any depth costs no stack.
TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]', re.DOTALL)
KOMBU_TYPE = '"__type__"'
# The body of a bundle as this program's producers write it: its events remain text.
_bundle = msgspec.json.Decoder(tuple[tuple[list[msgspec.Raw]], dict[str, msgspec.Raw], Any]).decode


class EventTexts:
    """The events of a bundle as JSON text; each is decoded whenever it is asked for, and not kept.

    So the events in hand take little memory, and what is decoded is still in the CPU's cache when
    it is used.
    """

    __slots__ = ("_texts",)

    def __init__(self, texts: Sequence[msgspec.Raw]) -> None:
        """Keep the texts, each of which is valid JSON."""
        self._texts = texts

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._texts)

    def __iter__(self) -> Iterator[Any]:
        """Yield the events."""
        return map(_decoded, self._texts)


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


def read_bundle(text: str) -> list[Any] | None:
    """Return the body of a bundle in `text`, with its events as `EventTexts`.

    Returns None unless `text` has the form that this program's producers write, and is nested no
    deeper than can be read; `read_json` reads all forms.
    """
    if KOMBU_TYPE in text:
        return None
    try:
        (texts,), kwargs, more = _bundle(text.encode())
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return None
    return None if kwargs else [[EventTexts(texts)], {}, more]


def event_in(value: Any) -> Any:
    """Return the event in `value` if it is a JSON text of one, else `value`."""
    return bare_event(value) or value if isinstance(value, str) else value


def bare_event(text: str) -> dict[str, Any] | None:
    """Return the event in a JSON text, or None if there is none."""
    try:
        value = json.loads(text) if text.lstrip()[:1] == "{" else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("type"), str) else None


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


def _decoded(raw: msgspec.Raw) -> Any:
    """Return the event in `raw`, or its text if Python cannot read it."""
    text = bytes(raw).decode()
    try:
        return event_in(loads(text))
    except (ValueError, RecursionError):
        return text


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
