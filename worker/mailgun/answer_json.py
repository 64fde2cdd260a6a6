"""Decode the JSON of an answer so that one broken value does not lose the others.

A number of too many digits and a value that is nested too deep become NaN, as NaN itself does.
Bytes that are not UTF-8 become lone surrogates. `why_unusable` finds all of these.
"""

import json
import math
import re
from typing import Any

# Digits of a whole number. Python itself refuses more than 4,300, or fewer if it is configured so.
MOST_DIGITS = 600
# Levels of nesting that `why_unusable` accepts; of JSON that is too deep to decode, twice as many
# are decoded.
DEEPEST = 100
TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]+|[\]}]+', re.DOTALL)
SURROGATE = re.compile("[\ud800-\udfff]")


def decoded(body: bytes) -> Any:
    """Return the decoded JSON in `body`; None if `body` is not JSON."""
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    try:
        return DECODER.decode(text)
    except RecursionError:
        pass
    except ValueError:
        return None
    try:
        return DECODER.decode(_shallow(text, 2 * DEEPEST))
    except (ValueError, RecursionError):
        return None


def why_unusable(value: Any, levels: int = DEEPEST) -> str | None:
    """Return why `value`, decoded JSON, cannot be sent again as it is; None if it can.

    `levels` levels of nesting are accepted.
    """
    match value:
        case str():
            if value.isascii() or not SURROGATE.search(value):
                return None
            return "half a character, or bytes that are not UTF-8"
        case float():
            if math.isfinite(value):
                return None
            return "a value that is not a number, or a number that is too large"
        case dict() | list() if levels == 0:
            return "a value that is nested too deep"
        case dict():
            parts = [*value, *value.values()]
        case list():
            parts = value
        case _:
            return None
    return next((why for each in parts if (why := why_unusable(each, levels - 1))), None)


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= MOST_DIGITS else math.nan


DECODER = json.JSONDecoder(strict=False, parse_int=_whole_number)


def _shallow(text: str, deepest: int) -> str:
    """Return the JSON text with NaN in place of each value that is nested deeper than `deepest`."""
    kept: list[str] = []
    depth, start = 0, 0
    for token in TOKENS.finditer(text):
        first, length = text[token.start()], token.end() - token.start()
        if first in "[{":
            if depth <= deepest < depth + length:
                kept.append(text[start : token.start() + deepest - depth])
            depth += length
        elif first in "]}":
            if depth - length <= deepest < depth:
                kept.append("NaN")
                start = token.start() + depth - deepest
            depth -= length
    return "".join(kept) + (text[start:] if depth <= deepest else "")
