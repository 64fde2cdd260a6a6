"""`signal-mailgun flower`: Flower with this program's pages, until it is stopped."""

import importlib.util
import os
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from worker.cli.console import CommandError
from worker.environment.names import reason
from worker.settings import load_settings

ADDRESS = "127.0.0.1"  # where Flower listens unless it is told otherwise


def flower(
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Listen on this port. Default: FLOWER_PORT, else 5555."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help=f"Listen on this address. Default: FLOWER_ADDRESS, else {ADDRESS}."),
    ] = None,
    others: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FLOWER OPTIONS]...",
            help="Any other options of Flower, such as --basic-auth=USER:PASSWORD or --read-only.",
        ),
    ] = None,
) -> None:
    """Run Flower with the pages Dead letters and Retries until SIGTERM or Ctrl-C.

    It is the Flower of `celery -A worker.app flower`, bound to this machine alone by default.
    """
    if importlib.util.find_spec("flower") is None:
        raise CommandError("Flower is not installed; pip install flower")
    load_settings()
    own = {"port": port, "address": address}
    options = [f"--{name}={value}" for name, value in own.items() if value is not None]
    options += spelled_out(others or [], _names())
    _check(options)
    # Celery's command line loads Flower, and then the application, which adds its pages.
    from celery.bin.celery import celery  # noqa: PLC0415  only this command needs it

    arguments = ["--app=worker.app", "flower", *options]
    raise typer.Exit(celery.main(args=arguments, standalone_mode=False) or 0)


def spelled_out(given: list[str], names: dict[str, Any]) -> list[str]:
    """Return Flower's options as `--name=value`, the one form that Flower reads.

    Flower ignores what it does not know, so a misspelt `--basic-auth` would leave it open.

    Args:
        given: The arguments, as they were typed.
        names: The value that each option has by default; a truth value marks a switch.

    Raises:
        typer.BadParameter: An option is unknown, or has no value.
    """
    options = []
    left = iter(given)
    for option in left:
        name, has_value, value = option.removeprefix("--").partition("=")
        name = name.replace("_", "-")
        if not option.startswith("--") or name not in names:
            close = get_close_matches(name, names, 1)
            meant = f" (did you mean --{close[0]}?)" if close else ""
            shown = option.partition("=")[0]
            raise typer.BadParameter(
                f"Flower has no option {shown}{meant}; "
                "`celery -A worker.app flower --help` lists them"
            )
        if not has_value:
            value = "true" if isinstance(names[name], bool) else next(left, "")
        if not value:
            raise typer.BadParameter(f"--{name} takes a value: --{name}=VALUE")
        options.append(f"--{name}={value}")
    return options


def _names() -> dict[str, Any]:
    """Return Flower's options with their defaults."""
    from flower.options import default_options  # noqa: PLC0415  only this command needs it

    return {name.replace("_", "-"): value for name, value in default_options.as_dict().items()}


def _check(options: list[str]) -> None:
    """Read the options as Flower will, and see that it can listen where they say.

    Raises:
        CommandError: A value cannot be read, or Flower could not listen there.
    """
    from flower.command import apply_env_options, apply_options  # noqa: PLC0415
    from flower.options import options as flowers  # noqa: PLC0415
    from tornado.netutil import bind_sockets  # noqa: PLC0415
    from tornado.options import Error  # noqa: PLC0415

    # Defaults: the environment, a configuration file and an option outrank them. A folder may come
    # from elsewhere, so no flowerconfig.py in it is executed unless it is named.
    flowers.address, flowers.conf = ADDRESS, os.devnull
    try:
        apply_env_options()
        apply_options("flower", options)
    except (Error, ValueError, KeyError, SyntaxError, NameError) as error:
        # None of these quotes a login: those are texts, and every text can be read.
        raise CommandError(
            f"an option of Flower cannot be read: {error}; see the options, "
            "FLOWER_… in the environment and the file of --conf"
        ) from None
    if flowers.unix_socket:
        return
    try:
        for each in bind_sockets(flowers.port, flowers.address):
            each.close()
    except OSError as error:
        where = f"{flowers.address or '*'}:{flowers.port}"
        raise CommandError(
            f"cannot listen on {where}: {reason(error)}; give another with --port or --address"
        ) from None
