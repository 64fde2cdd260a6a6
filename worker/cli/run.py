"""`signal-mailgun run`, `worker` and `sandbox`: the commands that run until they are stopped."""

import importlib.util
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from pydantic import ValidationError

from worker.cli.console import CommandError, err, out
from worker.cli.tables import print_rows
from worker.local.processes import PortTaken, free_port
from worker.local.stack import SETTLE_SECONDS, LocalStack, StartupError
from worker.monitoring import log
from worker.privacy import redacted
from worker.queue.dead_letter_filter import dead_letters_for
from worker.queue.dead_letters import DeadLetterQueue
from worker.sandbox.state import SandboxConfig
from worker.settings import load_settings

MEANINGS = {
    "delivered": "Mailgun holds it",
    "unchanged": "Mailgun held it already",
    "superseded": "newer events had set it all",
    "on_hold": "the integration was on hold: delayed, no attempt spent",
    "locked": "its member was locked: delayed, no attempt spent",
    "doubtful": "Mailgun contradicted itself: read again, no attempt spent",
    "throttled": "Mailgun asked to wait (429): delayed, no attempt spent",
    "retried": "no answer or 5xx: tried again later",
    "skipped": "nothing to deliver",
    "dead letter": "refused: kept, can be replayed",
}


def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, help="Have this many events under way. Default: WORKER_CONCURRENCY."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Use this node name, such as worker1@%h.")
    ] = None,
    *,
    task_events: Annotated[
        bool,
        typer.Option(
            "--task-events", "-E", help="Send task events to Flower from the start, not on request."
        ),
    ] = False,
) -> None:
    """Run a worker until SIGTERM or Ctrl-C.

    Before it ends, it finishes the events that it has in hand.
    """
    # Celery would nearly double the time that `signal-mailgun --help` takes, from 0.6 s of CPU to
    # 1.0 s, and importing the application configures it.
    from celery.bin.celery import celery  # noqa: PLC0415

    from worker.app import app, settings  # noqa: PLC0415
    from worker.consumer.startup import validate_configuration  # noqa: PLC0415

    # Before the first connection, which may log a warning.
    log.configure(settings.log_level, settings.log_format)
    validate_configuration(app.runtime)
    options = ["--app=worker.app", "--quiet", "worker"]
    options += [f"--concurrency={concurrency}"] if concurrency else []
    options += [f"--hostname={name}"] if name else []
    options += ["--task-events"] if task_events else []
    raise typer.Exit(celery.main(args=options, standalone_mode=False) or 0)


def sandbox(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Listen on this port; 0 takes any free one.")
    ] = 8025,
    host: Annotated[str, typer.Option(help="Listen on this address.")] = "127.0.0.1",
    *,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow a --host that is not a loopback address.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Accept requests for this host name, too. The option may be repeated.",
        ),
    ] = None,
) -> None:
    """Run a local Mailgun sandbox.

    Its page shows the list's members and the latest requests.
    """
    if importlib.util.find_spec("aiohttp") is None:
        raise CommandError("the sandbox needs aiohttp; pip install 'signal-mailgun[local]'")
    from worker.sandbox.server import serve  # noqa: PLC0415  needs the extra [local]

    try:
        config = SandboxConfig(
            host=host, port=port, allow_remote=allow_remote, allow_hosts=tuple(allow_host or ())
        )
        serve(config, ready=lambda url: _show_sandbox(url, config.api_keys[0], config.lists[0]))
    except ValidationError as error:
        raise CommandError(
            f"--allow-host: {error.errors()[0]['msg'].removeprefix('Value error, ')}; "
            f"give NAME alone"
        ) from None
    except OSError as error:
        raise CommandError(
            f"cannot listen on {host}:{port}: {error.strerror}; give another port with --port"
        ) from None
    except ValueError as error:
        raise CommandError(f"{error}; add --allow-remote if that is meant") from None


def _show_sandbox(url: str, key: str, list_address: str) -> None:
    out.print(
        f"sandbox listening on {url}",
        f"  key   {key}",
        f"  list  {list_address}",
        f"  page  {url}/ shows members, requests and faults",
        "",
        "For a worker and other commands, in another terminal:",
        # An integration of its own: a worker must never deliver real events to the sandbox.
        _exports(SIGNAL_INTEGRATION="sandbox", MAILGUN_LIST_ADDRESS=list_address),
        _exports(MAILGUN_API_KEY=key, MAILGUN_API_BASE_URL=url, MAILGUN_ALLOW_CUSTOM_HOST="true"),
        sep="\n",
    )


def _exports(**values: str) -> str:
    """Return a line for a shell that sets these variables."""
    return "  export " + " ".join(f"{name}={quote(value)}" for name, value in values.items())


def run(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Send the sample events, show how each ended, and exit.")
    ] = False,
    flower_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Serve Flower on this port. Default: 5555; with --once any free one.",
        ),
    ] = None,
    sandbox_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Serve the sandbox on this port. Default: 8025; with --once any free one.",
        ),
    ] = None,
) -> None:
    """Run everything on this machine.

    Starts a worker and Flower. If REDIS_URL is not set, also starts an embedded server. If no
    Mailgun key is set, also starts the sandbox and sends sample events.
    """
    began = time.monotonic()
    # SIGTERM stops the program as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        flower_port = free_port(_chosen(flower_port, 5555, once=once), "--flower-port")
        sandbox_port = free_port(_chosen(sandbox_port, 8025, once=once), "--sandbox-port")
        settings = load_settings()
        with LocalStack(settings, flower_port=flower_port, sandbox_port=sandbox_port) as local:
            _run(local, began, once=once)
    except (PortTaken, StartupError) as error:
        raise CommandError(str(error)) from None
    except KeyboardInterrupt:
        err.print("stopped")


def _run(local: LocalStack, began: float, *, once: bool) -> None:
    with err.status("starting …"):
        local.start()
    if not local.real:
        _show_samples(local, began)
    if not once:
        _show_where_to_look(local)
        _wait_for_ctrl_c(local)


def _show_samples(local: LocalStack, began: float) -> None:
    out.print(
        f"Everything is up after {time.monotonic() - began:.1f} s. "
        f"Sending sample events of every kind and fault …"
    )
    with err.status("waiting for retries …"):
        local.send_samples()
        settled = local.wait_until_settled()
    _show_totals(local)
    if not settled:
        raise CommandError(f"the samples did not all end within {SETTLE_SECONDS:g} s")


def _show_totals(local: LocalStack) -> None:
    totals = sorted(local.totals().items(), key=lambda each: _rank(each[0]))
    rows = [
        (outcome, str(count), MEANINGS.get(outcome.partition(":")[0], ""))
        for outcome, count in totals
    ]
    print_rows(("outcome", "events", "meaning"), rows)
    _show_letters(dead_letters_for(local.settings))


def _show_letters(letters: DeadLetterQueue) -> None:
    out.print("", "Dead letters, and what to do about each:", sep="\n")
    for buried in letters.oldest_first():
        letter = buried.letter
        status = f" (HTTP {letter.status})" if letter.status else ""
        out.print(f"  {buried.message.id}: {letter.reason}{status}: {redacted(letter.summary)}")
        out.print(f"      → {letter.fix}")


def _show_where_to_look(local: LocalStack) -> None:
    out.print("", "Where to look:", sep="\n")
    if not local.real:
        out.print(
            f"  {local.sandbox_url}/          the sandbox: the list's members, the latest requests"
        )
    out.print(f"  {local.flower_url}/tasks     Flower: each event by its id")
    out.print(
        f"  {local.flower_url}/dead-letters  Flower: why events died; replay and purge by a click"
    )
    out.print(f"  {local.flower_url}/retries   Flower: what waits for its next try, and why")
    out.print(f"  {local.flower_url}/broker    Flower: depth of each queue")
    if local.flower_login_file:
        out.print(f"  {quote(str(local.flower_login_file))}    Flower's login, USER:PASSWORD")
    out.print(f"  {local.folder}/worker.log")
    out.print("", "For the commands in another terminal (send, status, dead-letters, …):", sep="\n")
    out.print(*_shell_lines(local), sep="\n")


def _shell_lines(local: LocalStack) -> list[str]:
    """Return the lines that make another shell's commands work on this stack."""
    lines = []
    if shutil.which("signal-mailgun") is None:
        lines.append(f'  export PATH={quote(str(Path(sys.executable).parent))}:"$PATH"')
    # The URL holds a password, which must not be printed.
    own = f' REDIS_URL="$(cat {quote(str(local.redis_url_file))})"' if local.redis_url_file else ""
    lines.append(_exports(SIGNAL_INTEGRATION=local.settings.signal_integration) + own)
    if not local.real:
        lines.append(_exports(**local.sandbox_settings()))
    if not local.embedded and "REDIS_URL" in os.environ:
        lines.append("  # and REDIS_URL as in this terminal")
    return [*lines, "  signal-mailgun status"]


def _wait_for_ctrl_c(local: LocalStack) -> None:
    out.print("", "Ctrl-C stops everything that was started here.", sep="\n")
    while True:
        time.sleep(1)
        for name in local.processes.restart_exited():
            err.print(f"the {name} had ended and was started again")


def _rank(outcome: str) -> tuple[int, str]:
    # A test keeps MEANINGS complete.
    return list(MEANINGS).index(outcome.partition(":")[0]), outcome


def _chosen(port: int | None, default: int, *, once: bool) -> int:
    return port if port is not None else (0 if once else default)
