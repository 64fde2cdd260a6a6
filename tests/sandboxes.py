"""Sandboxes for tests, each a process of its own on a free port."""

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

from tests.preloaded import started
from tests.sandbox_control import SandboxControl

READY = "sandbox listening on "
READY_WITHIN_SECONDS = 20
STOPPED_WITHIN_SECONDS = 10
PROJECT = Path(__file__).parents[1]
STDERR = 2


class RunningSandbox:
    """A sandbox process that runs until the block ends.

    `options` are those of `python -m tests.sandbox_process`.
    """

    def __init__(self, *options: str) -> None:
        command = ("-m", "tests.sandbox_process", "--port", "0", *options)
        readable, writable = os.pipe()
        self._output = os.fdopen(readable)
        with (
            os.fdopen(writable, "w") as output,
            os.fdopen(os.dup(STDERR), "w") as errors,
            Path(os.devnull).open() as nothing,
        ):
            self.process = started(command, os.environ, PROJECT, (nothing, output, errors))
        try:
            self.base_url = self._announced_url()
        except BaseException:
            self._end()
            raise
        self.control = SandboxControl(self.base_url)

    def stop(self) -> int:
        """End the process and return its exit code. May be called twice."""
        self.control.close()
        return self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _end(self) -> int:
        self.process.terminate()
        try:
            code = self.process.wait(STOPPED_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._output.close()
        return code

    def _announced_url(self) -> str:
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_first_line, args=(self._output, lines), daemon=True).start()
        line = lines.get(timeout=READY_WITHIN_SECONDS)
        if not line.startswith(READY):
            raise RuntimeError(f"the sandbox did not start: {line!r}")
        return line.removeprefix(READY).strip()


def _first_line(stream: IO[str], lines: "queue.Queue[str]") -> None:
    lines.put(stream.readline())


def eventually(holds: Callable[[], bool], *, within_seconds: float = 10) -> bool:
    """Return True once `holds` returns True, False if it does not within the time."""
    deadline = time.monotonic() + within_seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
