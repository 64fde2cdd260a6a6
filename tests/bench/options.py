"""What to run, and how much of it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from tests.bench.lineup import LINEUP
from tests.sandboxes import PROJECT
from worker.sandbox.retry_hints import HintKind


@dataclass(frozen=True)
class Scale:
    """How much of everything. What is fast gets more events: `Contender.swift` times as many."""

    events: int = 1500  # in a backlog
    warm_up: int = 100  # events for each worker before anything is measured
    paced_seconds: float = 3  # at a steady pace, for the latencies
    paced_rate: int = 100  # events a second
    limit: int = 300  # requests in a window
    window_seconds: float = 60
    limit_seconds: float = 120  # two windows: a part of one would flatter whoever bursts
    hint: HintKind = "none"  # "often no hint at all" is what is known of Mailgun

    @property
    def allowed(self) -> int:
        """Requests that the limit lets through in the time."""
        return round(self.limit * self.limit_seconds / self.window_seconds)


QUICK = Scale(
    events=150, warm_up=40, paced_seconds=0.4, limit=20, window_seconds=1, limit_seconds=2
)  # whether it works, not how fast


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    only: frozenset[str]  # keys of contenders
    race: bool
    limit: bool
    long: int | None  # events of the long run, which is then the only thing done
    scale: Scale
    bench_python: Path
    logs: Path | None  # where to keep what the contenders print


def read(arguments: Sequence[str] | None = None) -> Options:
    """The options in `arguments`. Ends the program with a usage error where they are wrong."""
    given = _parser().parse_args(arguments)
    return Options(
        only=frozenset(given.only or LINEUP),
        race=not given.limit_only,
        limit=not given.no_limit,
        long=given.long,
        scale=_scale(given),
        logs=given.logs and Path(given.logs).absolute(),
        bench_python=Path(
            given.bench_python
        ).absolute(),  # not resolved: a virtual environment's is a link
    )


def _scale(given: argparse.Namespace) -> Scale:
    scale = QUICK if given.quick else Scale()
    asked = {"events": given.events, "limit_seconds": given.seconds, "hint": given.hint}
    return replace(scale, **{name: value for name, value in asked.items() if value is not None})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="How fast, beside others, on this machine."
    )
    parser.add_argument("--only", action="append", choices=list(LINEUP), help="may be repeated")
    parser.add_argument("--events", type=int, help=f"in each backlog; {Scale.events}")
    parser.add_argument(
        "--seconds", type=float, help=f"under the rate limit; {Scale.limit_seconds:g}"
    )
    parser.add_argument(
        "--hint",
        choices=get_args(HintKind),
        help=f"how long to wait, as the limit tells it; {Scale.hint}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="everything with tiny numbers: whether it works, not how fast",
    )
    parser.add_argument(
        "--long",
        type=int,
        nargs="?",
        const=1_000_000,
        metavar="EVENTS",
        help="memory over a long run",
    )
    parser.add_argument(
        "--bench-python",
        default=PROJECT / ".venv-bench/bin/python",
        help="that has the other task queues",
    )
    parser.add_argument("--logs", metavar="FOLDER", help="keep there what the contenders print")
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--limit-only", action="store_true", help="only what happens under the rate limit"
    )
    part.add_argument("--no-limit", action="store_true", help="everything but that")
    return parser
