"""What workers tell of events, read from their output while they go on writing it."""

import json
from dataclasses import dataclass, field
from datetime import datetime

from tests.workers import RunningWorker

TERMINAL = ("delivered", "unchanged", "superseded", "skipped", "dead letter")


@dataclass(frozen=True)
class Told:
    """One line of a worker about one event."""

    at: float  # epoch seconds
    event: str
    said: str

    @property
    def is_end(self) -> bool:
        """Has the event ended with this, as far as that worker goes?"""
        return self.said.startswith(TERMINAL)


@dataclass
class Journal:
    """What one worker has printed about events so far."""

    worker: RunningWorker
    told: list[Told] = field(default_factory=list)
    read: int = 0  # bytes

    def catch_up(self) -> list[Told]:
        """Everything told, the newest lines read."""
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
