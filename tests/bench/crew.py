"""A contender's processes: started, watched, ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench import proc
from tests.bench.lineup import Contender
from tests.integration.bench import clean_environment
from tests.sandboxes import PROJECT

READY_WITHIN_SECONDS = 60


class CrewError(Exception):
    """The contender did not start, or has ended; the text says where it printed why."""


class Crew:
    """The running processes of one contender: so many workers, and what else it needs."""

    def __init__(
        self, contender: Contender, workers: int, folder: Path, bench_python: Path, **settings: str
    ) -> None:
        """They start at once; each leads a session of its own, so its children are known by that."""
        self._contender, self._workers, self._folder = contender, workers, folder
        self._python = Path(sys.executable) if contender.ours else bench_python
        self._environment = clean_environment(
            **settings, **contender.settings, PYTHONPATH=str(PROJECT)
        )
        self._started: list[subprocess.Popen[bytes]] = []
        for number in range(1 if contender.starts_workers_itself else workers):
            self._start(f"worker-{number}", contender.arguments)

    def tell(self, text: bytes) -> None:
        """The first process has this on its stdin; waits while it does not read on."""
        stdin = self._started[0].stdin
        assert stdin
        stdin.write(text)
        stdin.flush()

    def add(self, name: str, arguments: tuple[str, ...]) -> None:
        """One more process."""
        self._start(name, arguments)

    def wait_until_ready(self) -> None:
        """Every worker process takes events. Raises `CrewError` where one has ended or takes too long."""
        ends = time.monotonic() + READY_WITHIN_SECONDS
        while self._printed().count(self._contender.ready) < self._workers:
            self.check()
            if time.monotonic() > ends:
                raise CrewError(f"{self._contender.name} was not ready in time; see {self._folder}")
            time.sleep(0.05)

    def check(self) -> None:
        """Raises `CrewError` where a process has ended."""
        if any(each.poll() is not None for each in self._started):
            raise CrewError(f"{self._contender.name} has ended: …{self._printed()[-2000:]}")

    def cpu_seconds(self) -> float:
        """What all processes, and their children, have used so far."""
        return sum(each.cpu_seconds for each in self._processes())

    def peak_megabytes(self) -> float:
        """The most that each of them had resident, added up."""
        return sum(proc.resident_megabytes(each.pid, peak=True) for each in self._processes())

    def resident_megabytes(self) -> float:
        """What they have resident now, added up."""
        return sum(proc.resident_megabytes(each.pid, peak=False) for each in self._processes())

    def reset_peak(self) -> None:
        """The peak is counted anew from here on."""
        for each in self._processes():
            proc.reset_peak(each.pid)

    def end(self) -> None:
        """Every process of it is killed, which is quicker than asking."""
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
def crew(
    contender: Contender, workers: int, folder: Path, bench_python: Path, **settings: str
) -> Iterator[Crew]:
    """A crew that is ready, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    hands = Crew(contender, workers, folder, bench_python, **settings)
    try:
        hands.wait_until_ready()
        yield hands
    finally:
        hands.end()
