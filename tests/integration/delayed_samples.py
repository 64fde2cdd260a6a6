"""Delayed events for tests of the pages in Flower, delayed without a worker."""

import time
from dataclasses import dataclass
from typing import Any

from worker.queue.delay_queue import WAITING, DelayQueue
from worker.queue.message import AttemptRecord, Message

STATUSES = {"unavailable": 503, "throttled": 429}


@dataclass(frozen=True)
class Sample:
    """One event to be delayed; it was enqueued `age` seconds ago, and is due in `wait` seconds."""

    id: str
    reason: str = "unavailable"
    kind: str = "identify"
    email: str = "wendy.darling@bloomsbury.example"
    name: str = "Wendy Moira"
    age: float = 60.0
    wait: float = 3600.0

    def event(self) -> dict[str, Any]:
        """Return the event."""
        traits = {"email": self.email, "name": self.name}
        return {"type": self.kind, "messageId": self.id, "traits": traits}

    def message(self) -> Message:
        """Return the message, with an attempt unless it waits for its first one."""
        enqueued = time.time() - self.age
        status = STATUSES.get(self.reason)
        tried = () if self.reason == WAITING else (AttemptRecord(enqueued, self.reason, status),)
        return Message(
            id=self.id,
            args=(self.event(),),
            kind=self.kind,
            enqueued_at=enqueued,
            attempts=len(tried),
            requeues=1,
            attempt_history=tried,
        )


def delay(queue: DelayQueue, *samples: Sample) -> None:
    """Delay the samples."""
    queue.add([(each.message(), each.wait) for each in samples])


def waiting(count: int) -> list[Sample]:
    """Return so many samples, m-0 the next due, of all reasons in turn, one person each."""
    reasons = (*STATUSES, WAITING)
    return [
        Sample(
            f"m-{number}",
            reasons[number % len(reasons)],
            email=f"person{number}@bloomsbury.example",
            age=10.0 * (count - number),
            wait=3600.0 + 10.0 * number,
        )
        for number in range(count)
    ]
