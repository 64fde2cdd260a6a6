"""Dead letters for tests of the pages in Flower, buried without a worker."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.message import AttemptRecord, Message

STATUSES = {
    DeadLetterReason.REJECTED: 400,
    DeadLetterReason.UNAUTHORIZED: 401,
    DeadLetterReason.LIST_NOT_FOUND: 404,
}


@dataclass(frozen=True)
class Sample:
    """One dead letter to be buried."""

    id: str
    reason: DeadLetterReason = DeadLetterReason.REJECTED
    kind: str = "identify"
    email: str = "wendy.darling@bloomsbury.example"
    name: str = "Wendy Moira"
    answer: str = "Bad Request"
    age: float = 60.0

    def event(self) -> dict[str, Any]:
        """Return the event."""
        traits = {"email": self.email, "name": self.name}
        return {"type": self.kind, "messageId": self.id, "traits": traits}


def bury(letters: DeadLetterQueue, *samples: Sample) -> None:
    """Bury the samples, the first one first."""
    letters.bury([_buried(letters, each) for each in samples])


def numbered(count: int, reasons: Sequence[DeadLetterReason] = tuple(STATUSES)) -> list[Sample]:
    """Return so many samples, m-0 the oldest, of these reasons in turn, one person each."""
    return [
        Sample(
            f"m-{number}",
            reasons[number % len(reasons)],
            email=f"person{number}@bloomsbury.example",
            age=10.0 * (count - number),
        )
        for number in range(count)
    ]


def _buried(letters: DeadLetterQueue, sample: Sample) -> tuple[Message, Any]:
    died, status = time.time() - sample.age, STATUSES.get(sample.reason)
    history = (
        AttemptRecord(died - 4, "unavailable", 503),
        AttemptRecord(died, sample.reason, status),
    )
    message = Message(
        id=sample.id,
        args=(sample.event(),),
        kind=sample.kind,
        enqueued_at=died - 5,
        attempts=2,
        attempt_history=history,
    )
    letter = dead_letter(
        sample.reason,
        message,
        status=status,
        answer=sample.answer,
        died_at=died,
        integration=letters.integration,
    )
    return message, letter
