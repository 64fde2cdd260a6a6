"""The figures of all runs as a table, printed at the end of the run."""

from collections.abc import Callable, Sequence

from tests.chaos.checks import Figures

COLUMNS: dict[str, Callable[[Figures], str]] = {
    "fault": lambda it: it.name,
    "mode": lambda it: it.mode,
    "events": lambda it: str(it.events),
    "delivered": lambda it: str(it.outcomes["delivered"]),
    "unchanged": lambda it: str(it.outcomes["unchanged"]),
    "superseded": lambda it: str(it.outcomes["superseded"]),
    "skipped": lambda it: str(it.outcomes["skipped"]),
    "malformed": lambda it: str(it.outcomes["dead letter"]),
    "replayed": lambda it: str(it.died.total() - it.died["malformed_email"]),
    "clicks": lambda it: str(it.clicks),
    "lost": lambda it: str(len(it.lost)),
    "wrong": lambda it: str(len(it.wrong)),
    "resubscribed": lambda it: str(len(it.resubscribed)),
    "early": lambda it: str(len(it.early)),
    "alive": lambda it: f"{it.alive}/{it.of}",
    "requests": lambda it: str(it.requests),
    "per event": lambda it: f"{it.requests / it.events:.2f}",
    "told to wait": lambda it: str(it.throttled),
    "seconds": lambda it: f"{it.seconds:.0f}",
    "slowest": lambda it: f"{it.slowest:.1f}",
    "back s": lambda it: "" if it.back is None else f"{it.back:.1f}",
    "MB": lambda it: f"{it.megabytes:.0f}",
}


LABELS = 2  # columns that hold text

LEGEND = """\
malformed: dead letters of invalid addresses, which stay
replayed: dead letters that ended well after a replay
told to wait: 429 or 420 with a hint   early: requests in spite of a hint
slowest: seconds from enqueue to its first end, of the slowest event whose member Mailgun can answer
MB: the largest worker at the end
back s: the slowest recovery: a killed worker's events had ended; all workers consumed again after
        Redis was away or connections were cut; Mailgun was written to again after an outage;
        the hold ended after the key was fixed
"""


def table(figures: Sequence[Figures]) -> str:
    """Return one line for each run, with all notes below."""
    rows = [list(COLUMNS), *([cell(each) for cell in COLUMNS.values()] for each in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_placed(row, widths)) for row in rows]
    return "\n".join(
        [
            *lines,
            "",
            LEGEND,
            *(f"{each.name}, {each.mode}: {note}" for each in figures for note in each.notes),
        ]
    )


def _placed(row: list[str], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if place < LABELS else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
