"""Processes that start with their modules loaded already.

Loading Celery, redis-py, pydantic and this program takes a second of CPU, which is most of what a
command or the start of a worker, a Flower or a sandbox costs. A fork server loads them once; each
process is forked from it, and runs with arguments, environment, folder and streams of its own.
`worker.app`, which reads the settings, is loaded in the process.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, TypeAlias

from tests.fork_server import LENGTH, PID, STATUS

PROJECT = Path(__file__).parents[1]
# Python, or a package, reads variables that begin so when it is loaded. (So does Celery with TERM,
# but only for pictures.)
READ_AT_START = (
    *(
        "PYTHON",
        "LC_",
        "LANG",
        "TZ",
        "TERMINAL_WIDTH",
        "COLUMNS",
        "LINES",
        "NO_COLOR",
        "FORCE_",
        "_TYPER",
    ),
    *("CELERY_", "KOMBU_"),
)
Streams: TypeAlias = tuple[IO[Any] | None, IO[Any] | None, IO[Any] | None]
one_at_a_time = threading.Lock()


class PreloadedProcess:
    """A running process, with the methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        streams: Streams,
    ) -> None:
        """Start `python ARGUMENTS`.

        Args:
            arguments: `-m` and a module, or `-c` and a program, and what follows that.
            environment: The whole environment.
            folder: The working folder.
            streams: Its stdin, stdout and stderr; None for one that is closed.
        """
        request = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": str(folder),
            "closed": [number for number, each in enumerate(streams) if each is None],
        }
        status_read, status_write = os.pipe()
        self._status = os.fdopen(status_read, "rb", buffering=0)
        with os.fdopen(status_write, "wb") as status:
            self.pid = _forked(request, [*(each or status for each in streams), status])
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        return self._await_status(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status.

        Raises:
            subprocess.TimeoutExpired: It runs longer than `timeout` seconds.
        """
        status = self._await_status(timeout)
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

    def _await_status(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], seconds)[0]:
            # A fork server that has died tells no status: that is an error of struct.
            [self.returncode] = STATUS.unpack(self._status.read(STATUS.size))
            self._status.close()
        return self.returncode


AnyProcess: TypeAlias = "subprocess.Popen[bytes] | PreloadedProcess"


def started(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    streams: Streams,
) -> AnyProcess:
    """Start `python ARGUMENTS`, preloaded if it is the same then.

    Args:
        arguments: The arguments of `python`.
        environment: The whole environment.
        folder: The working folder.
        streams: Its stdin, stdout and stderr; None for one that is closed.
    """
    if can_preload(arguments, environment):
        return PreloadedProcess(arguments, environment, folder, streams)
    assert None not in streams, "only a preloaded process can be started with a closed stream"
    given, out, err = streams
    command = [sys.executable, *arguments]
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdin=given, stdout=out, stderr=err
    )


def can_preload(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Return whether a process with these arguments is the same when it is preloaded.

    Args:
        arguments: The arguments of `python`.
        environment: The whole environment of the process.
    """
    here = os.environ
    names = {each for each in {*environment, *here} if each.startswith(READ_AT_START)}
    same = all(environment.get(each) == here.get(each) for each in names)
    return arguments[0] in {"-m", "-c"} and same


def _forked(request: Mapping[str, Any], streams: Sequence[IO[Any]]) -> int:
    """Return the ID of a new process."""
    data = json.dumps(request).encode()
    with one_at_a_time:
        server, _ = _fork_server()
        socket.send_fds(server, [LENGTH.pack(len(data))], [each.fileno() for each in streams])
        server.sendall(data)
        [pid] = PID.unpack(server.recv(PID.size))
    return int(pid)


@lru_cache(maxsize=1)
def _fork_server() -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
    """Start the server, and return the socket to it. It ends when this process does."""
    client, server = socket.socketpair()
    with server:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", str(server.fileno())],
            pass_fds=[server.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=PROJECT,
        )
    return client, process
