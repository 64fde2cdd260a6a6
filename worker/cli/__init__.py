"""The command line: `signal-mailgun COMMAND`.

Every error is one line that says what to do. Usage errors exit with status 2, other errors with
status 1 (see `worker.cli.errors`).
"""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from worker.cli import check, dead_letters, explain, pause, preview, run, send, status, sync
from worker.cli.console import out
from worker.cli.errors import ended
from worker.monitoring import log

# \b keeps the lines that follow as they are.
EXAMPLES = """\b
Examples:
  signal-mailgun run --once               Deliver sample events to a sandbox.
  signal-mailgun send events.ndjson       Enqueue the events of a file.
  signal-mailgun status --watch           Watch what becomes of them.
  signal-mailgun explain ada@example.org  Show where one member stands.
"""

cli = typer.Typer(
    name="signal-mailgun",
    help="Signal events from a queue become members of a Mailgun mailing list.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help and errors as plain lines, on any terminal and in any encoding
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  typer's
    if wanted:
        out.print(f"signal-mailgun {version('signal-mailgun')}")
        raise typer.Exit


@cli.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Signal events from a queue become members of a Mailgun mailing list."""


cli.command("run")(run.run)
cli.command("worker")(run.worker)
cli.command("send")(send.send)
cli.command("preview")(preview.preview)
cli.command("check")(check.check)
cli.command("status")(status.status)
cli.command("sync")(sync.sync)
cli.command("explain")(explain.explain)
cli.command("forget")(explain.forget)
cli.command("pause")(pause.pause)
cli.command("resume")(pause.resume)
cli.command("sandbox")(run.sandbox)
cli.add_typer(dead_letters.cli, name="dead-letters")


def main() -> None:
    """Run the command line and end the process with its status."""
    log.quiet_libraries()
    sys.exit(ended(lambda: cli(prog_name="signal-mailgun", standalone_mode=False)))
