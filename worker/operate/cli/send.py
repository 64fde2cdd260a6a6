"""`signal-mailgun send FILE|-`: enqueue events from a file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worker.operate.cli.terminal import Failure, err, out
from worker.operate.events_file import Entry, entries, open_events
from worker.plain import event_text
from worker.producer import Bulk, EventQueue
from worker.settings import load_settings
from worker.signal.event import MalformedEvent
from worker.store import connect

File = Annotated[
    str, typer.Argument(metavar="FILE|-", help="JSON object, JSON array or NDJSON; - reads standard input")
]


def send(file: File) -> None:
    """Enqueue events. Bad lines are reported by number, the rest go; exit 1 when there were any."""
    settings = load_settings()
    bad = 0
    bulk = Bulk(EventQueue(connect(settings.redis_url), settings.queue))
    with events_from(file) as found, _progress() as progress, bulk:
        bar = progress.add_task("enqueued", total=None)
        for entry in found:
            text = _text(entry)
            if text is None:
                bad += 1
                continue
            before = bulk.sent
            bulk.add(text)
            if bulk.sent > before:
                progress.update(bar, completed=bulk.sent)
    out.print(f"{bulk.sent} enqueued on {settings.queue}" + (f", {bad} bad lines left out" if bad else ""))
    if bad:
        raise typer.Exit(1)


@contextmanager
def events_from(file: str) -> Iterator[Iterator[Entry]]:
    """The entries of `file`, or of standard input for "-". Raises `Failure` when it cannot be read."""
    try:
        with _opened(file) as stream:
            yield entries(stream)
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror or type(error).__name__}") from None


@contextmanager
def _opened(file: str) -> Iterator[IO[str]]:
    if file == "-":
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace")
        yield sys.stdin
        return
    with open_events(Path(file)) as stream:
        yield stream


def _text(entry: Entry) -> str | None:
    try:
        if entry.complaint:
            raise MalformedEvent(entry.complaint)
        return event_text(entry.value)
    except MalformedEvent as error:
        err.print(f"line {entry.number}: {error}", markup=False)
        return None


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
