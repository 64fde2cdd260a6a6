"""Moments and spans as text for operators."""

import math
from datetime import UTC, datetime

from worker.queue.codec import LATEST


def clock_time(epoch: float | None) -> str:
    """Return `epoch` seconds as `2026-11-23 12:00:01` in UTC; `-` if absent, `?` if no time."""
    if not epoch:
        return "-"
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S}" if 0 < epoch < LATEST else "?"


def span(seconds: float) -> str:
    """Return a span as `3 h 12 min`, `4 min` or `7 s`; `?` if `seconds` is not finite.

    Less than 0 is `0 s`: the clocks of two machines differ.
    """
    if not math.isfinite(seconds):
        return "?"
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{int(seconds // 60)} min" if seconds >= 60 else f"{max(0, int(seconds))} s"
