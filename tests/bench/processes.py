"""A competitor's processes: their start, measurement and end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench import proc
from tests.bench.competitors import Competitor
from tests.integration.bench import clean_environment
from tests.sandboxes import PROJECT

READY_WITHIN_SECONDS = 60


class ProcessError(Exception):
    """A competitor that did not start or has ended; the text names its output."""


class CompetitorProcesses:
    """The running processes of one competitor: its workers, and what else it needs."""

    def __init__(
        self,
        competitor: Competitor,
        workers: int,
        folder: Path,
        bench_python: Path,
        **settings: str,
    ) -> None:
        """Start the workers.

        Each process leads a session of its own, by which its children are found.
        """
        self._competitor, self._workers, self._folder = competitor, workers, folder
        self._python = Path(sys.executable) if competitor.ours else bench_python
        self._environment = clean_environment(
            **settings, **competitor.settings, PYTHONPATH=str(PROJECT)
        )
        self._started: list[subprocess.Popen[bytes]] = []
        for number in range(1 if competitor.starts_workers_itself else workers):
            self._start(f"worker-{number}", competitor.arguments)

    def write(self, text: bytes) -> None:
        """Write the text to the first process' stdin; this waits while it does not read."""
        stdin = self._started[0].stdin
        assert stdin
        stdin.write(text)
        stdin.flush()

    def add(self, name: str, arguments: tuple[str, ...]) -> None:
        """Start one more process."""
        self._start(name, arguments)

    def wait_until_ready(self) -> None:
        """Wait until all worker processes take events.

        Raises:
            ProcessError: If a process has ended or the start takes too long.
        """
        ends = time.monotonic() + READY_WITHIN_SECONDS
        while self._printed().count(self._competitor.ready) < self._workers:
            self.check()
            if time.monotonic() > ends:
                raise ProcessError(
                    f"{self._competitor.name} was not ready in time; see {self._folder}"
                )
            time.sleep(0.05)

    def check(self) -> None:
        """Check that no process has ended.

        Raises:
            ProcessError: If one has.
        """
        if any(each.poll() is not None for each in self._started):
            raise ProcessError(f"{self._competitor.name} has ended: …{self._printed()[-2000:]}")

    def cpu_seconds(self) -> float:
        """Return the CPU time of all processes and their children so far."""
        return sum(each.cpu_seconds for each in self._processes())

    def peak_megabytes(self) -> float:
        """Return the sum of the processes' peaks of resident memory, in MB."""
        return sum(proc.resident_megabytes(each.pid, peak=True) for each in self._processes())

    def resident_megabytes(self) -> float:
        """Return the sum of the processes' resident memory, in MB."""
        return sum(proc.resident_megabytes(each.pid, peak=False) for each in self._processes())

    def reset_peak(self) -> None:
        """Begin to measure the peak anew."""
        for each in self._processes():
            proc.reset_peak(each.pid)

    def end(self) -> None:
        """Kill all processes, which is quicker than SIGTERM."""
        for each in self._processes():
            with suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)
        for started in self._started:
            started.wait(10)
            if started.stdin:
                with suppress(BrokenPipeError):
                    started.stdin.close()

    def _start(self, name: str, arguments: tuple[str, ...]) -> None:
        filled = [each.format(workers=self._workers, name=name) for each in arguments]
        with (self._folder / f"{name}.log").open("wb") as output:
            self._started.append(
                subprocess.Popen(
                    [self._python, *filled],
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder,
                    start_new_session=True,
                )
            )

    def _processes(self) -> list[proc.Process]:
        return proc.session_of(each.pid for each in self._started)

    def _printed(self) -> str:
        return "".join(
            each.read_text(errors="replace") for each in sorted(self._folder.glob("*.log"))
        )


@contextmanager
def running_processes(
    competitor: Competitor, workers: int, folder: Path, bench_python: Path, **settings: str
) -> Iterator[CompetitorProcesses]:
    """Run a competitor's processes until the block ends; they are ready when it begins."""
    folder.mkdir(parents=True, exist_ok=True)
    started = CompetitorProcesses(competitor, workers, folder, bench_python, **settings)
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.end()
