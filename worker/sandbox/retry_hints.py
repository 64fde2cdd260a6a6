"""How long to wait: one duration, told in each of the ways seen around Mailgun."""

import math
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal, assert_never

HintKind = Literal[
    "none", "retry_after_seconds", "retry_after_date", "reset_seconds", "reset_ms", "body"
]


@dataclass(frozen=True, slots=True)
class Hint:
    """What goes into the answer, and `until` (epoch): the moment before which a client that reads it sends nothing."""

    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, int] = field(default_factory=dict)
    until: float | None = None


def hint(kind: HintKind, seconds: float, *, now: float) -> Hint:
    """The hint to wait `seconds` from now, rounded up to what its form can say (whole seconds, or milliseconds)."""
    whole, moment = math.ceil(seconds), now + seconds
    match kind:
        case "none":
            return Hint()
        case "retry_after_seconds":
            return Hint(headers={"Retry-After": str(whole)}, until=now + whole)
        case "retry_after_date":
            date = math.ceil(moment)
            return Hint(headers={"Retry-After": formatdate(date, usegmt=True)}, until=date)
        case "reset_seconds":
            return Hint(
                headers={"X-RateLimit-Reset": str(math.ceil(moment))}, until=math.ceil(moment)
            )
        case "reset_ms":
            ms = math.ceil(moment * 1000)
            return Hint(headers={"X-RateLimit-Reset": str(ms)}, until=ms / 1000)
        case "body":
            return Hint(body={"retry-seconds": whole}, until=now + whole)
        case _:
            assert_never(kind)
