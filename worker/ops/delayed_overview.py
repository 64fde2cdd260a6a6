"""Figures of the delay queue that cost little however long it is."""

from collections import Counter
from dataclasses import dataclass
from math import isfinite

from worker.queue.delay_queue import DelayQueue
from worker.redis_client.clock import redis_now


@dataclass(frozen=True)
class DelayOverview:
    """The delay queue at one moment.

    Attributes:
        total: The number of delayed events.
        now: The time by Redis's clock, in epoch seconds.
        next_due: When the next event is due; None if none is delayed.
        last_due: When the last one is due.
        counts: Reason -> number of events, among the `looked_at` that are due next.
        looked_at: How many these are.
        dues: How many events are due in each of equal spans from `next_due` to `last_due`.
    """

    total: int
    now: float
    next_due: float | None
    last_due: float | None
    counts: dict[str, int]
    looked_at: int
    dues: list[int]


def delay_overview_of(queue: DelayQueue, spans: int) -> DelayOverview:
    """Return the figures. Reads a page of events, and counts those of each span.

    Raises:
        redis.RedisError: Redis did not answer, or refused.
    """
    page = queue.page()
    total, last = max(queue.count(), len(page)), queue.last_due()
    first = page[0].due if page else None
    return DelayOverview(
        total,
        redis_now(queue.redis),
        first,
        last,
        dict(Counter(each.reason for each in page)),
        len(page),
        _dues(queue, first, last, spans),
    )


def _dues(queue: DelayQueue, first: float | None, last: float | None, spans: int) -> list[int]:
    if first is None or last is None or not isfinite(last - first):
        return []
    width = (last - first) / spans
    if width <= 0:
        return [queue.count()]
    return queue.counts_within([first + width * each for each in range(spans)], last)
