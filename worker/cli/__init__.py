"""The command line: `signal-mailgun COMMAND`.

Every error is one line that says what to do. Usage errors exit with status 2, other errors with
status 1 (see `worker.cli.errors`).
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer

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

# The place of each command's function in this package, in the order of the help.
COMMANDS = {
    "run": "run.run",
    "worker": "run.worker",
    "flower": "flower.flower",
    "send": "send.send",
    "trigger": "trigger.trigger",
    "preview": "preview.preview",
    "check": "check.check",
    "status": "status.status",
    "sync": "sync.sync",
    "explain": "explain.explain",
    "tail": "tail.tail",
    "forget": "explain.forget",
    "pause": "pause.pause",
    "resume": "pause.resume",
    "sandbox": "run.sandbox",
}
GROUPS = {"dead-letters": "dead_letters.cli", "delayed": "delayed.cli"}


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


def commands(arguments: Sequence[str] = ()) -> Any:
    """Return the command line: each command has its examples, and the option `--integration`.

    Args:
        arguments: The arguments that it will get. If they name a command, it is the only one that
            is loaded, since it takes less time to load than all of them.
    """
    named = _named(arguments)
    names = (named,) if named in {*COMMANDS, *GROUPS} else (*COMMANDS, *GROUPS)
    top = typer.main.get_command(_typer_of(names))
    integration = next(each for each in top.params if "--integration" in each.opts)
    integration.expose_value = False
    for path, command in _within(top, ""):
        command.params.insert(-1, integration)
        command.epilog = epilog(path)
    return top


def _named(arguments: Sequence[str]) -> str:
    """Return the first of the arguments that is not the option `--integration`, "" if none is."""
    left = iter(arguments)
    for each in left:
        if each == "--integration":
            next(left, None)
        elif not each.startswith("--integration="):
            return each
    return ""


def _typer_of(names: Sequence[str]) -> typer.Typer:
    cli = typer.Typer(
        name="signal-mailgun",
        epilog=FIRST_STEPS,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # help and errors as plain lines, on any terminal, in any encoding
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    cli.callback()(_options)
    for name in names:
        if name in GROUPS:
            cli.add_typer(_loaded(GROUPS[name]), name=name)
        else:
            takes_any = {"ignore_unknown_options": True} if name == "flower" else None
            cli.command(name, context_settings=takes_any)(_loaded(COMMANDS[name]))
    return cli


def _loaded(place: str) -> Any:
    module, _, name = place.partition(".")
    return getattr(import_module(f"worker.cli.{module}"), name)


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
    sys.exit(exit_status_of(_run))


def _run() -> Any:
    command_line = commands(sys.argv[1:])
    return command_line(prog_name="signal-mailgun", standalone_mode=False)
