"""`signal-mailgun status`: the state of the integration on one screen."""

import json
import time
from dataclasses import asdict
from typing import Annotated, assert_never

import typer

from worker.cli.console import Styled, messages, out, styled
from worker.cli.integration import store_of
from worker.cli.options import AsJson
from worker.delivery.worker_registry import WorkerEntry
from worker.members.opt_outs import OptOutStatus
from worker.monitoring.redis_memory import FULL, NEARLY_FULL
from worker.monitoring.status import Status, read_status
from worker.ops.times import clock_time, span
from worker.settings import load_settings

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
) -> None:
    """Show the state of the integration.

    Shows the queue, delayed events, the hold, failing members, the pace, dead letters and workers.
    """
    settings = load_settings()
    store = store_of(settings)
    _show(read_status(settings, store), as_json=as_json)
    while watch:
        time.sleep(interval)
        if out.is_terminal and not as_json:
            out.clear()
        _show(read_status(settings, store), as_json=as_json)


def _show(status: Status, *, as_json: bool) -> None:
    if as_json:
        out.print(json.dumps(asdict(status)))
        return
    out.print(f"{status.integration}  {clock_time(status.at)} UTC")
    for name, text in rows(status):
        out.print(styled(f"{name:<{NAME_WIDTH}}", "bold"), text, sep="")


def rows(status: Status) -> list[tuple[str, str | Styled]]:
    """Return the lines of the screen, each a name and a text; what an operator must fix is red.

    Lines that have nothing to say are left out.
    """
    lines: dict[str, str | Styled | None] = {
        "queued": _queued(status),
        "in flight": messages(status.in_flight),
        "delayed": _delayed(status),
        "on hold": _on_hold(status),
        "failing": _failing(status.hold.members),
        "pace": _pace(status.hold.rate),
        "dead letters": _counts(status.dead_letters) or "none",
        "": _letters_bound(status.letters_share or 0.0),
        "last minute": _counts(status.last_minute) or "no event ended",
        "workers": _workers(status),
        "redis memory": _memory(status.memory or 0.0),
        "not understood": _not_understood(status.not_understood),
        "opt-outs": _opt_outs(status.opt_outs) if status.opt_outs else None,
    }
    return [(name, text) for name, text in lines.items() if text is not None]


def _queued(status: Status) -> str:
    queued = messages(status.queued)
    if status.oldest_age is None:
        return queued
    return f"{queued}, the oldest waits {span(status.oldest_age)}"


def _delayed(status: Status) -> str:
    delayed = messages(status.delayed)
    if not status.next_due:
        return delayed
    return f"{delayed}, next due in {span(max(0.0, status.next_due - status.at))}"


def _pace(rate: float | None) -> str:
    return f"{rate:.1f} requests/s at most" if rate else "as fast as it goes"


def _not_understood(counts: dict[str, int]) -> str | None:
    return _counts(counts) if any(counts.values()) else None


def _on_hold(status: Status) -> Styled:
    hold = status.hold
    if hold.kind is None:
        return styled("no", "green")
    since = f", since {span(max(0.0, status.at - hold.since))}" if hold.since else ""
    until = (
        f"for another {span(max(0.0, hold.until - status.at))}"
        if hold.until
        else "until it is lifted"
    )
    colour = "yellow" if hold.kind == "throttled" else "red"
    look = (
        f"; the list is read in {span(max(0.0, hold.next_look - status.at))}"
        if hold.next_look
        else ""
    )
    lifts = "; `resume --now` lifts it" if hold.kind == "throttled" else ""
    return styled(f"{hold.kind} {until}{since}: {hold.why}{look}{lifts}", colour)


def _letters_bound(share: float) -> Styled | None:
    if share < NEARLY_FULL:
        return None
    return styled(
        f"{share:.0%} of DEAD_LETTERS_MAX: "
        f"beyond it the oldest are removed permanently; export or replay",
        "red",
    )


def _memory(share: float) -> Styled | None:
    if share < NEARLY_FULL:
        return None
    used = f"{share:.0%} of maxmemory used"
    if share >= FULL:
        return styled(
            f"full ({used}): producers are refused; "
            f"purge dead letters, let workers drain, or raise maxmemory",
            "red",
        )
    return styled(f"nearly full ({used})", "yellow")


def _failing(members: int) -> Styled | None:
    if not members:
        return None
    return styled(f"{members} member{'' if members == 1 else 's'} since the last success", "yellow")


def _workers(status: Status) -> Styled:
    if not status.workers:
        return styled("none is alive", "red")
    shown = styled(f"{len(status.workers)}: ", "")
    for number, entry in enumerate(status.workers):
        shown.append(", " if number else "").append(_worker(entry, status.at))
    return shown


def _worker(entry: WorkerEntry, now: float) -> Styled:
    since = f" for {span(max(0.0, now - entry.since))}" if entry.since else ""
    match entry.state:
        case "cancelled":
            return styled(
                f"{entry.name} takes no events{since} (cancel_consumer; undo it with add_consumer)",
                "red",
            )
        case "stopping":
            return styled(f"{entry.name} stopping{since}", "yellow")
        case "consuming" | "unknown":
            return styled(entry.name, "")
        case _:
            assert_never(entry.state)


def _opt_outs(read: OptOutStatus) -> Styled:
    if read.members is None or read.took is None or read.age is None:
        return styled("not read yet: members are read one by one", "red")
    found = f"{read.members}, read {span(max(0.0, read.age))} ago in {read.took:.1f} s"
    return (
        styled(found, "")
        if read.trusted
        else styled(f"{found}: members are read one by one", "red")
    )


def _counts(counts: dict[str, int]) -> str:
    return "  ".join(
        f"{name} {count}" for name, count in sorted(counts.items(), key=lambda each: -each[1])
    )
