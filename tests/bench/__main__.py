"""Command line of the benchmark: progress goes to stderr, the tables to stdout."""

import sys
import time
from collections.abc import Iterator, Sequence

from tests.bench.ceiling import ceiling
from tests.bench.environment import Environment, environment
from tests.bench.figures import LimitRow, Row
from tests.bench.limited import all_limited, limit_runs
from tests.bench.machine import load_average, machine
from tests.bench.options import Options, read
from tests.bench.processes import ProcessError
from tests.bench.soak import Stuck, soak
from tests.bench.table import LEGEND, LIMIT_LEGEND, in_short, limit_table, rate_table
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
    """Run all that is asked for and print the tables."""
    if any(not each.ours for each in options.competitors) and not options.bench_python.exists():
        raise ProcessError(f"{options.bench_python} does not exist; `make bench` creates it")
    began, load = time.monotonic(), load_average()
    rows = rates(options) if options.throughput else []
    limit_rows = limits(options) if options.limit else []
    if compared := in_short([*rows, *limit_rows]):
        _print(f"{compared}\n")
    _print(machine())
    _print(
        f"load average {load} before, {load_average()} after; "
        f"{time.monotonic() - began:.0f} s in all"
    )


def rates(options: Options) -> list[Row]:
    """Measure rates and latencies, print their table, and return its rows."""
    with environment(options.bench_python, options.logs) as here:
        highest = ceiling(here)
        rows = list(rows_of(here, options))
    _print(f"{rate_table(rows)}\n\n{LEGEND}\n{highest}\n")
    return rows


def rows_of(here: Environment, options: Options) -> Iterator[Row]:
    """Yield the rows without a limit, each as soon as it is measured."""
    for traffic in options.traffic:
        for each in options.competitors:
            if traffic in each.traffic and each.workers:
                for row in throughput(here, each, traffic, options.scale):
                    _progress(
                        f"{traffic}, {row.condition}, {row.workers} × {row.competitor}: "
                        f"{row.rate:.1f} events/s, members {row.members}"
                    )
                    yield row


def limits(options: Options) -> list[LimitRow]:
    """Measure what is delivered under the limit, print its table, and return its rows."""
    runs = limit_runs(options.competitors, options.limit_traffic, options.scale.limits)
    rows = [row for each in all_limited(runs, options) for row in _reported(each)]
    _print(f"{limit_table(rows)}\n\n{LIMIT_LEGEND}\n")
    return rows


def run_long(options: Options, total: int) -> None:
    """Run the long run and print its lines."""
    with environment(options.bench_python, options.logs, log_size=RECENT) as here:
        for line in soak(here, total):
            _print(line)


def _reported(rows: Sequence[LimitRow]) -> Sequence[LimitRow]:
    for row in rows:
        _progress(
            f"{row.traffic}, {row.condition}, {row.workers} × {row.competitor}: "
            f"{row.rate * 60:.0f} events/min, members {row.members}"
        )
    return rows


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
