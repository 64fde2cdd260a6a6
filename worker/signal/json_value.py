"""Event encoding: check that a producer's value is an event, and write it as JSON text."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from worker.signal.event import (
    NESTING_LIMIT,
    MalformedEvent,
    SignalEvent,
    deeper_than,
    may_be_deeper_than,
    parse_event,
)
from worker.signal.json_text import json_text

# Keys that `json` writes for None, True, False and floats; `str` would spell them differently.
ODD_KEYS = ('"null":', '"true":', '"false":', '"NaN":', 'Infinity":')


def event_text(event: Mapping[str, Any] | SignalEvent) -> str:
    """Return `event` as JSON on one line, with lone surrogates escaped.

    Raises:
        MalformedEvent: It is no event, or JSON cannot carry it.
    """
    if isinstance(event, SignalEvent):
        event = _dumped(event)
    return _text_of_the_usual(event) or _text_of_any(event)


def to_json_value(value: Any, depth: int = 0) -> Any:
    """Return `value` with dates as ISO 8601, decimals as numbers and UUIDs as text.

    It lies `depth` levels deep in the event.

    Raises:
        MalformedEvent: The value is nested too deep, or holds a type that JSON cannot carry.
    """
    if depth > NESTING_LIMIT:
        raise MalformedEvent(f"the event is nested more than {NESTING_LIMIT} deep")
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): to_json_value(each, depth + 1) for key, each in value.items()}
        case list() | tuple():
            return [to_json_value(each, depth + 1) for each in value]
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return float(value)
        case UUID():
            return str(value)
        case _:
            raise MalformedEvent(
                f"the event holds a {type(value).__name__}, which JSON cannot carry"
            )


def _text_of_the_usual(event: object) -> str | None:
    """Return the JSON of an ordinary event; None if `_text_of_any` must check the event.

    That is several times cheaper than parsing the event.
    """
    if not isinstance(event, dict) or not _has_type(event):
        return None
    try:
        text = json_text(event)
        if may_be_deeper_than(NESTING_LIMIT, text) and deeper_than(NESTING_LIMIT, json.loads(text)):
            return None
    except (TypeError, ValueError, RecursionError):
        return None
    return None if any(each in text for each in ODD_KEYS) else text


def _text_of_any(event: object) -> str:
    try:
        sent = to_json_value(event)
        parse_event(sent)
        return json_text(sent)
    except MalformedEvent:
        raise
    except ValueError:  # a number of thousands of digits, a signalling NaN
        raise MalformedEvent("the event holds a number that JSON cannot carry") from None
    except RecursionError:
        raise MalformedEvent("the event is nested too deep") from None


def _dumped(event: SignalEvent) -> dict[str, Any]:
    try:
        return event.model_dump(mode="json", exclude_none=True)
    except (ValueError, RecursionError):
        raise MalformedEvent("the event is nested too deep") from None


def _has_type(event: dict[Any, Any]) -> bool:
    kind = event.get("type")
    return isinstance(kind, str) and bool(kind.strip())
