"""Process supervision for `signal-mailgun run`: start processes, restart them, stop them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# How long a process may take to end; a worker finishes what it has in hand.
STOP_SECONDS = 30.0
RESTART_PAUSE_SECONDS = 1.0


class PortTaken(OSError):
    """The error of a port on which another process listens; its text says what to do."""


@dataclass
class ManagedProcess:
    """A process that was started here, its command and the file for its output."""

    name: str
    command: list[str]
    environment: dict[str, str]
    output: Path
    process: "subprocess.Popen[bytes]" = field(init=False)

    def start(self) -> None:
        """Start it, again if it has ended."""
        with self.output.open("ab") as file:
            # In a session of its own it gets no Ctrl-C from the terminal: `stop` ends all in order.
            self.process = subprocess.Popen(  # noqa: S603  this interpreter and this program's modules
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def printed(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text(errors="replace")

    def ended(self) -> bool:
        """Return True if it has ended."""
        return self.process.poll() is not None


@dataclass
class ProcessGroup:
    """The processes started here. Only these are ever stopped.

    Attributes:
        folder: Where the files with their output lie.
        children: The processes, in the order in which they were started.
    """

    folder: Path
    children: list[ManagedProcess] = field(default_factory=list)

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> ManagedProcess:
        """Start `python -m COMMAND` with `environment` added to this process's, and return it."""
        output = self.folder / f"{name}.log"
        command, environment = [sys.executable, "-m", *command], {**os.environ, **environment}
        child = ManagedProcess(name, command, environment, output)
        child.start()
        self.children.append(child)
        return child

    def restart_exited(self) -> list[str]:
        """Restart each process that has ended by itself, after a pause, and return their names."""
        ended = [child for child in self.children if child.ended()]
        for child in ended:
            time.sleep(RESTART_PAUSE_SECONDS)
            child.start()
        return [child.name for child in ended]

    def stop(self) -> None:
        """End all processes, the last started first. Kill one that does not end in time."""
        for child in reversed(self.children):
            child.process.terminate()
            try:
                child.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self.children.clear()


def free_port(wanted: int, option: str) -> int:
    """Return `wanted` if that loopback port is free, or any free one if `wanted` is 0.

    Raises:
        PortTaken: Another process has the port. The text names `option`, which gives another.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            raise PortTaken(
                f"port {wanted} is taken; end what listens there, or give another with {option}"
            ) from None
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Return True if a process listens on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until `condition` is true; return False if it is not within `seconds`."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True
