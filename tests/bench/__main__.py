"""Command line of the benchmark: progress goes to stderr, the table to stdout."""

import sys
import time
from collections.abc import Iterator, Sequence

from tests.bench.ceiling import ceiling
from tests.bench.crew import CrewError
from tests.bench.endurance import Stuck, endurance
from tests.bench.figures import Row
from tests.bench.ground import Ground, ground
from tests.bench.limited import limited
from tests.bench.lineup import LINEUP, Contender
from tests.bench.machine import load_average, machine
from tests.bench.options import Options, read
from tests.bench.race import race
from tests.bench.table import LEGEND, table

RECENT = 50  # requests that the sandbox's log keeps in a long run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for and return 0, or 1 with one line if a part could not run."""
    options = read(arguments)
    try:
        if options.long:
            run_long(options, options.long)
        else:
            run_table(options)
    except (CrewError, Stuck) as error:
        _say(str(error))
        return 1
    return 0


def run_table(options: Options) -> None:
    """Run all that is asked for and print the table."""
    chosen = [LINEUP[key] for key in LINEUP if key in options.only]
    if any(not each.ours for each in chosen) and not options.bench_python.exists():
        raise CrewError(f"{options.bench_python} does not exist; `make bench` creates it")
    began, load = time.monotonic(), load_average()
    with ground(options.bench_python, options.logs) as here:
        highest = ceiling(here)
        rows = list(rows_of(here, chosen, options))
    _print(f"{table(rows)}\n\n{LEGEND}\n{highest}\n{machine()}")
    _print(
        f"load average {load} before, {load_average()} after; "
        f"{time.monotonic() - began:.0f} s in all"
    )


def rows_of(here: Ground, chosen: Sequence[Contender], options: Options) -> Iterator[Row]:
    """Yield the rows, each as soon as it is measured."""
    if options.race:
        for each in chosen:
            for row in race(here, each, options.scale):
                yield _told(row)
    if options.limit:
        for each in chosen:
            if each.limited:
                yield _told(limited(here, each, options.scale))


def run_long(options: Options, total: int) -> None:
    """Run the long run and print its lines."""
    with ground(options.bench_python, options.logs, log_size=RECENT) as here:
        for line in endurance(here, total):
            _print(line)


def _told(row: Row) -> Row:
    _say(
        f"{row.condition}, {row.workers} × {row.contender}: {row.rate:.1f} events/s, "
        f"members {row.members}"
    )
    return row


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
