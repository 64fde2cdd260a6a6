"""The command line: `signal-mailgun COMMAND`. Every error is one line with what to do; usage errors exit 2, others 1."""

import os
import sys

import redis
import typer

from worker.operate.cli import check, dead_letters, explain, hold, preview, run, send, status, sync
from worker.operate.cli.terminal import Failure
from worker.operate.redis_errors import describe_redis_error
from worker.privacy import whereabouts
from worker.settings import SettingsError, load_settings
from worker.signal.preset import PresetError

cli = typer.Typer(
    name="signal-mailgun",
    help="Signal events from a queue become members of a Mailgun mailing list.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.command("run")(run.run)
cli.command("worker")(run.worker)
cli.command("send")(send.send)
cli.command("preview")(preview.preview)
cli.command("check")(check.check)
cli.command("status")(status.status)
cli.command("sync")(sync.sync)
cli.command("explain")(explain.explain)
cli.command("forget")(explain.forget)
cli.command("pause")(hold.pause)
cli.command("resume")(hold.resume)
cli.command("sandbox")(run.sandbox)
cli.add_typer(dead_letters.cli, name="dead-letters")


def main() -> None:
    """Run the command line and end the process with its status."""
    try:
        cli(prog_name="signal-mailgun")
    except (SettingsError, PresetError, Failure) as error:
        sys.exit(f"signal-mailgun: {error}")
    except redis.RedisError as error:
        sys.exit(f"signal-mailgun: {_redis_trouble(error)}")
    except BrokenPipeError:
        # Whoever read us has gone, as `head` does: nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001  no traceback reaches an operator
        sys.exit(f"signal-mailgun: a bug, please report it: {whereabouts(error)}")


def _redis_trouble(error: redis.RedisError) -> str:
    trouble = describe_redis_error(error, load_settings().redis_url)
    return f"Redis at {trouble.found}; {trouble.fix.rstrip('.')}"
