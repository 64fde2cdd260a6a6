"""What the commands share towards people: the consoles, the one-line failure, times and spans of time."""

import re
from datetime import UTC, datetime, timedelta

from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Failure(Exception):
    """A command cannot do what was asked; the text is one line that says what to do."""


def instant(text: str, now: datetime) -> datetime:
    """The moment that `text` names: ISO 8601 (without an offset: UTC), or a span before `now` such as 90m, 2h, 7d.

    Raises `ValueError`.
    """
    span = SPAN.fullmatch(text.strip())
    if span:
        return now - timedelta(seconds=float(span[1]) * UNITS[span[2]])
    moment = datetime.fromisoformat(text.strip())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def clock_time(epoch: float | None) -> str:
    """`2026-11-23 12:00:01` in UTC."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S}" if epoch else "-"
