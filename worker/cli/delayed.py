"""`signal-mailgun delayed list | show | retry | bury | purge`."""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from worker.cli.acting import Rate, confirm, each, print_hold
from worker.cli.console import CommandError, out
from worker.cli.dead_letter_options import OPTIONS, Command, Limit, filtering, moment
from worker.cli.integration import store_of
from worker.cli.options import AsJson, Yes
from worker.cli.tables import print_rows, print_totals
from worker.ops.attempts import attempt_lines, why_delayed
from worker.ops.delayed_events import (
    REASONS,
    as_record,
    batches,
    bury_delayed,
    delay_queue_for,
    matching,
)
from worker.ops.paced import batch_size
from worker.ops.preview import as_lines
from worker.ops.replay_preview import replay_preview_for
from worker.ops.times import clock_time, span
from worker.printable import readable_json
from worker.privacy import redacted, shortened
from worker.queue.dead_letter_filter import DeadLetterFilter, addresses_in
from worker.queue.delay_queue import DelayedMessage, DelayQueue
from worker.redis_client.clock import redis_now
from worker.settings import Settings, load_settings

HEADER = ("since (UTC)", "event", "kind", "member", "why", "tries", "next try")

# The options that read otherwise than those of dead letters.
OWN_OPTIONS = {
    "reason": Annotated[
        str | None, typer.Option(help=f"Select only this reason: {', '.join(map(str, REASONS))}.")
    ],
    "since": moment("enqueued since", "2h"),
    "until": moment("enqueued until", "30m"),
}

cli = typer.Typer(
    help="Handle events that wait for their next try.", no_args_is_help=True, rich_markup_mode=None
)


def with_filters(command: Command) -> Command:
    """Return the command with the filter options of delayed events; see `filtering`."""
    return filtering(command, {**OPTIONS, **OWN_OPTIONS}, reasons=REASONS)


@cli.command("list")
@with_filters
def list_(*, wanted: DeadLetterFilter, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the delayed events that are due next: why they wait, since when, and until when."""
    settings = load_settings()
    store = store_of(settings)
    totals: Counter[str] = Counter()
    shown: list[Any] = []
    now = redis_now(store)
    for found in matching(delay_queue_for(settings, store), wanted):
        totals[found.reason] += 1
        if limit is None or len(shown) < limit:
            shown.append(as_record(found) if as_json else _row(found, now))
    if as_json:
        out.print_json(data={"totals": dict(totals), "delayed": shown})
    elif not shown:
        out.print("no delayed events" + ("" if wanted == DeadLetterFilter() else " match"))
    else:
        print_rows(HEADER, shown, key=1)
        print_totals(totals)
        print_hold(settings, store)


@cli.command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The ID of the event.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one delayed event.

    Shows the latest attempts, the event, and the request that it would become now.
    """
    settings = load_settings()
    queue = delay_queue_for(settings, store_of(settings))
    found = next(matching(queue, DeadLetterFilter(id=id)), None)
    if found is None:
        raise CommandError(
            f"no delayed event {id}; `signal-mailgun delayed list` shows what there is, "
            f"`signal-mailgun explain {id}` where it is"
        )
    content = found.message.content
    request = replay_preview_for(settings).request(found.message)
    if as_json:
        out.print_json(data={**as_record(found), "event": content, "request": request})
        return
    out.print(*_lines(found), "", *readable_json(content, indent=2).split("\n"), sep="\n")
    out.print("", *as_lines(request), sep="\n")


@cli.command()
@with_filters
def retry(
    *, wanted: DeadLetterFilter, limit: Limit = None, rate: Rate = None, yes: Yes = False
) -> None:
    """Put delayed events back on the queue now, the next due first. Safe to interrupt and repeat.

    Attempts and the time until which an event is tried go on as they were.
    """
    settings = load_settings()
    what = f"delayed events would go to {settings.queue} now"
    retried = _act(settings, DelayQueue.retry, what, wanted, limit, yes=yes, rate=rate, is_try=True)
    out.print(f"{retried} put on {settings.queue}")


@cli.command()
@with_filters
def bury(*, wanted: DeadLetterFilter, limit: Limit = None, yes: Yes = False) -> None:
    """Make dead letters of delayed events, with the reason `buried`; a replay brings them back."""
    what = "delayed events would become dead letters"
    buried = _act(load_settings(), _bury_now, what, wanted, limit, yes=yes)
    out.print(f"{buried} buried; `dead-letters replay --reason buried` brings them back")


@cli.command()
@with_filters
def purge(*, wanted: DeadLetterFilter, limit: Limit = None, yes: Yes = False) -> None:
    """Delete delayed events permanently. To keep them, use `delayed bury` instead."""
    what = "delayed events would be deleted permanently"
    purged = _act(load_settings(), DelayQueue.purge, what, wanted, limit, yes=yes)
    out.print(f"{purged} purged")


def _act(
    settings: Settings,
    act: Callable[[DelayQueue, list[DelayedMessage]], int],
    what: str,
    wanted: DeadLetterFilter,
    limit: int | None,
    *,
    yes: bool,
    rate: float | None = None,
    is_try: bool = False,
) -> int:
    """Count the events that match, ask, and act on each of them; return how many.

    If it `is_try`, the operator is told of a hold before.

    Raises:
        typer.Exit: None matches (status 0), or the operator does not confirm (status 1).
    """
    store = store_of(settings)
    queue = delay_queue_for(settings, store)
    counts: Counter[str] = Counter()
    counted: set[object] = set()
    for found in matching(queue, wanted):
        if found.identity not in counted:
            counts[found.reason] += 1
            counted.add(found.identity)
        if len(counted) == limit:
            break
    if not counted:
        out.print("no delayed events match; nothing to do")
        raise typer.Exit(0)
    if is_try:
        print_hold(settings, store)
    count = confirm(counts, what, yes=yes)
    found_again = batches(queue, wanted, counted, at_once=batch_size(rate))
    return each(found_again, count, rate, partial(act, queue))


def _bury_now(queue: DelayQueue, delayed: list[DelayedMessage]) -> int:
    return bury_delayed(queue, delayed, time.time())


def _row(found: DelayedMessage, now: float) -> tuple[str, ...]:
    message = found.message
    return (
        clock_time(found.since)[-14:],  # without the year
        message.id,
        redacted(message.kind),
        shortened(next(iter(addresses_in(message)), "")),
        f"{found.reason} {found.status or ''}".rstrip(),
        str(message.attempts),
        f"in {span(found.due - now)}" if found.due > now else "due",
    )


def _lines(found: DelayedMessage) -> list[str]:
    message = found.message
    return [
        f"event      {message.id} ({message.kind}), enqueued {clock_time(message.enqueued_at)} UTC",
        f"waits      {why_delayed(found.reason, found.status)}",
        f"next try   {clock_time(found.due)} UTC",
        f"tries      {message.attempts}, put back {message.requeues} times",
        *attempt_lines(message),
    ]
