"""`signal-mailgun tail`: how each try of an event ends, as it happens."""

import json
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated

import typer

from worker.cli.console import err, out
from worker.cli.integration import store_of
from worker.delivery.worker_registry import EndedTry, WorkerRegistry, newer_than, parsed_try
from worker.ops.attempts import ended_parts
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

    Shows time, event id, kind, outcome, HTTP status, number of requests, the fields that the event
    sets, and what was answered if it was not delivered. No value of a field and no personal data is
    shown: `explain` says what is recorded of a member, `preview` shows the request of an event.
    """
    settings = load_settings()
    registry = WorkerRegistry(store_of(settings), settings.signal_integration)
    seen = registry.latest(MOST)
    _show(list(islice(_tries(seen), last)), as_json=as_json)
    while follow:
        time.sleep(LOOK_SECONDS)
        lines = registry.latest(MOST)
        new = newer_than(seen, lines)
        if len(new) == MOST:
            err.print(f"… {MOST} tries or more have ended since; only the latest are shown")
        _show(list(_tries(new)), as_json=as_json)
        seen = lines


def _tries(lines: Sequence[str]) -> Iterator[tuple[str, EndedTry]]:
    """Return the events and tries of these lines; those of bundles are left out."""
    return (found for found in map(parsed_try, lines) if not found[1].is_bundle)


def _show(tries: Sequence[tuple[str, EndedTry]], *, as_json: bool) -> None:
    """Print tries that were read newest first, the oldest first."""
    for event, ended in reversed(tries):
        if as_json:
            out.print(json.dumps({"event": event, **ended._asdict()}))
        else:
            out.print(_text(event, ended))


def _text(event: str, ended: EndedTry) -> str:
    return "  ".join(
        filter(None, (clock_time(ended.at)[-8:], event, ended.kind, *ended_parts(ended)))
    )
