"""A small picture of dead letters over time, as bars for an inline SVG."""

from dataclasses import dataclass

from worker.ops.dead_letter_overview import Overview, bars

BARS = 48
WIDTH, HEIGHT = 480, 56
GAP = 2


@dataclass(frozen=True)
class Bar:
    """One bar in the picture's own units, with how many letters it stands for."""

    x: float
    y: float
    width: float
    height: float
    letters: int


def picture_of(overview: Overview) -> list[Bar]:
    """Return the bars from the oldest letter to the newest; none if there is no letter."""
    heights = bars(overview, BARS)
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
