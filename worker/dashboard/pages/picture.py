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


def picture_of(heights: Sequence[float]) -> list[Bar]:
    """Return the bars for these numbers, the earliest first; none if all numbers are 0."""
    highest = max(heights, default=0.0)
    if not highest:
        return []
    width = WIDTH / len(heights)
    return [
        Bar(
            round(place * width, 1),
            round(HEIGHT - height, 1),
            round(max(1.0, min(width, 24) - GAP), 1),
            round(height, 1),
            round(count),
        )
        for place, count in enumerate(heights)
        for height in [max(1.5 if count >= 0.5 else 0.0, HEIGHT * count / highest)]
    ]
