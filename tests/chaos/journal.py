"""What workers log about events, read from their output while they write it."""

import json
from dataclasses import dataclass, field
from datetime import datetime

from tests.workers import RunningWorker

TERMINAL = ("delivered", "unchanged", "superseded", "skipped", "dead letter")


@dataclass(frozen=True)
class Told:
    """One log line of a worker about one event.

    Attributes:
        at: Its time, in epoch seconds.
        event: The event's id.
        said: The text.
    """

    at: float
    event: str
    said: str

    @property
    def is_end(self) -> bool:
        """True if the event has ended with this, as far as this worker knows."""
        return self.said.startswith(TERMINAL)


@dataclass
class Journal:
    """The lines that one worker has logged about events so far.

    `read` is the number of bytes read from its output.
    """

    worker: RunningWorker
    told: list[Told] = field(default_factory=list)
    read: int = 0

    def catch_up(self) -> list[Told]:
        """Read new lines and return all lines so far."""
        with self.worker.output.open("rb") as file:
            file.seek(self.read)
            whole, _, _ = file.read().rpartition(b"\n")
        if whole:
            self.read += len(whole) + 1
            self.told += filter(None, map(_told, whole.split(b"\n")))
        return self.told


def _told(line: bytes) -> Told | None:
    try:
        record = json.loads(line)
        return Told(
            datetime.fromisoformat(record["time"]).timestamp(), record["event"], record["message"]
        )
    except (ValueError, LookupError, TypeError):
        return None
