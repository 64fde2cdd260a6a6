"""The tables of the results, in Markdown that is also readable on a terminal."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from tests.bench.figures import (
    AnyRow,
    LimitRow,
    Measured,
    Row,
    behind,
    percentile,
    ratio,
    refused,
    used,
)

NOTHING = "–"
RIGHT = {"events/s", "events/min", "× Celery", "requests", "requests/event", "CPU ms/event"}
RIGHT |= {"workers", "peak MB", "p50 ms", "p99 ms", "sandbox CPU", "events", "refused", "used"}

COLUMNS: dict[str, Callable[[Row, Sequence[Row]], str]] = {
    "events are": lambda row, _: row.traffic,
    "Mailgun": lambda row, _: row.condition,
    "competitor": lambda row, _: row.competitor,
    "workers": lambda row, _: str(row.workers),
    "events/s": lambda row, _: three_digits(row.rate),
    "× Celery": lambda row, rows: multiple(ratio(row, rows)),
    "events": lambda row, _: str(row.events),
    "requests": lambda row, _: str(row.requests),
    "requests/event": lambda row, _: three_digits(row.requests_per_event),
    "CPU ms/event": lambda row, _: three_digits(row.cpu_ms_per_event),
    "peak MB": lambda row, _: f"{row.megabytes:.0f}",
    "p50 ms": lambda row, _: milliseconds(percentile(row.latencies, 50)),
    "p99 ms": lambda row, _: milliseconds(percentile(row.latencies, 99)),
    "sandbox CPU": lambda row, _: f"{row.sandbox_load:.0%}",
    "members": lambda row, _: row.members,
    "behind Celery in": lambda row, rows: ", ".join(behind(row, rows)) or NOTHING,
}
LEGEND = """\
events are: known – of people on the list, each changes something; new – of people who are not;
  unchanged – identify events that say what Mailgun holds; task-id – as known, Mailgun's answers to
  members.json have a task-id, and it stores the members afterwards
× Celery: multiple of plain Celery's rate in the same run, traffic, condition and number of workers
requests: all, with reads   peak MB: all processes of the competitor
p50, p99: from enqueued to stored, at a steady pace that leaves the workers idle between events
stripped: the member has what its event set, and no longer what that event did not mention
behind Celery in: what is worse than plain Celery's by more than a twentieth"""

LIMIT_COLUMNS: dict[str, Callable[[LimitRow, Sequence[LimitRow]], str]] = {
    "events are": lambda row, _: row.traffic,
    "Mailgun allows": lambda row, _: row.condition,
    "competitor": lambda row, _: row.competitor,
    "workers": lambda row, _: str(row.workers),
    "events/min": lambda row, _: three_digits(row.rate * 60),
    "× Celery": lambda row, rows: multiple(ratio(row, rows)),
    "refused": lambda row, _: share(row.refused),
    "used": lambda row, _: share(row.used),
    "events by window": lambda row, _: in_turn(str(each.stored) for each in row.windows),
    "refused by window": lambda row, _: in_turn(share(refused([each])) for each in row.windows),
    "used by window": lambda row, _: in_turn(
        share(used([each], row.limit)) for each in row.windows
    ),
    "members": lambda row, _: row.members,
}
LIMIT_LEGEND = """\
refused: of all requests, those answered with 429   used: of the requests allowed, those made
by window: one window of the limit after another; before the first one no limit was known
then: the limit was changed under way"""


def rate_table(rows: Sequence[Row]) -> str:
    """Return one line for each row without a limit."""
    return table(COLUMNS, rows)


def limit_table(rows: Sequence[LimitRow]) -> str:
    """Return one line for each row under a limit."""
    return table(LIMIT_COLUMNS, rows)


def in_short(rows: Sequence[Measured]) -> str:
    """Return one line for each competitor: its rates as multiples of plain Celery's.

    All are with one worker. Conditions that plain Celery did not meet are left out; the text is
    empty if there is no other.
    """
    found = {
        (row.competitor, row.traffic, row.condition): value
        for row in rows
        if row.workers == 1 and (value := ratio(row, rows)) is not None
    }
    if not found:
        return ""
    conditions = list(dict.fromkeys(key[1:] for key in found))
    return markdown(
        ["one worker, × Celery", *(f"{kind}, {condition}" for kind, condition in conditions)],
        [
            [name, *(multiple(found.get((name, *each))) for each in conditions)]
            for name in dict.fromkeys(key[0] for key in found)
        ],
        {f"{kind}, {condition}" for kind, condition in conditions},
    )


def table(
    columns: Mapping[str, Callable[[AnyRow, Sequence[AnyRow]], str]], rows: Sequence[AnyRow]
) -> str:
    """Return one line for each row, with these columns.

    Rows of the same traffic, condition and number of workers stand together.
    """
    rows = side_by_side(rows)
    return markdown(
        list(columns), [[cell(row, rows) for cell in columns.values()] for row in rows], RIGHT
    )


def markdown(head: list[str], body: Sequence[list[str]], right: set[str]) -> str:
    """Return a Markdown table; the columns named in `right` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    rule = [
        "-" * (width - 1) + ":" if name in right else "-" * width
        for name, width in zip(head, widths, strict=True)
    ]
    placed = [
        [
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(head, line, widths, strict=True)
        ]
        for line in (head, *body)
    ]
    return "\n".join(f"| {' | '.join(each)} |" for each in (placed[0], rule, *placed[1:]))


def side_by_side(rows: Sequence[AnyRow]) -> list[AnyRow]:
    """Return the rows by traffic and condition, in the order of first appearance, then by workers."""
    kinds = list(dict.fromkeys(row.traffic for row in rows))
    conditions = list(dict.fromkeys(row.condition for row in rows))
    return sorted(
        rows,
        key=lambda row: (
            kinds.index(row.traffic),
            conditions.index(row.condition),
            row.workers,
        ),
    )


def three_digits(value: float) -> str:
    """Return three significant digits, at most three decimals: 1240, 338, 45.2, 1.31, 0.013."""
    if math.isnan(value):
        return NOTHING
    if value == 0:
        return "0"
    decimals = max(2 - math.floor(math.log10(value)), 0)
    return f"{value:.{min(decimals, 3)}f}"


def milliseconds(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{seconds * 1000:.0f}"


def multiple(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def share(value: float) -> str:
    return f"{value:.1%}"


def in_turn(values: Iterable[str]) -> str:
    return ", ".join(values)
