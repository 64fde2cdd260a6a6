"""Real worker processes for tests."""

import os
import signal
from pathlib import Path
from typing import Self

from tests.preloaded import started
from tests.servers import eventually


class RunningWorker:
    """A process of `signal-mailgun worker`; its output goes to a file."""

    def __init__(
        self,
        environment: dict[str, str],
        output: Path,
        *,
        command: tuple[str, ...] = ("-m", "worker", "worker"),
    ) -> None:
        self.output = output
        clean = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("MAILGUN_", "SIGNAL_", "REDIS_", "RETRY_"))
        }
        every = {**clean, **environment}
        self._file = output.open("ab")
        with Path(os.devnull).open() as nothing:
            streams = nothing, self._file, self._file
            self.process = started(command, every, output.parent, streams)

    def ready(self) -> Self:
        """Wait until the worker consumes."""
        eventually(self._says_ready, 60, f"a ready worker ({self.output})")
        return self

    def _says_ready(self) -> bool:
        assert self.process.poll() is None, f"the worker ended: {self.printed()}"
        return "ready" in self.printed()

    def printed(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text(errors="replace")

    def deliveries(self) -> int:
        """Count the deliveries in its JSON log.

        A message of many events counts once.
        """
        printed = self.printed()
        return printed.count("events handled") + printed.count('"outcome": "delivered"')

    def kill(self) -> None:
        """Send SIGKILL and wait for its end."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Send SIGTERM, wait for its end and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self.ready()

    def __exit__(self, *_: object) -> None:
        self.stop()
