"""A small picture of a number over time, as bars for an inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

BARS = 48
WIDTH, HEIGHT = 480, 56
GAP = 2


@dataclass(frozen=True)
class Bar:
    """One bar in the picture's own units, with how many messages it stands for."""

    x: float
    y: float
    width: float
    height: float
    count: int


def picture_of(counts: Sequence[float]) -> list[Bar]:
    """Return the bars for these numbers, the earliest first; none if all numbers are 0."""
    highest = max(counts, default=0.0)
    if not highest:
        return []
    step, bars = WIDTH / len(counts), []
    width = round(max(1.0, min(step, 24) - GAP), 1)
    for place, count in enumerate(counts):
        height = max(1.5 if count >= 0.5 else 0.0, HEIGHT * count / highest)
        x, y = round(place * step, 1), round(HEIGHT - height, 1)
        bars.append(Bar(x, y, width, round(height, 1), round(count)))
    return bars
