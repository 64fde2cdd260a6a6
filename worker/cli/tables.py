"""Rows of values: a table on a wide terminal, two lines a row on a narrow one, else one line a row.

No value is ever broken across lines, so an id can be copied, and found by grep.
"""

from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len

from worker.cli.console import out, styled
from worker.printable import printable

GAP = 2  # spaces between two columns
INDENT = "    "


def print_rows(header: Sequence[str], rows: Iterable[Sequence[str]], *, key: int = 0) -> None:
    """Print `rows` under `header`; tab-separated and without `header` if there is no terminal.

    `key` is the index of the column that identifies a row.
    """
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(header, *shown, strict=True)]
    if not out.is_terminal:
        for row in shown:
            out.print(*row, sep="\t")
    elif sum(widths) + GAP * (len(widths) - 1) <= out.width:
        out.print(styled(_aligned(header, widths), "bold"))
        for row in shown:
            out.print(_aligned(row, widths))
    else:
        for row in shown:
            out.print(styled(row[key], "bold"))
            others = [cell for at, cell in enumerate(row) if at != key and cell not in {"", "-"}]
            out.print(INDENT + "  ".join(others))


def print_totals(totals: Mapping[str, int]) -> None:
    """Print how many there are for each reason, and in all, on one line."""
    counts = "  ".join(f"{name} {count}" for name, count in sorted(totals.items()))
    out.print(f"{counts}  total {sum(totals.values())}")


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
    return (" " * GAP).join(cells).rstrip()
