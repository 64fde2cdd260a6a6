"""The process that forks commands and workers for tests, with their modules loaded already.

`python -m tests.fork_server FD` answers tests/preloaded.py on a Unix socket until that is closed. A
forked process leaves the loop and goes on as Python's main program, so it ends as every other does.
"""

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

MODULES = (
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
    "worker.dashboard.tabs",
    "worker.sandbox.server",
)
# A request is its length, its JSON, and four file descriptors: stdin, stdout, stderr, and where the
# exit status is to be written. Its answer is the process's ID.
LENGTH = struct.Struct("!I")
PID = struct.Struct("!i")
STATUS = struct.Struct("!i")
STREAMS = 3


class ForkServer:
    """Forks a process for each request and reports its exit status."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._status_fds: dict[int, int] = {}

    def next_process(self) -> dict[str, Any] | None:
        """Serve requests.

        Returns:
            In each forked process its request; None in the server, once the client is gone.
        """
        woken, wakes = socket.socketpair()
        for end in (woken, wakes):
            end.settimeout(0)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Ctrl-C in a terminal reaches this process, too; pytest ends it when it ends itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with selectors.DefaultSelector() as selector:
            selector.register(self._client, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if woken in ready:
                    woken.recv(4096)
                    self._report_ended()
                if self._client in ready:
                    head, fds, *_ = socket.recv_fds(self._client, LENGTH.size, STREAMS + 1)
                    if not head:
                        return None
                    request = json.loads(self._received(*LENGTH.unpack(head)))
                    if self._forked(fds):
                        signal.set_wakeup_fd(-1)
                        for end in (woken, wakes):
                            end.close()
                        return dict(request)

    def _forked(self, fds: list[int]) -> bool:
        """Fork; return True in the new process, whose standard streams are the given ones."""
        *streams, status_fd = fds
        pid = os.fork()
        if pid:
            self._status_fds[pid] = status_fd
            self._client.sendall(PID.pack(pid))
            for fd in streams:
                os.close(fd)
            return False
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        for fd in (*fds, *self._status_fds.values()):
            os.close(fd)
        self._client.close()
        return True

    def _report_ended(self) -> None:
        while self._status_fds:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            fd = self._status_fds.pop(pid)
            with suppress(BrokenPipeError):  # The test has ended.
                os.write(fd, STATUS.pack(os.waitstatus_to_exitcode(status)))
            os.close(fd)

    def _received(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            data += self._client.recv(length - len(data))
        return data


def become(request: dict[str, Any]) -> None:
    """Run what the request says, as `python ARGUMENTS` does: `-m`, a module, and its arguments."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, closefd=False)  # noqa: SIM115  they stay open until the process ends
        for number, mode in enumerate(("r", "w", "w"))
    )
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    _, module, *arguments = request["arguments"]
    sys.argv = [module, *arguments]
    sys.path.insert(0, request["folder"])
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Load the modules, then serve."""
    for each in MODULES:
        import_module(each)
    import_module("worker.cli").commands()  # loads the modules of all commands
    gc.freeze()  # Else the first collection of each forked process would copy all that is loaded.
    with socket.socket(fileno=int(sys.argv[1])) as client:
        request = ForkServer(client).next_process()
    if request is not None:
        become(request)


if __name__ == "__main__":
    main()
