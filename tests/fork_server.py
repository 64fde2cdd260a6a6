"""The process that forks commands and workers for tests, with their modules loaded already.

`python -m tests.fork_server FD` answers tests/preloaded.py on a Unix socket until that is closed. A
forked process leaves the loop and goes on as Python's main program, so it ends as every other does.
"""

import atexit
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
from types import ModuleType
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
    """Run what the request says, as `python ARGUMENTS` does.

    The arguments are `-m` and a module, or `-c` and a program, and what follows that.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # As in a terminal: whoever runs the tests under nohup passes on an ignored signal.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for number in request["closed"]:
        os.close(number)
    sys.stdin, sys.stdout, sys.stderr = (
        # They stay open until the process ends; Python itself has None for a closed one.
        None if number in request["closed"] else open(number, mode, closefd=False)  # noqa: SIM115
        for number, mode in enumerate(("r", "w", "w"))
    )
    if sys.stderr is not None:
        sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    option, what, *arguments = request["arguments"]
    if option == "-c":
        sys.argv = [option, *arguments]
        sys.path.insert(0, "")
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(what, vars(main))  # noqa: S102  the program is a test's own
    else:
        sys.argv = [what, *arguments]
        sys.path.insert(0, request["folder"])
        runpy.run_module(what, run_name="__main__", alter_sys=True)


def load() -> None:
    """Load the modules so that forked processes copy as little of them as they can.

    Python ends by taking apart every module in `sys.modules`, which costs more than most commands.
    A forked process ends in the same way, but leaves the modules that it was forked with whole.
    """
    loaded: dict[str, ModuleType] = {}
    atexit.register(leave_whole, loaded)  # before any other, so that it is called as the last one
    for each in MODULES:
        import_module(each)
    import_module("worker.cli").commands()  # loads the modules of all commands
    loaded.update(sys.modules)
    for needed in ("builtins", "sys", "__main__"):
        del loaded[needed]
    kept: list[Any] = [*loaded.values()]
    kept.append(kept)  # Nothing else refers to it then, and what is frozen is never collected.
    gc.freeze()  # Else the first collection of each forked process would copy all that is loaded.


def leave_whole(loaded: dict[str, ModuleType]) -> None:
    """Hide these modules, by their names, from the end of Python."""
    for name, module in loaded.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]


def main() -> None:
    """Load the modules, then serve."""
    load()
    with socket.socket(fileno=int(sys.argv[1])) as client:
        request = ForkServer(client).next_process()
    if request is not None:
        become(request)


if __name__ == "__main__":
    main()
