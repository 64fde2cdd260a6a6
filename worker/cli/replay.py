"""`signal-mailgun dead-letters replay` and `purge`: count, ask, then act, oldest first."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Annotated

import typer
from rich.progress import Progress

from worker.cli.console import Stopped, err, out
from worker.cli.dead_letter_options import Limit, print_no_match, with_filters
from worker.cli.integration import letters_of
from worker.cli.options import Yes
from worker.ops.dead_letter_actions import act_on, batch_size
from worker.ops.preview import as_lines
from worker.ops.replay_preview import rehearsal_for
from worker.queue.dead_letter_filter import DeadLetterFilter, batches, chosen
from worker.queue.dead_letters import DeadLetter, DeadLetterQueue
from worker.settings import Settings, load_settings


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
    rate: Annotated[
        float | None, typer.Option(min=0.01, max=1e6, help="Replay at most this many a second.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Put dead letters back on the queue, oldest first. Safe to interrupt and repeat."""
    settings = load_settings()
    letters = letters_of(settings)
    if dry_run:
        _rehearse(letters, wanted, limit, settings)
        return
    count = _agreed(letters, wanted, limit, f"go back to {settings.queue}", yes=yes)
    replayed = _each(letters, wanted, count, rate, lambda batch: letters.replay(batch, time.time()))
    out.print(f"{replayed} replayed to {settings.queue}")


@with_filters
def purge(
    *,
    wanted: DeadLetterFilter,
    limit: Limit = None,
    yes: Yes = False,
) -> None:
    """Delete dead letters permanently. Run `dead-letters export` first to keep their events."""
    letters = letters_of(load_settings())
    count = _agreed(letters, wanted, limit, "be deleted permanently", yes=yes)
    out.print(f"{_each(letters, wanted, count, None, letters.purge)} purged")


def _agreed(
    letters: DeadLetterQueue,
    wanted: DeadLetterFilter,
    limit: int | None,
    whither: str,
    *,
    yes: bool,
) -> int:
    """Print how many dead letters match, ask for confirmation, and return the number.

    Raises:
        typer.Exit: None matches (status 0), or the operator does not confirm (status 1).
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
    out.print("  ".join(f"{reason} {count}" for reason, count in counts.most_common()))
    out.print(f"{counts.total()} dead letters would {whither}")
    if not yes and not typer.confirm("go on?"):
        raise typer.Exit(1)
    return counts.total()


def _each(
    letters: DeadLetterQueue,
    wanted: DeadLetterFilter,
    count: int,
    rate: float | None,
    act: Callable[[list[DeadLetter]], int],
) -> int:
    """Call `act` on batches of the oldest `count` matching dead letters, at most `rate` a second.

    Returns the sum of what `act` returns: how many of its batch it acted on.

    Raises:
        Stopped: The operator pressed Ctrl-C.
    """
    done = 0
    try:
        with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
            bar = progress.add_task("working", total=count)

            def on_batch(acted: int, offered: int) -> None:
                nonlocal done
                done += acted
                progress.advance(bar, offered)

            meant = batches(letters, wanted, count, at_once=batch_size(rate))
            act_on(meant, rate, act, on_batch, time.sleep)
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {done} of {count} done, the rest stays as it is") from None
    return done


def _rehearse(
    letters: DeadLetterQueue, wanted: DeadLetterFilter, limit: int | None, settings: Settings
) -> None:
    rehearsal = rehearsal_for(settings)
    for number, buried in enumerate(chosen(letters, wanted, limit), 1):
        lines = as_lines(rehearsal.request(buried, number))
        out.print(f"{buried.message.id} ({buried.letter.reason})", *lines, sep="\n")
