"""`signal-mailgun dead-letters replay` and `purge`: count, ask, then act, oldest first."""

import time
from collections import Counter
from typing import Annotated

import typer

from worker.cli.acting import Rate, agreed, each, tell, tell_of_hold
from worker.cli.console import out
from worker.cli.dead_letter_options import Limit, print_no_match, with_filters
from worker.cli.integration import letters_of
from worker.cli.options import Yes
from worker.ops.paced import batch_size
from worker.ops.preview import as_lines
from worker.ops.replay_preview import rehearsal_for
from worker.queue.dead_letter_filter import DeadLetterFilter, batches, chosen
from worker.queue.dead_letters import DeadLetterQueue
from worker.settings import Settings, load_settings
from worker.wiring import utc_now

PURGE = "dead letters would be deleted permanently"


@with_filters
def replay(
    *,
    wanted: DeadLetterFilter,
    limit: Limit = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show each request, and what newer events have set. Replay nothing."
        ),
    ] = False,
    rate: Rate = None,
    yes: Yes = False,
) -> None:
    """Put dead letters back on the queue, oldest first. Safe to interrupt and repeat."""
    settings = load_settings()
    letters = letters_of(settings)
    if dry_run:
        _rehearse(letters, wanted, limit, settings)
        return
    wanted = wanted.not_after(utc_now())
    what = f"dead letters would go back to {settings.queue}"
    counts = _counted(letters, wanted, limit)
    tell_of_hold(settings, letters.redis)
    count = agreed(counts, what, yes=yes)
    found = batches(letters, wanted, count, at_once=batch_size(rate))
    replayed = each(found, count, rate, lambda batch: letters.replay(batch, time.time()))
    out.print(f"{replayed} replayed to {settings.queue}")


@with_filters
def purge(
    *,
    wanted: DeadLetterFilter,
    limit: Limit = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted; delete nothing.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Delete dead letters permanently. Run `dead-letters export` first to keep their events."""
    letters, wanted = letters_of(load_settings()), wanted.not_after(utc_now())
    counts = _counted(letters, wanted, limit)
    if dry_run:
        for buried in chosen(letters, wanted, limit):
            out.print(f"{buried.message.id} ({buried.letter.reason})")
        tell(counts, PURGE)
        return
    count = agreed(counts, PURGE, yes=yes)
    found = batches(letters, wanted, count, at_once=batch_size(None))
    out.print(f"{each(found, count, None, letters.purge)} purged")


def _counted(letters: DeadLetterQueue, wanted: DeadLetterFilter, limit: int | None) -> Counter[str]:
    """Return how many dead letters match, by reason.

    Raises:
        typer.Exit: None matches (status 0).
    """
    meant = (
        filter(wanted.matches, letters.newest_first())
        if limit is None
        else chosen(letters, wanted, limit)
    )
    counts = Counter(buried.letter.reason for buried in meant)
    if not counts:
        out.print("no dead letters match; nothing to do")
        print_no_match(letters, wanted)
        raise typer.Exit(0)
    return counts


def _rehearse(
    letters: DeadLetterQueue, wanted: DeadLetterFilter, limit: int | None, settings: Settings
) -> None:
    rehearsal = rehearsal_for(settings)
    for number, buried in enumerate(chosen(letters, wanted, limit), 1):
        lines = as_lines(rehearsal.request(buried.message, number))
        out.print(f"{buried.message.id} ({buried.letter.reason})", *lines, sep="\n")
