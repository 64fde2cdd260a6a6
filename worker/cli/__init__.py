"""The command line: `signal-mailgun COMMAND`.

Every error is one line that says what to do. Usage errors exit with status 2, other errors with
status 1 (see `worker.cli.errors`).
"""

import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated, Any

import typer

from worker.cli import (
    check,
    dead_letters,
    delayed,
    explain,
    flower,
    pause,
    preview,
    run,
    send,
    status,
    sync,
    tail,
    trigger,
)
from worker.cli.console import out
from worker.cli.errors import exit_status_of
from worker.cli.examples import epilog
from worker.monitoring import log

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")  # of an integration
# \b keeps the lines that follow as they are.
FIRST_STEPS = """\b
Examples:
  signal-mailgun run --once               Deliver sample events to a sandbox.
  signal-mailgun send events.ndjson       Enqueue the events of a file.
  signal-mailgun status --watch           Watch what becomes of them.
  signal-mailgun explain ada@example.org  Show where one member stands.
"""

cli = typer.Typer(
    name="signal-mailgun",
    help="Signal events from a queue become members of a Mailgun mailing list.",
    epilog=FIRST_STEPS,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help and errors as plain lines, on any terminal and in any encoding
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  typer's
    if wanted:
        out.print(f"signal-mailgun {version('signal-mailgun')}")
        raise typer.Exit


def _use_integration(name: str | None) -> None:
    if name is None:
        return
    if not NAME.fullmatch(name):
        raise typer.BadParameter(
            "a name has small letters, digits, - and _, 63 at most; it begins with no sign"
        )
    os.environ["SIGNAL_INTEGRATION"] = name


@cli.callback()
def _options(
    *,
    _integration: Annotated[
        str | None,
        typer.Option(
            "--integration",
            metavar="NAME",
            callback=_use_integration,
            help="The integration, in place of SIGNAL_INTEGRATION.",
        ),
    ] = None,
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
cli.command("flower", context_settings={"ignore_unknown_options": True})(flower.flower)
cli.command("send")(send.send)
cli.command("trigger")(trigger.trigger)
cli.command("preview")(preview.preview)
cli.command("check")(check.check)
cli.command("status")(status.status)
cli.command("sync")(sync.sync)
cli.command("explain")(explain.explain)
cli.command("tail")(tail.tail)
cli.command("forget")(explain.forget)
cli.command("pause")(pause.pause)
cli.command("resume")(pause.resume)
cli.command("sandbox")(run.sandbox)
cli.add_typer(dead_letters.cli, name="dead-letters")
cli.add_typer(delayed.cli, name="delayed")


def commands() -> Any:
    """Return the command line: each command has its examples, and the option `--integration`."""
    top = typer.main.get_command(cli)
    integration = next(each for each in top.params if "--integration" in each.opts)
    integration.expose_value = False
    for path, command in _within(top, ""):
        command.params.insert(-1, integration)
        command.epilog = epilog(path)
    return top


def _within(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the commands of `group` and of the groups in it, each with its path."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _within(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def main() -> None:
    """Run the command line and end the process with its status."""
    log.quiet_libraries()
    sys.exit(exit_status_of(lambda: commands()(prog_name="signal-mailgun", standalone_mode=False)))
