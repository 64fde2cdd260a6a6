"""The dead-letter queue as Flower shows it: how its pages read it, and what its jobs do."""

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from worker.dashboard.dead_letters.selection import SelectedLetters
from worker.dashboard.dead_letters.words import PURGE, REPLAY, SHAPE, WORDS
from worker.dashboard.pages.picture import BARS, HEIGHT, WIDTH, picture_of
from worker.dashboard.pages.query import ListQuery
from worker.dashboard.pages.rows import Row, fit, shown_of
from worker.dashboard.pages.shown_queue import ShownQueue
from worker.dashboard.pages.words import Act
from worker.ops.dead_letter_overview import bars, overview_of
from worker.ops.dead_letter_pages import LetterKey, key_of, letter_with, page_of, parsed_key
from worker.ops.found_page import FoundPage
from worker.queue.dead_letter import DeadLetter
from worker.queue.dead_letter_filter import REASONS, DeadLetterFilter
from worker.queue.dead_letters import DeadLetterQueue


@dataclass(frozen=True)
class LetterRow(Row):
    """What the list shows of a letter."""

    died_at: float
    reason: str
    status: int | None
    attempts: int
    answer: str


@dataclass(frozen=True)
class DeadLetters(ShownQueue[DeadLetter]):
    """The dead-letter queue of an integration."""

    words = WORDS
    shape = SHAPE
    acts = (REPLAY, PURGE)
    templates = ("dead_letters.html", "dead_letter.html")

    @cached_property
    def letters(self) -> DeadLetterQueue:
        """The dead-letter queue."""
        return DeadLetterQueue(self.store, self.settings.signal_integration, self.settings.queue)

    def count(self) -> int:
        """Return the number of dead letters."""
        return self.letters.count()

    def overview(self) -> dict[str, Any]:
        """Return the figures, the picture, and the reasons that there are."""
        overview = overview_of(self.letters)
        return {
            "overview": overview,
            "bars": picture_of(bars(overview, BARS)),
            "picture": (WIDTH, HEIGHT),
            "reasons": sorted({*REASONS, *overview.counts}),
        }

    def figures(self) -> dict[str, Any]:
        """Return the number of dead letters by reason."""
        return {"by_reason": self.letters.cached_counts()}

    def reasons(self) -> dict[str, Any]:
        """Return what `parse_filter` is to know of the reasons that there are."""
        return {"others": self.letters.cached_counts}

    def page(self, query: ListQuery) -> FoundPage[LetterRow, int]:
        """Return a page of the list, or what one bounded step of a search finds of it.

        Raises:
            ValueError: A filter is wrong; the text is one line that says what.
        """
        return page_of(
            self.letters,
            self.filter_of(query),
            query.size,
            self.row,
            start=int(query.start) if query.start else None,
            oldest_first=query.order == "oldest",
        )

    def row(self, item: DeadLetter) -> LetterRow:
        """Return the row of a letter."""
        letter, message = item.letter, item.message
        shown = shown_of(message, key_of(item, self.settings.digest_key), self.preset)
        return LetterRow(
            **vars(shown),
            died_at=letter.died_at,
            reason=fit(letter.reason),
            status=int(letter.status) if letter.status else None,
            attempts=int(letter.attempts),
            answer=fit(letter.summary),
        )

    def details(self, item: DeadLetter) -> dict[str, Any]:
        """Return the letter's header."""
        return {"letter": item.letter}

    def answer(self, item: DeadLetter) -> str | None:
        """Return Mailgun's whole answer, which is personal data."""
        return item.letter.answer

    def since(self, item: DeadLetter) -> tuple[str, float]:
        """Return why a letter died, and when."""
        return item.letter.reason, item.letter.died_at

    def key_in(self, text: str) -> LetterKey | None:
        """Return the key of a letter that `text` spells, or None."""
        return parsed_key(text)

    def item(self, key: str) -> DeadLetter | None:
        """Return the letter with this key, or None; see `letter_with`."""
        parsed = parsed_key(key)
        return letter_with(self.letters, parsed, self.settings.digest_key) if parsed else None

    def selected(
        self, keys: tuple[LetterKey, ...], wanted: DeadLetterFilter, text: str
    ) -> SelectedLetters:
        """Return the letters with these keys, or if there is none those that match `wanted`."""
        return SelectedLetters(self.letters, self.settings.digest_key, keys, wanted, text)

    def act(self, act: Act, batch: list[DeadLetter]) -> int:
        """Replay or purge the letters, and return how many."""
        if act == REPLAY:
            return self.letters.replay(batch, time.time())
        return self.letters.purge(batch)
