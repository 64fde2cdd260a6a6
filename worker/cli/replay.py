"""`signal-mailgun dead-letters replay` and `purge`: count, ask, then act, oldest first."""

import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Annotated

import typer

from worker.cli.acting import Rate, confirm, each, print_counts, print_hold
from worker.cli.console import out
from worker.cli.dead_letter_options import Limit, print_no_match, with_filters
from worker.cli.integration import letters_of
from worker.cli.options import Yes
from worker.ops.dead_letter_pages import matching
from worker.ops.paced import batch_size
from worker.ops.preview import as_lines
from worker.ops.replay_preview import ReplayEffect, replay_preview_for
from worker.ops.survey import Survey
from worker.queue.dead_letter_filter import DeadLetterFilter, batches, select
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.message import Message
from worker.settings import Settings, load_settings

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
        _preview(letters, wanted, limit, settings)
        return
    survey = _survey(letters, wanted, limit, replay_preview_for(settings).effect)
    what = f"dead letters would go back to {settings.queue}{_effects(survey)}"
    print_hold(settings, letters.redis)
    count = confirm(survey.counts, what, yes=yes)
    found = batches(letters, wanted.not_after(survey.latest), count, at_once=batch_size(rate))
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
    letters = letters_of(load_settings())
    survey = _survey(letters, wanted, limit, lambda _: None)
    if dry_run:
        for buried in select(letters, wanted, limit):
            out.print(f"{buried.message.id} ({buried.letter.reason})")
        print_counts(survey.counts, PURGE)
        return
    count = confirm(survey.counts, PURGE, yes=yes)
    found = batches(letters, wanted.not_after(survey.latest), count, at_once=batch_size(None))
    out.print(f"{each(found, count, None, letters.purge)} purged")


def _survey(
    letters: DeadLetterQueue,
    wanted: DeadLetterFilter,
    limit: int | None,
    effect: Callable[[Message], ReplayEffect | None],
) -> Survey:
    """Return the dead letters that match, counted, with the effects of a sample of them.

    Raises:
        typer.Exit: None matches (status 0).
    """
    survey = Survey(effect)
    for buried in islice(matching(letters, wanted, lambda _: None), limit):
        survey.add(buried.message, buried.letter.reason, buried.letter.died_at)
    if not survey.total:
        out.print("no dead letters match; nothing to do")
        print_no_match(letters, wanted)
        raise typer.Exit(0)
    return survey


def _effects(survey: Survey) -> str:
    """Return what would become of the sample, most first; "" if nothing is known of it."""
    effects = Counter(survey.effects())
    if not effects:
        return ""
    shown = ", ".join(f"{count} {name}" for name, count in effects.most_common())
    return f"; of {effects.total()} looked at: {shown}"


def _preview(
    letters: DeadLetterQueue, wanted: DeadLetterFilter, limit: int | None, settings: Settings
) -> None:
    preview = replay_preview_for(settings)
    for number, buried in enumerate(select(letters, wanted, limit), 1):
        lines = as_lines(preview.request(buried.message, number))
        out.print(f"{buried.message.id} ({buried.letter.reason})", *lines, sep="\n")
