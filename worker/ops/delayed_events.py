"""Delayed events for operators: which ones wait, why and until when; retry them now, or bury them.

Every step is safe against a worker that takes an event at the same moment: then nothing is done
with that event.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from worker.mailgun.outcome import OutcomeKind
from worker.ops.attempts import trail_of, why_delayed
from worker.queue.dead_letter_filter import DeadLetterFilter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import dead_letter
from worker.queue.delay_queue import WAITING, DelayedMessage, DelayQueue
from worker.settings import Settings

if TYPE_CHECKING:
    import redis

# What the filter `reason` takes: outcomes that lead to a further try, and `WAITING`.
REASONS = (OutcomeKind.UNAVAILABLE, OutcomeKind.THROTTLED, OutcomeKind.CRASHED, WAITING)


@dataclass(frozen=True)
class DelayedEvents:
    """The delayed events of one integration."""

    queue: DelayQueue

    def matching(self, wanted: DeadLetterFilter) -> Iterator[DelayedMessage]:
        """Yield the events that match, the next due first."""
        return (each for page in self.queue.pages() for each in page if is_wanted(each, wanted))

    def batches(
        self, wanted: DeadLetterFilter, limit: int, *, at_once: int
    ) -> Iterator[list[DelayedMessage]]:
        """Yield the events that match, the next due first, in lists, and each event once.

        An event that was tried and delayed again meanwhile is left out.

        Args:
            wanted: Which events are meant.
            limit: Events at most, in all lists together.
            at_once: Events at most in one list.
        """
        left = limit
        had: set[object] = set()
        for page in self.queue.pages():
            meant = [each for each in page if each.identity not in had and is_wanted(each, wanted)][
                :left
            ]
            had.update(each.identity for each in meant)
            left -= len(meant)
            for start in range(0, len(meant), at_once):
                yield meant[start : start + at_once]
            if left <= 0:
                return

    def first(self, id: str) -> DelayedMessage | None:
        """Return the event with this id; None if it is not delayed."""
        return next(islice(self.matching(DeadLetterFilter(id=id)), 1), None)

    def retry(self, delayed: Sequence[DelayedMessage]) -> int:
        """Put the events at the front of their queue now, and return how many."""
        return self.queue.retry(delayed)

    def bury(self, delayed: Sequence[DelayedMessage], now: float) -> int:
        """Put the events on the dead-letter queue, and return how many.

        Args:
            delayed: The events.
            now: The moment of the burial, in epoch seconds.
        """
        letters = (
            dead_letter(
                DeadLetterReason.BURIED,
                each.message,
                status=None,
                answer=f"an operator buried it; before that: "
                f"{why_delayed(each.reason, each.status)}",
                died_at=now,
                integration=self.queue.integration,
            )
            for each in delayed
        )
        return self.queue.bury(list(zip(delayed, letters, strict=True)))


def delayed_events_of(settings: Settings, store: "redis.Redis") -> DelayedEvents:
    """Return the delayed events of the integration."""
    return DelayedEvents(DelayQueue(store, settings.signal_integration, settings.queue))


def is_wanted(delayed: DelayedMessage, wanted: DeadLetterFilter) -> bool:
    """Return True if the event matches; `since` and `until` apply to `DelayedMessage.since`."""
    return wanted.accepts(delayed.message, delayed.reason, delayed.status, delayed.since or 0.0)


def as_record(delayed: DelayedMessage) -> dict[str, Any]:
    """Return a delayed event as JSON values, without the event itself."""
    message = delayed.message
    return {
        "id": message.id,
        "kind": message.kind,
        "reason": delayed.reason,
        "status": delayed.status,
        "attempts": message.attempts,
        "waits": message.requeues,
        "enqueued_at": message.enqueued_at,
        "since": delayed.since,
        "due": delayed.due,
        "trail": trail_of(message),
    }
