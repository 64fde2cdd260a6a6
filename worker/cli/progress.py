"""The progress bar of commands that take long; only a terminal shows it."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn

from worker.cli.console import err


def progress_bar(times: ProgressColumn) -> Progress:
    """Return a bar on standard error that vanishes at its end; `times` stands behind the counts."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, times, console=err, transient=True, disable=not err.is_terminal)
