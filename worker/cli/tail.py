"""`signal-mailgun tail`: how each try of an event ends, as it happens."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from worker.cli.console import err, out
from worker.cli.integration import store_of
from worker.delivery.worker_registry import EndedTry, WorkerRegistry, newer_than, parsed_try
from worker.ops.times import clock_time
from worker.settings import load_settings

MOST = 5000  # lines read at a time: what several workers end in half a second
LOOK_SECONDS = 0.5


def tail(
    *,
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, max=MOST, help="Begin with so many before now.")
    ] = 10,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Go on until Ctrl-C.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each try.")
    ] = False,
) -> None:
    """Show how each try of an event ends, as it happens.

    Shows time, event id, outcome, HTTP status and number of requests. No personal data is shown:
    `explain ID` says more of an event.
    """
    settings = load_settings()
    registry = WorkerRegistry(store_of(settings), settings.signal_integration)
    seen = registry.latest(MOST)
    _show(seen[:last], as_json=as_json)
    while follow:
        time.sleep(LOOK_SECONDS)
        lines = registry.latest(MOST)
        new = newer_than(seen, lines)
        if len(new) == MOST:
            err.print(f"… {MOST} tries or more have ended since; only the latest are shown")
        _show(new, as_json=as_json)
        seen = lines


def _show(lines: Sequence[str], *, as_json: bool) -> None:
    """Print lines that were read newest first, the oldest first."""
    for event, ended in map(parsed_try, reversed(lines)):
        if as_json:
            out.print(json.dumps({"event": event, **asdict(ended)}))
        else:
            out.print(_text(event, ended))


def _text(event: str, ended: EndedTry) -> str:
    status = f" (HTTP {ended.status})" if ended.status else ""
    asked = (
        f"  {ended.requests} request{'' if ended.requests == 1 else 's'}" if ended.requests else ""
    )
    return f"{clock_time(ended.at)[-8:]}  {event}  {ended.outcome}{status}{asked}"
