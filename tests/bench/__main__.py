"""Command line of the benchmark: progress goes to stderr, the table to stdout."""

import sys
import time
from collections.abc import Iterator, Sequence

from tests.bench.ceiling import ceiling
from tests.bench.competitors import COMPETITORS, Competitor
from tests.bench.environment import Environment, environment
from tests.bench.figures import Row
from tests.bench.limited import limited
from tests.bench.machine import load_average, machine
from tests.bench.options import Options, read
from tests.bench.processes import ProcessError
from tests.bench.soak import Stuck, soak
from tests.bench.table import LEGEND, table
from tests.bench.throughput import throughput

RECENT = 50  # requests that the sandbox's log keeps in a long run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for and return 0, or 1 with one line if a part could not run."""
    options = read(arguments)
    try:
        if options.long:
            run_long(options, options.long)
        else:
            run_table(options)
    except (ProcessError, Stuck) as error:
        _progress(str(error))
        return 1
    return 0


def run_table(options: Options) -> None:
    """Run all that is asked for and print the table."""
    chosen = [COMPETITORS[key] for key in COMPETITORS if key in options.only]
    if any(not each.ours for each in chosen) and not options.bench_python.exists():
        raise ProcessError(f"{options.bench_python} does not exist; `make bench` creates it")
    began, load = time.monotonic(), load_average()
    with environment(options.bench_python, options.logs) as here:
        highest = ceiling(here)
        rows = list(rows_of(here, chosen, options))
    _print(f"{table(rows)}\n\n{LEGEND}\n{highest}\n{machine()}")
    _print(
        f"load average {load} before, {load_average()} after; "
        f"{time.monotonic() - began:.0f} s in all"
    )


def rows_of(here: Environment, chosen: Sequence[Competitor], options: Options) -> Iterator[Row]:
    """Yield the rows, each as soon as it is measured."""
    if options.throughput:
        for each in chosen:
            for row in throughput(here, each, options.scale):
                yield _reported(row)
    if options.limit:
        for each in chosen:
            if each.limited:
                yield _reported(limited(here, each, options.scale))


def run_long(options: Options, total: int) -> None:
    """Run the long run and print its lines."""
    with environment(options.bench_python, options.logs, log_size=RECENT) as here:
        for line in soak(here, total):
            _print(line)


def _reported(row: Row) -> Row:
    _progress(
        f"{row.condition}, {row.workers} × {row.competitor}: {row.rate:.1f} events/s, "
        f"members {row.members}"
    )
    return row


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
