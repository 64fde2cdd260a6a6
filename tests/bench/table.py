"""The rows as one Markdown table, which is also readable on a terminal."""

import math
from collections.abc import Callable, Sequence

from tests.bench.figures import Row, percentile, ratio

Cell = Callable[[Row, Sequence[Row]], str]
NOTHING = "–"

COLUMNS: dict[str, Cell] = {
    "Mailgun": lambda row, _: row.condition,
    "competitor": lambda row, _: row.competitor,
    "workers": lambda row, _: str(row.workers),
    "events/s": lambda row, _: three_digits(row.rate),
    "events/min": lambda row, _: f"{row.rate * 60:.0f}" if row.limited else NOTHING,
    "× Celery": lambda row, rows: optional(ratio(row, rows), "{:.2f}"),
    "requests/event": lambda row, _: three_digits(row.requests_per_event),
    "told to wait": lambda row, _: str(row.refused) if row.limited else NOTHING,
    "CPU ms/event": lambda row, _: three_digits(row.cpu_ms_per_event),
    "peak MB": lambda row, _: f"{row.megabytes:.0f}",
    "p50 ms": lambda row, _: milliseconds(percentile(row.latencies, 50)),
    "p99 ms": lambda row, _: milliseconds(percentile(row.latencies, 99)),
    "sandbox CPU": lambda row, _: f"{row.sandbox_load:.0%}",
    "members": lambda row, _: row.members,
}
LEFT = {"Mailgun", "competitor", "members"}

LEGEND = """\
× Celery: multiple of plain Celery's rate in the same run, condition and number of workers
requests/event: all requests, with reads and refused ones   told to wait: requests answered 429
p50, p99: from enqueued to stored, at a steady pace that leaves the workers idle between events
peak MB: all processes of the competitor
stripped: the member has what its event set, and no longer what that event did not mention
"""


def table(rows: Sequence[Row]) -> str:
    """Return one line for each row.

    Rows of the same condition and number of workers stand together.
    """
    rows = side_by_side(rows)
    cells = [list(COLUMNS), *([cell(row, rows) for cell in COLUMNS.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = [
        "-" * width if name in LEFT else "-" * (width - 1) + ":"
        for name, width in zip(COLUMNS, widths, strict=True)
    ]
    head, *body = (_placed(line, widths) for line in cells)
    return "\n".join(_line(each) for each in (head, rule, *body))


def side_by_side(rows: Sequence[Row]) -> list[Row]:
    """Return the rows by condition, in the order of first appearance, then by workers."""
    conditions = list(dict.fromkeys(row.condition for row in rows))
    return sorted(rows, key=lambda row: (conditions.index(row.condition), row.workers))


def three_digits(value: float) -> str:
    """Return three significant digits, at most three decimals: 1240, 338, 45.2, 1.31, 0.013."""
    if math.isnan(value):
        return NOTHING
    if value == 0:
        return "0"
    decimals = max(2 - math.floor(math.log10(value)), 0)
    return f"{value:.{min(decimals, 3)}f}"


def milliseconds(seconds: float | None) -> str:
    return optional(None if seconds is None else seconds * 1000, "{:.0f}")


def optional(value: float | None, form: str) -> str:
    return NOTHING if value is None else form.format(value)


def _placed(cells: list[str], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if name in LEFT else cell.rjust(width)
        for name, cell, width in zip(COLUMNS, cells, widths, strict=True)
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
