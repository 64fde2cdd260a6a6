"""The processes that `signal-mailgun run` starts, keeps running and stops again."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

STOP_SECONDS = 30.0  # what a worker is given to finish what it holds
RESTART_PAUSE_SECONDS = 1.0


class PortTaken(OSError):
    """Somebody else listens there; the text says what to do."""


@dataclass
class ManagedProcess:
    """One process that was started here, its command and where its output goes."""

    name: str
    command: list[str]
    environment: dict[str, str]
    output: Path
    process: "subprocess.Popen[bytes]"

    def printed(self) -> str:
        """What it printed so far."""
        return self.output.read_text(errors="replace")

    def ended(self) -> bool:
        """Has it ended?"""
        return self.process.poll() is not None


@dataclass
class ProcessGroup:
    """The processes started here. Only these are ever stopped."""

    folder: Path  # for their output
    children: list[ManagedProcess] = field(default_factory=list)

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> ManagedProcess:
        """Start `python -m COMMAND` in this environment plus `environment`."""
        output = self.folder / f"{name}.log"
        command, environment = [sys.executable, "-m", *command], {**os.environ, **environment}
        child = ManagedProcess(
            name, command, environment, output, _spawned(command, environment, output)
        )
        self.children.append(child)
        return child

    def restart_exited(self) -> list[str]:
        """Start again what has ended by itself; gives the names."""
        ended = [child for child in self.children if child.ended()]
        for child in ended:
            time.sleep(RESTART_PAUSE_SECONDS)
            child.process = _spawned(child.command, child.environment, child.output)
        return [child.name for child in ended]

    def stop(self) -> None:
        """End them all, the last started first; one that does not end in time is killed."""
        for child in reversed(self.children):
            child.process.terminate()
            try:
                child.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self.children.clear()


def _spawned(
    command: list[str], environment: dict[str, str], output: Path
) -> "subprocess.Popen[bytes]":
    with output.open("ab") as file:
        # A session of its own: Ctrl-C in the terminal reaches us alone, and we stop the rest in order.
        return subprocess.Popen(  # noqa: S603  our own interpreter and modules
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def free_port(wanted: int, option: str) -> int:
    """`wanted` if nobody listens there; any free one for 0. Raises `PortTaken`."""
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
    """Does anybody listen on that loopback port?"""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` came true within `seconds`."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True
