"""`signal-mailgun status`: one screen, readable at 3 a.m."""

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from worker.delivery.opt_outs import LastRead
from worker.operate.cli.terminal import clock_time, messages, out
from worker.operate.status import Status, read_status
from worker.settings import load_settings
from worker.store import connect


def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="again and again, until Ctrl-C")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="seconds between two looks with --watch")] = 2.0,
) -> None:
    """How the integration stands: queue, parked, held, failing members, pace, dead letters, workers."""
    settings = load_settings()
    store = connect(settings.redis_url)
    if as_json:
        _print_json(read_status(settings, store))
        while watch:
            time.sleep(interval)
            _print_json(read_status(settings, store))
    elif watch:
        with Live(as_table(read_status(settings, store)), console=out, auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                live.update(as_table(read_status(settings, store)), refresh=True)
    else:
        out.print(as_table(read_status(settings, store)))


def as_table(status: Status) -> Table:
    """The status for people: what needs somebody is red."""
    table = Table(
        box=None,
        show_header=False,
        pad_edge=False,
        title=f"{status.integration}  {clock_time(status.at)} UTC",
        title_justify="left",
    )
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in rows(status):
        table.add_row(name, text)
    return table


def rows(status: Status) -> list[tuple[str, str]]:
    """The lines of the screen: a name and a text in rich's markup."""
    oldest = f", the oldest waits {span(status.oldest_age)}" if status.oldest_age is not None else ""
    due = f", next due in {span(max(0.0, status.next_due - status.at))}" if status.next_due else ""
    workers = (
        f"{len(status.workers)}: {escape(', '.join(status.workers))}" if status.workers else "[red]none is alive[/]"
    )
    return [
        ("queued", f"{messages(status.queued)}{oldest}"),
        ("in flight", messages(status.in_flight)),
        ("parked", f"{messages(status.parked)}{due}"),
        ("held", _held(status)),
        *([("failing", _failing(status.hold.members))] if status.hold.members else []),
        ("pace", f"{status.hold.rate:.1f} requests/s at most" if status.hold.rate else "as fast as it goes"),
        ("dead letters", _counts(status.dead_letters) or "none"),
        ("last minute", _counts(status.last_minute) or "no event ended"),
        ("workers", workers),
        *([("not understood", _counts(status.not_understood))] if any(status.not_understood.values()) else []),
        *([("opt-outs", _opt_outs(status.opt_outs))] if status.opt_outs else []),
    ]


def span(seconds: float) -> str:
    """`3 h 12 min`, `4 min`, `7 s`."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{int(seconds // 60)} min" if seconds >= 60 else f"{int(seconds)} s"


def _held(status: Status) -> str:
    hold = status.hold
    if hold.kind is None:
        return "[green]no[/]"
    since = f", since {span(max(0.0, status.at - hold.since))}" if hold.since else ""
    until = f"for another {span(max(0.0, hold.until - status.at))}" if hold.until else "until it is lifted"
    colour = "yellow" if hold.kind == "throttled" else "red"
    look = f"; the list is read in {span(max(0.0, hold.next_look - status.at))}" if hold.next_look else ""
    lifts = "; `resume --now` lifts it" if hold.kind == "throttled" else ""
    return f"[{colour}]{hold.kind} {until}[/]{since}: {escape(hold.why)}{look}{lifts}"


def _failing(members: int) -> str:
    return f"[yellow]{members} member{'' if members == 1 else 's'}[/] since the last success"


def _opt_outs(read: LastRead) -> str:
    if read.members is None or read.took is None or read.age is None:
        return "[red]not read yet: members are read one by one[/]"
    found = f"{read.members}, read {span(max(0.0, read.age))} ago in {read.took:.1f} s"
    return found if read.trusted else f"[red]{found}: members are read one by one[/]"


def _counts(counts: dict[str, int]) -> str:
    return "  ".join(f"{escape(name)} {count}" for name, count in sorted(counts.items(), key=lambda each: -each[1]))


def _print_json(status: Status) -> None:
    out.print(json.dumps(asdict(status)), markup=False, soft_wrap=True)
