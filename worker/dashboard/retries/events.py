"""The delay queue as Flower shows it: how its pages read it, and what its jobs do."""

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from worker.dashboard.pages.picture import BARS, HEIGHT, WIDTH, picture_of
from worker.dashboard.pages.query import ListQuery
from worker.dashboard.pages.rows import Row, fit, shown_of
from worker.dashboard.pages.shown_queue import ShownQueue
from worker.dashboard.pages.words import Act
from worker.dashboard.retries.selection import SelectedEvents
from worker.dashboard.retries.words import BURY, PURGE, RETRY, SHAPE, WORDS
from worker.ops.attempts import why_delayed
from worker.ops.delayed_events import REASONS, bury_delayed, delay_queue_for
from worker.ops.delayed_overview import delay_overview_of
from worker.ops.delayed_pages import EventKey, event_with, key_of, page_of, parsed_key
from worker.ops.found_page import FoundPage
from worker.ops.replay_preview import ReplayEffect
from worker.queue.dead_letter_filter import DeadLetterFilter
from worker.queue.delay_queue import WAITING, DelayedMessage, DelayQueue
from worker.redis_client.clock import redis_now


@dataclass(frozen=True)
class EventRow(Row):
    """What the list shows of an event."""

    since: float | None
    due: float
    reason: str
    status: int | None
    attempts: int


@dataclass(frozen=True)
class Retries(ShownQueue[DelayedMessage]):
    """The delay queue of an integration."""

    words = WORDS
    shape = SHAPE
    acts = (RETRY, BURY, PURGE)
    templates = ("retries.html", "retry.html")

    @cached_property
    def queue(self) -> DelayQueue:
        """The delay queue."""
        return delay_queue_for(self.settings, self.store)

    def effect_text(self, effect: str) -> str:
        """Return a `ReplayEffect` of an event that is no dead letter yet."""
        return "a dead letter" if effect == ReplayEffect.FAILS else effect

    def count(self) -> int:
        """Return the number of delayed events."""
        return self.queue.count()

    def overview(self) -> dict[str, Any]:
        """Return the figures, the picture, and the reasons that there are."""
        overview = delay_overview_of(self.queue, BARS)
        return {
            "overview": overview,
            "bars": picture_of(overview.dues),
            "picture": (WIDTH, HEIGHT),
            "reasons": sorted(map(str, REASONS)),
        }

    def figures(self) -> dict[str, Any]:
        """Return when the next event is due, in epoch seconds."""
        return {"next_due": self.queue.next_due()}

    def reasons(self) -> dict[str, Any]:
        """Return what `parse_filter` is to know of the reasons that there are."""
        return {"reasons": REASONS}

    def page(self, query: ListQuery) -> FoundPage[EventRow, EventKey]:
        """Return a page of the list, or what one bounded step of a search finds of it.

        Raises:
            ValueError: A filter is wrong; the text is one line that says what.
        """
        return page_of(
            self.queue,
            self.filter_of(query),
            query.size,
            self.row,
            self.settings.digest_key,
            after=parsed_key(query.start),
        )

    def row(self, item: DelayedMessage) -> EventRow:
        """Return the row of an event."""
        message = item.message
        shown = shown_of(message, key_of(item, self.settings.digest_key), self.preset)
        return EventRow(
            **vars(shown),
            since=item.since,
            due=item.due,
            reason=fit(item.reason),
            status=int(item.status) if item.status else None,
            attempts=message.attempts,
        )

    def details(self, item: DelayedMessage) -> dict[str, Any]:
        """Return why the event waits, and the time by the clock that says when it is due."""
        why = why_delayed(WAITING, None).removeprefix(WAITING) if item.reason == WAITING else ""
        return {"why": why, "now": redis_now(self.store)}

    def answer(self, item: DelayedMessage) -> str | None:  # noqa: ARG002  an answer is not kept
        """Return None: a delayed event keeps the outcomes of its attempts, and no answer."""
        return None

    def since(self, item: DelayedMessage) -> tuple[str, float]:
        """Return why an event waits, and since when it was enqueued."""
        return item.reason, item.since or 0.0

    def key_in(self, text: str) -> EventKey | None:
        """Return the key of an event that `text` spells, or None."""
        return parsed_key(text)

    def item(self, key: str) -> DelayedMessage | None:
        """Return the event with this key, or None; see `event_with`."""
        parsed = parsed_key(key)
        return event_with(self.queue, parsed, self.settings.digest_key) if parsed else None

    def selected(
        self, keys: tuple[EventKey, ...], wanted: DeadLetterFilter, text: str
    ) -> SelectedEvents:
        """Return the events with these keys, or if there is none those that match `wanted`."""
        return SelectedEvents(self.queue, self.settings.digest_key, keys, wanted, text)

    def act(self, act: Act, batch: list[DelayedMessage]) -> int:
        """Retry, bury or purge the events, and return how many."""
        if act == RETRY:
            return self.queue.retry(batch)
        if act == BURY:
            return bury_delayed(self.queue, batch, time.time())
        return self.queue.purge(batch)
