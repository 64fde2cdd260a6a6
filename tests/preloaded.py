"""Processes that start with their modules loaded already.

Loading Celery, redis-py, pydantic and this program takes a second of CPU, which is most of what a
command or the start of a worker costs. A fork server loads them once; each process is forked from
it, and runs with arguments, environment, folder and streams of its own. `worker.app`, which reads
the settings, is loaded in the process.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any, cast

MODULES = [
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.worker.consumer",
    "kombu.transport.redis",
    "prometheus_client",
    "pydantic_settings",
    "redis.sentinel",
    "requests",
    "rich.console",
    "rich.progress",
    "rich.table",
    "typer",
    "worker.cli",
    "worker.consumer.application",
    "worker.consumer.runtime",
    "worker.consumer.tasks",
]
# Python, or a package, reads variables that begin so when it is loaded.
READ_AT_START = (
    *("PYTHON", "LC_", "LANG", "TZ", "TERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_", "_TYPER"),
    *("CELERY_", "KOMBU_"),
)


class PreloadedProcess:
    """A running process, with the methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        streams: tuple[IO[Any], IO[Any], IO[Any]],
    ) -> None:
        """Start `python ARGUMENTS`.

        Args:
            arguments: `-m`, a module, and its arguments.
            environment: The whole environment.
            folder: The working folder.
            streams: Its stdin, stdout and stderr.
        """
        fds = [DupFd(each.fileno()) for each in streams]
        with _without_main_module():
            self._process = _fork_server().Process(
                target=_run, args=(list(arguments), dict(environment), str(folder), fds)
            )
            self._process.start()
        self.pid = int(self._process.pid or 0)

    @property
    def returncode(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        return cast("int | None", self._process.exitcode)

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status.

        Raises:
            subprocess.TimeoutExpired: It runs longer than `timeout` seconds.
        """
        self._process.join(timeout)
        status = self.returncode
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def can_preload(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Return whether a process with these arguments is the same when it is preloaded.

    Args:
        arguments: The arguments of `python`.
        environment: The whole environment of the process.
    """
    here = os.environ
    names = {each for each in {*environment, *here} if each.startswith(READ_AT_START)}
    same = all(environment.get(each) == here.get(each) for each in names)
    return arguments[0] == "-m" and same


def _run(
    arguments: list[str], environment: dict[str, str], folder: str, fds: Sequence[Any]
) -> None:
    for number, each in enumerate(fds):
        fd = each.detach()
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, closefd=False)  # noqa: SIM115  they stay open until the process ends
        for number, mode in enumerate(("r", "w", "w"))
    )
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.argv = arguments[1:]
    sys.path.insert(0, folder)
    try:
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()


@lru_cache(maxsize=1)
def _fork_server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    return context


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Keep multiprocessing from loading pytest in each process as its main module."""
    main = sys.modules["__main__"]
    there = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    try:
        main.__spec__ = None
        main.__dict__.pop("__file__", None)
        yield
    finally:
        main.__dict__.update(there)
