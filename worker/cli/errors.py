"""Exit statuses, and one line for every error that says what to do.

0: done. 1: the command failed. 2: wrong usage. 130: stopped by Ctrl-C. See docs/commands.md.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

import redis
from typer import Abort
from typer.exceptions import TyperException

from worker.cli import streams
from worker.cli.console import CommandError, OutputFailed, ReaderGone, Stopped, err
from worker.environment.names import SettingsError, reason
from worker.monitoring.log import render
from worker.ops.redis_check.errors import describe_redis_error
from worker.privacy import whereabouts
from worker.settings import load_settings
from worker.signal.preset import PresetError

STOPPED = 130  # 128 and the number of SIGINT, as shells have it


def exit_status_of(command: Callable[[], int | None]) -> int:
    """Run `command`, print an error as one line on standard error, and return the exit status."""
    streams.prepare()
    threading.excepthook = _print_thread_error
    logging.lastResort = _Warnings(logging.WARNING)
    try:
        status = command() or 0
        streams.finish()
    except BaseException as error:  # noqa: BLE001  no traceback reaches an operator
        return _end_with(error)
    if status == STOPPED:
        _print_error("stopped")
    return status


class _Warnings(logging.Handler):
    """A log handler that prints warnings, one line each, until logging is configured."""

    def emit(self, record: logging.LogRecord) -> None:
        _print_error(render(record))


def _end_with(error: BaseException) -> int:
    match error:
        case SystemExit():
            raise error
        case KeyboardInterrupt():
            _print_error("stopped")
            return STOPPED
        case Abort() if isinstance(error.__context__, KeyboardInterrupt):
            _print_error("stopped: nothing was done")
            return STOPPED
        case Stopped():
            _print_error(str(error))
            return 128 + error.signal
        case ReaderGone() | BrokenPipeError():
            streams.discard()
            return 0
        case TyperException():
            _print_usage_error(error)
            return int(getattr(error, "exit_code", 2))
        case _:
            _print_error(_trouble(error))
            if isinstance(error, OutputFailed | OSError):
                streams.discard()
            return 1


def _print_error(line: str) -> None:
    with suppress(OutputFailed, ReaderGone):  # then there is nowhere to tell it
        err.print(f"signal-mailgun: {line}")


def _print_usage_error(error: TyperException) -> None:
    """Print what is wrong with the arguments; if there are none, print the command's help."""
    context = getattr(error, "ctx", None)
    text: str = getattr(error, "format_message", lambda: str(error))()
    if type(error).__name__ == "NoArgsIsHelpError":
        with suppress(OutputFailed, ReaderGone):
            err.print(*text.split("\n"), sep="\n")
        return
    line = " ".join(text.split("\n")).rstrip(".")
    _print_error(f"{line}; see `{context.command_path} --help`" if context else line)


def _trouble(error: BaseException) -> str:
    match error:
        case SettingsError() | PresetError() | CommandError():
            return str(error)
        case redis.RedisError():
            return redis_trouble(error)
        case Abort():
            return "not answered: nothing was done; answer y, or give --yes"
        case RecursionError():
            return f"something there is nested too deep to be read or shown ({whereabouts(error)})"
        case OSError():
            return f"{error.filename or 'input or output'}: {reason(error)}"
        case MemoryError():
            return "there is not enough memory"
        case _:
            return f"a bug, please report it: {whereabouts(error)}"


def redis_trouble(error: redis.RedisError) -> str:
    """Return one line that says what is wrong with Redis and what to do."""
    trouble = describe_redis_error(error, load_settings().redis_url)
    return f"Redis at {trouble.found}; {trouble.fix.rstrip('.')}"


def _print_thread_error(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not isinstance(
        failed.exc_value, OutputFailed | ReaderGone | OSError
    ):
        _print_error(f"a bug, please report it: {whereabouts(failed.exc_value)}")
