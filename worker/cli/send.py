"""`signal-mailgun send FILE|-`: enqueue events from a file."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import redis
import typer
from rich.progress import TimeElapsedColumn

from worker.cli.console import CommandError, Stopped, err, out
from worker.cli.progress import progress_bar
from worker.environment.names import reason
from worker.ops.event_file import FileEntry, entries, open_events
from worker.ops.integrations import is_served
from worker.ops.text_file import NotText, text_in
from worker.queue.producer import BulkEnqueuer, EventQueue
from worker.redis_client.client import connect
from worker.settings import load_settings
from worker.signal.event import MalformedEvent
from worker.signal.json_value import event_text

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE|-",
        help="Read JSON objects, or an array of them, from this file, plain or gzip; "
        "- reads standard input.",
    ),
]


def send(file: File) -> None:
    """Enqueue the events of a file.

    Bad lines are reported by number and left out; then the exit status is 1.
    """
    settings = load_settings()
    store = connect(settings.redis_url)
    if not is_served(settings, store):
        err.print(
            f"no worker has ever served {settings.queue}: the events wait there until one does"
        )
    bulk = BulkEnqueuer(EventQueue(store, settings.queue, settings.message_max_bytes))
    try:
        bad = _enqueue_all(events_from(file), bulk)
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {bulk.sent} enqueued on {settings.queue}") from None
    except CommandError as failure:
        raise CommandError(
            f"{failure}; {bulk.sent} enqueued before that" if bulk.sent else str(failure)
        ) from None
    except redis.RedisError:
        if bulk.sent:
            err.print(
                f"{bulk.sent} enqueued on {settings.queue} for certain; "
                f"to send an event twice does no harm"
            )
        raise
    out.print(
        f"{bulk.sent} enqueued on {settings.queue}" + (f", {bad} bad lines left out" if bad else "")
    )
    if bad:
        raise typer.Exit(1)


def _enqueue_all(found: Iterator[FileEntry], bulk: BulkEnqueuer) -> int:
    """Enqueue the entries that are events, and return how many are not.

    If Ctrl-C interrupts it, the events read until then are enqueued.
    """
    bad = 0
    with progress_bar(TimeElapsedColumn()) as progress, bulk:
        bar = progress.add_task("enqueued", total=None)
        for entry in found:
            before = bulk.sent
            bad += not _enqueue(entry, bulk)
            if bulk.sent > before:
                progress.update(bar, completed=bulk.sent)
    return bad


def events_from(file: str) -> Iterator[FileEntry]:
    """Yield the entries of `file`, or of standard input for "-".

    Raises:
        CommandError: The file cannot be opened, or reading it fails midway.
    """
    name = "standard input" if file == "-" else file
    try:
        if file == "-":
            yield from entries(text_in(sys.stdin.buffer))
        else:
            with open_events(Path(file)) as stream:
                yield from entries(stream)
    except NotText as error:
        raise CommandError(f"{name} is {error}") from None
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {reason(error)}") from None


def _enqueue(entry: FileEntry, bulk: BulkEnqueuer) -> bool:
    """Enqueue the entry; if it is no event, print why and return False."""
    try:
        if entry.complaint:
            raise MalformedEvent(entry.complaint)
        bulk.add(event_text(entry.value))
    except MalformedEvent as error:
        err.print(f"line {entry.number}: {error}")
        return False
    return True
