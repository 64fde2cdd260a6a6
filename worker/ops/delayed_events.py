"""Delayed events for operators: which ones wait, why and until when; retry, bury or purge them.

Every step is safe against a worker that takes an event at the same moment: then nothing is done
with that event.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from worker.mailgun.outcome import OutcomeKind
from worker.ops.attempts import attempt_history_of, why_delayed
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_filter import DeadLetterFilter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.delay_queue import WAITING, DelayedMessage, DelayQueue
from worker.settings import Settings

if TYPE_CHECKING:
    import redis

# What the filter `reason` takes: outcomes that lead to a further try, and `WAITING`.
REASONS = (OutcomeKind.UNAVAILABLE, OutcomeKind.THROTTLED, OutcomeKind.CRASHED, WAITING)


def delay_queue_for(settings: Settings, store: "redis.Redis") -> DelayQueue:
    """Return the delay queue of the integration."""
    return DelayQueue(store, settings.signal_integration, settings.queue)


def matching(queue: DelayQueue, wanted: DeadLetterFilter) -> Iterator[DelayedMessage]:
    """Yield the events that match, the next due first."""
    return (each for page in queue.pages() for each in page if is_wanted(each, wanted))


def batches(
    queue: DelayQueue, wanted: DeadLetterFilter, counted: Collection[object], *, at_once: int
) -> Iterator[list[DelayedMessage]]:
    """Yield the events that were counted and still match, the next due first, in lists.

    Each event is in one list, also if it was tried and delayed again meanwhile.

    Args:
        queue: The delay queue.
        wanted: Which events are meant.
        counted: The `DelayedMessage.identity` of each of them, before the operator confirmed.
        at_once: Events at most in one list.
    """
    left = set(counted)
    for page in queue.pages():
        found = {each.identity: each for each in page if each.identity in left}
        left.difference_update(found)
        meant = [each for each in found.values() if is_wanted(each, wanted)]
        for start in range(0, len(meant), at_once):
            yield meant[start : start + at_once]
        if not left:
            return


def bury_delayed(queue: DelayQueue, delayed: Sequence[DelayedMessage], now: float) -> int:
    """Put the events on the dead-letter queue, and return how many.

    Args:
        queue: The delay queue.
        delayed: The events.
        now: The moment of the burial, in epoch seconds.
    """
    letters = (
        dead_letter(
            DeadLetterReason.BURIED,
            each.message,
            status=None,
            answer=f"an operator buried it; before that: {why_delayed(each.reason, each.status)}",
            died_at=now,
            integration=queue.integration,
        )
        for each in delayed
    )
    return queue.bury(list(zip(delayed, letters, strict=True)))


def is_wanted(delayed: DelayedMessage, wanted: DeadLetterFilter) -> bool:
    """Return True if the event matches; `since` and `until` apply to `DelayedMessage.since`."""
    return wanted.may_match(delayed.raw) and wanted.accepts(
        delayed.message, delayed.reason, delayed.status, delayed.since or 0.0
    )


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
        "attempt_history": attempt_history_of(message),
    }
