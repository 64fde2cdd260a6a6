"""The options of a run: what to run, and how much of it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from tests.bench.competitors import COMPETITORS, LIMIT, Competitor
from tests.bench.traffic import Traffic
from tests.sandboxes import PROJECT
from worker.sandbox.retry_hints import HintKind


@dataclass(frozen=True)
class Scale:
    """How much of everything runs. A fast competitor gets `Competitor.event_factor` times as many events.

    Attributes:
        events: The events in a backlog.
        warm_up: The events for each worker before the measurement.
        paced_seconds: The seconds at a steady pace, for the latencies.
        paced_rate: The events a second at that pace.
        limits: The requests allowed in a window, one limit after another; empty: those of each
            competitor.
        window_seconds: The length of a window.
        windows: The windows of each limit. They are whole, because a part of a window would favour
            a competitor that bursts.
        hint: How the limit tells to wait. Mailgun often gives no hint at all.
    """

    events: int = 2000
    warm_up: int = 100
    paced_seconds: float = 3
    paced_rate: int = 100
    limits: tuple[int, ...] = ()
    window_seconds: float = 60
    windows: int = 3
    hint: HintKind = "none"

    @property
    def limit_seconds(self) -> float:
        """The seconds under each limit."""
        return self.windows * self.window_seconds


# To see whether all works, not how fast.
QUICK = Scale(
    events=150, warm_up=40, paced_seconds=0.4, limits=(20, 10), window_seconds=1, windows=2
)


@dataclass(frozen=True)
class Options:
    """What the command line asks for.

    Attributes:
        competitors: What is compared, each with the numbers of workers asked for.
        traffic: The kinds of traffic without a limit.
        limit_traffic: The kinds of traffic under the limit.
        throughput: Whether competitors run without a rate limit.
        limit: Whether competitors run under the rate limit.
        long: The events of the long run, which is then all that runs; None: no long run.
        scale: How much of everything runs.
        bench_python: Python with the other task queues.
        logs: The folder that keeps the competitors' output.
    """

    competitors: tuple[Competitor, ...]
    traffic: tuple[Traffic, ...]
    limit_traffic: tuple[Traffic, ...]
    throughput: bool
    limit: bool
    long: int | None
    scale: Scale
    bench_python: Path
    logs: Path | None


def read(arguments: Sequence[str] | None = None) -> Options:
    """Return the options in `arguments`; wrong ones end the program with a usage error."""
    given = _parser().parse_args(arguments)
    return Options(
        competitors=tuple(
            _with_workers(each, given.workers)
            for key, each in COMPETITORS.items()
            if key in (given.only or COMPETITORS)
        ),
        traffic=tuple(given.traffic or Traffic),
        limit_traffic=tuple(given.traffic or [Traffic.KNOWN]),
        throughput=not given.limit_only,
        limit=not given.no_limit,
        long=given.long,
        scale=_scale(given),
        logs=given.logs and Path(given.logs).absolute(),
        # Not resolved, because a virtual environment's Python is a link.
        bench_python=Path(given.bench_python).absolute(),
    )


def _scale(given: argparse.Namespace) -> Scale:
    scale = QUICK if given.quick else Scale()
    asked = {
        "events": given.events,
        "limits": given.limit and tuple(given.limit),
        "windows": given.windows,
        "hint": given.hint,
    }
    return replace(scale, **{name: value for name, value in asked.items() if value is not None})


def _with_workers(competitor: Competitor, asked: Sequence[int] | None) -> Competitor:
    if not asked:
        return competitor
    return replace(
        competitor,
        workers=tuple(each for each in competitor.workers if each in asked),
        limit_workers=tuple(each for each in competitor.limit_workers if each in asked),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure this program beside others, on this machine.",
    )
    parser.add_argument(
        "--only", action="append", choices=list(COMPETITORS), help="may be repeated"
    )
    parser.add_argument(
        "--events", type=int, help=f"events in each backlog; default {Scale.events}"
    )
    parser.add_argument(
        "--traffic",
        action="append",
        type=Traffic,
        choices=list(Traffic),
        help="may be repeated; default all, under the rate limit only known",
    )
    parser.add_argument(
        "--workers",
        action="append",
        type=int,
        metavar="N",
        help="only with so many, of 1 and 2, under the rate limit of 1 and 4; may be repeated",
    )
    parser.add_argument(
        "--limit",
        action="append",
        type=int,
        metavar="REQUESTS",
        help=f"the limit in a minute; repeated, one after another; default {LIMIT}, and for two "
        "competitors then the half and the whole again",
    )
    parser.add_argument(
        "--windows",
        type=int,
        help=f"minutes under each limit; default {Scale.windows}",
    )
    parser.add_argument(
        "--hint",
        choices=get_args(HintKind),
        help=f"how the limit tells to wait; default {Scale.hint}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="run all with tiny numbers, to see whether it works",
    )
    parser.add_argument(
        "--long",
        type=int,
        nargs="?",
        const=1_000_000,
        metavar="EVENTS",
        help="measure memory over a long run",
    )
    parser.add_argument(
        "--bench-python",
        default=PROJECT / ".venv-bench/bin/python",
        help="Python with the other task queues",
    )
    parser.add_argument("--logs", metavar="FOLDER", help="keep the competitors' output there")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--limit-only", action="store_true", help="run only under the rate limit")
    part.add_argument("--no-limit", action="store_true", help="do not run under the rate limit")
    return parser
