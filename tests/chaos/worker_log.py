"""What workers log about events, read from their output while they write it."""

import json
from dataclasses import dataclass, field
from datetime import datetime

from tests.workers import RunningWorker

TERMINAL = ("delivered", "unchanged", "superseded", "skipped", "dead letter")


@dataclass(frozen=True)
class LogLine:
    """One log line of a worker about one event.

    Attributes:
        at: Its time, in epoch seconds.
        event: The event's id.
        text: The text.
    """

    at: float
    event: str
    text: str

    @property
    def is_end(self) -> bool:
        """True if the event has ended with this, as far as this worker knows."""
        return self.text.startswith(TERMINAL)


@dataclass
class WorkerLog:
    """The lines that one worker has logged about events so far.

    `read` is the number of bytes read from its output.
    """

    worker: RunningWorker
    lines: list[LogLine] = field(default_factory=list)
    read: int = 0

    def catch_up(self) -> list[LogLine]:
        """Read new lines and return all lines so far."""
        with self.worker.output.open("rb") as file:
            file.seek(self.read)
            whole, _, _ = file.read().rpartition(b"\n")
        if whole:
            self.read += len(whole) + 1
            self.lines += filter(None, map(_log_line, whole.split(b"\n")))
        return self.lines


def _log_line(line: bytes) -> LogLine | None:
    try:
        record = json.loads(line)
        return LogLine(
            datetime.fromisoformat(record["time"]).timestamp(), record["event"], record["message"]
        )
    except (ValueError, LookupError, TypeError):
        return None
