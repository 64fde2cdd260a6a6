"""Read the delay queue in bounded steps: a page of matching events, or an event by its key.

An event's key is the moment when it is due and a digest of what stays the same however often it is
tried. The moment is a hint: an event that is tried and delayed again is due later, or earlier if an
operator had it tried before it was due.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from math import inf

from worker.ops.delayed_events import is_wanted
from worker.ops.found_page import MOST_READ, MOST_SECONDS, STEP, FoundPage, Row
from worker.queue.dead_letter_filter import DeadLetterFilter
from worker.queue.delay_queue import DelayedMessage, DelayQueue
from worker.redis_client.raw_text import bytes_of

KEY = re.compile(r"(\d{1,15})-([0-9a-f]{32})")
LATEST = 10**15 - 1


@dataclass(frozen=True)
class EventKey:
    """The key of one event: the millisecond since the epoch in which it is due, and a digest."""

    due: int
    digest: str

    def __str__(self) -> str:
        return f"{self.due}-{self.digest}"

    @property
    def since(self) -> float:
        """A moment at which the event is due, or shortly before it, in epoch seconds."""
        return (self.due - 1) / 1000 if self.due else -inf

    def is_passed_by(self, delayed: DelayedMessage) -> bool:
        """Return True if `delayed` is due later than the event with this key was."""
        return self.due < LATEST and delayed.due > (self.due + 1) / 1000


def key_of(delayed: DelayedMessage, secret: bytes) -> EventKey:
    """Return the key of an event; `secret` keys the digest."""
    # Another program may have delayed it until any moment.
    millisecond = int(min(max(delayed.due * 1000, 0.0), float(LATEST)))
    return EventKey(millisecond, _digest(delayed, secret))


def parsed_key(text: str) -> EventKey | None:
    """Return the key that `text` spells, or None."""
    found = KEY.fullmatch(text)
    return EventKey(int(found[1]), found[2]) if found else None


def event_with(
    queue: DelayQueue, key: EventKey, secret: bytes, clock: Callable[[], float] = time.monotonic
) -> DelayedMessage | None:
    """Return the event with this key, or None if two bounded steps do not find it.

    The first step begins at the moment in the key, the second one at the event that is due next.

    Args:
        queue: The delay queue.
        key: The event's key.
        secret: The key of its digest.
        clock: Returns seconds.
    """
    for pages in (queue.pages(key.since), _pages_before(queue, key.since)):
        read, ends = 0, clock() + MOST_SECONDS
        for page in pages:
            found = next((each for each in page if _digest(each, secret) == key.digest), None)
            if found:
                return found
            read += len(page)
            if read >= MOST_READ or clock() >= ends:
                break
    return None


def events_with(
    queue: DelayQueue, keys: Collection[EventKey], secret: bytes, on_read: Callable[[int], None]
) -> Iterator[DelayedMessage]:
    """Yield the events with these keys that are on the queue, in one pass.

    First come those that are due at the earliest moment in a key or later.

    Args:
        queue: The delay queue.
        keys: The keys.
        secret: The key of their digests.
        on_read: Called with the number of events read, after each page of them.
    """
    wanted, read = Counter(each.digest for each in keys), 0
    since = min((each.since for each in keys), default=0.0)
    for page in chain(queue.pages(since), _pages_before(queue, since)):
        for each in page:
            digest = _digest(each, secret)
            if wanted[digest]:
                wanted[digest] -= 1
                yield each
        read += len(page)
        on_read(read)
        if not wanted.total():
            return


def _pages_before(queue: DelayQueue, moment: float) -> Iterator[list[DelayedMessage]]:
    """Yield the events that are due before `moment`, in pages, the next due first."""
    for page in queue.pages():
        yield [each for each in page if each.due < moment]
        if page[-1].due >= moment:
            return


def page_of(
    queue: DelayQueue,
    wanted: DeadLetterFilter,
    size: int,
    shown_as: Callable[[DelayedMessage], Row],
    secret: bytes,
    *,
    after: EventKey | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FoundPage[Row, EventKey]:
    """Return a page of the events that match, or what one bounded step of the search finds of it.

    Args:
        queue: The delay queue.
        wanted: The filter.
        size: Rows at most.
        shown_as: Turns an event into its row.
        secret: The key of the digests in keys.
        after: The event after which to begin, as `FoundPage.next`; None begins with the next due.
        clock: Returns seconds.
    """
    at_once = min(STEP, size) if wanted == DeadLetterFilter() else STEP
    events = _from(queue, after, secret, at_once)
    rows: list[Row] = []
    last: DelayedMessage | None = None
    read, ends = 0, clock() + MOST_SECONDS
    while len(rows) < size and read < MOST_READ and (read % STEP or clock() < ends):
        event = next(events, None)
        if event is None:
            break
        last, read = event, read + 1
        if is_wanted(event, wanted):
            rows.append(shown_as(event))
    total = queue.count()
    if last is None or next(events, None) is None:
        return FoundPage(rows, total, total, None, len(rows) == size)
    until = min(queue.count_until(last.due), total)
    return FoundPage(rows, until, total, key_of(last, secret), len(rows) == size)


def _from(
    queue: DelayQueue, after: EventKey | None, secret: bytes, at_once: int
) -> Iterator[DelayedMessage]:
    """Yield the events after the one with this key, the next due first.

    If that one has gone, the first are those that are due when it was: one may be yielded that was
    yielded before, and none is left out.
    """
    if after is None:
        yield from chain.from_iterable(queue.pages(most=at_once))
        return
    events = chain.from_iterable(queue.pages(after.since, at_once))
    passed: list[DelayedMessage] = []
    for each in events:
        if _digest(each, secret) == after.digest:
            passed = []
            break
        passed.append(each)
        if after.is_passed_by(each):
            break
    yield from passed
    yield from events


def _digest(delayed: DelayedMessage, secret: bytes) -> str:
    identity = delayed.identity
    text = bytes_of(identity) if isinstance(identity, str) else repr(identity).encode()
    return blake2b(text, key=secret[:64], digest_size=16).hexdigest()
