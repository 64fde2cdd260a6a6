"""`signal-mailgun status`: the state of the integration on one screen."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import redis
import typer

from worker.cli.console import Styled, out, styled
from worker.cli.integration import MOST_NAMES, store_of
from worker.cli.options import AsJson
from worker.cli.status_lines import rows
from worker.cli.tables import print_rows
from worker.monitoring.status import Status, read_status
from worker.ops.integrations import integrations
from worker.ops.times import clock_time
from worker.redis_client.client import connect
from worker.settings import Settings, load_settings

# For the names of other integrations, before the first screen.
OTHERS_SECONDS = 0.3
ALL_HEADER = (
    "integration",
    "queued",
    "in flight",
    "delayed",
    "dead letters",
    "on hold",
    "last minute",
    "workers",
)
NO_RIGHT = "no right"  # of this Redis user to read the integration
NAME_WIDTH = 16  # columns for the names of the lines
MOST_SECONDS = 86_400


def status(
    *,
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float,
        typer.Option(
            min=0.2,
            max=MOST_SECONDS,
            help="Wait this many seconds between two readings with --watch.",
        ),
    ] = 2.0,
    of_all: Annotated[
        bool,
        typer.Option("--all", help="Show every integration found on this Redis, a row for each."),
    ] = False,
) -> None:
    """Show the state of the integration.

    Shows the queue, delayed events, the hold, failing members, the pace, dead letters and workers.
    """
    show = (_every if of_all else _one)(load_settings(), as_json=as_json)
    _show_again_and_again(show, interval if watch else None, clear=not as_json)


def _show_again_and_again(show: Callable[[], None], interval: float | None, *, clear: bool) -> None:
    """Call `show` once; with an interval again and again, on a cleared terminal if `clear`."""
    show()
    while interval is not None:
        time.sleep(interval)
        if clear and out.is_terminal:
            out.clear()
        show()


def _one(settings: Settings, *, as_json: bool) -> Callable[[], None]:
    """Return what prints the state of the integration."""
    store = store_of(settings)
    others = [] if as_json else _others(settings, store)
    return lambda: _show(read_status(settings, store), others, as_json=as_json)


def _every(settings: Settings, *, as_json: bool) -> Callable[[], None]:
    """Return what prints a row for each integration."""
    store = connect(settings.redis_url)
    return lambda: _show_all(settings, store, as_json=as_json)


def _others(settings: Settings, store: redis.Redis) -> list[str]:
    """Return the other integrations that can be found quickly."""
    found = integrations(store, within=OTHERS_SECONDS)
    return [name for name in found if name != settings.signal_integration]


def _show_all(settings: Settings, store: redis.Redis, *, as_json: bool) -> None:
    found = {name: _status_of(name, settings, store) for name in integrations(store)}
    if as_json:
        out.print(json.dumps([_record(name, each) for name, each in found.items()]))
    elif not found:
        out.print("no integration on this Redis yet")
    else:
        print_rows(ALL_HEADER, (_row(name, each) for name, each in found.items()))


def _status_of(name: str, settings: Settings, store: redis.Redis) -> Status | None:
    """Return the status of an integration; None if this Redis user may not read it."""
    try:
        return read_status(settings.model_copy(update={"signal_integration": name}), store)
    except redis.exceptions.NoPermissionError:
        return None


def _record(name: str, status: Status | None) -> dict[str, Any]:
    return asdict(status) if status else {"integration": name, "refused": NO_RIGHT}


def _row(name: str, status: Status | None) -> tuple[str, ...]:
    if status is None:
        return (name, NO_RIGHT, *["-"] * (len(ALL_HEADER) - 2))
    return (
        status.integration,
        str(status.queued),
        str(status.in_flight),
        str(status.delayed),
        str(sum(status.dead_letters.values())),
        status.hold.kind or "-",
        str(sum(status.last_minute.values())),
        str(len(status.workers)),
    )


def _show(status: Status, others: list[str], *, as_json: bool) -> None:
    if as_json:
        out.print(json.dumps(asdict(status)))
        return
    out.print(f"{status.integration}  {clock_time(status.at)} UTC")
    for name, text in rows(status):
        _show_line(name, text)
    if others:
        names = ", ".join(others[:MOST_NAMES]) + (" …" if len(others) > MOST_NAMES else "")
        _show_line("others here", f"{names} (`status --all`)")


def _show_line(name: str, text: str | Styled) -> None:
    out.print(styled(f"{name:<{NAME_WIDTH}}", "bold"), text, sep="")
