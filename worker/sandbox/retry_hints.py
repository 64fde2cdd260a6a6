"""Retry hints: how long to wait, in each of the forms seen around Mailgun."""

import math
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal, assert_never

HintKind = Literal[
    "none", "retry_after_seconds", "retry_after_date", "reset_seconds", "reset_ms", "body"
]


@dataclass(frozen=True, slots=True)
class Hint:
    """The parts of an answer that tell the client to wait.

    Attributes:
        headers: Headers of the answer.
        body: Fields of its JSON body.
        until: Epoch seconds; a client that reads the hint sends nothing before.
    """

    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, int] = field(default_factory=dict)
    until: float | None = None


def hint(kind: HintKind, seconds: float, *, now: float) -> Hint:
    """Return the hint to wait `seconds` from `now` (epoch seconds).

    The time is rounded up to what the form can hold: whole seconds, or milliseconds.
    """
    whole, moment = math.ceil(seconds), now + seconds
    date = math.ceil(moment)
    match kind:
        case "none":
            return Hint()
        case "retry_after_seconds":
            return Hint(headers={"Retry-After": str(whole)}, until=now + whole)
        case "retry_after_date":
            return Hint(headers={"Retry-After": formatdate(date, usegmt=True)}, until=date)
        case "reset_seconds":
            return Hint(headers={"X-RateLimit-Reset": str(date)}, until=date)
        case "reset_ms":
            ms = math.ceil(moment * 1000)
            return Hint(headers={"X-RateLimit-Reset": str(ms)}, until=ms / 1000)
        case "body":
            return Hint(body={"retry-seconds": whole}, until=now + whole)
        case _:
            assert_never(kind)
