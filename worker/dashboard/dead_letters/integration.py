"""The integration whose dead letters Flower shows: how its pages read Redis, and its jobs."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from worker.dashboard.dead_letters.query import ListQuery
from worker.dashboard.dead_letters.rows import Row, row_of
from worker.gate.gate import HoldState
from worker.ops.dead_letter_overview import Overview, overview_of
from worker.ops.dead_letter_pages import (
    LetterKey,
    LetterPage,
    key_of,
    letter_with,
    letters_with,
    page_of,
)
from worker.ops.replay_preview import ReplayPreview, rehearsal_for
from worker.privacy import digest
from worker.queue.dead_letter_filter import DeadLetterFilter, parse_filter
from worker.queue.dead_letters import DeadLetter, DeadLetterQueue
from worker.queue.message import Message
from worker.redis_client.client import connect
from worker.settings import Settings
from worker.signal.address import lenient_address
from worker.signal.preset import Preset, PresetError, load_preset
from worker.wiring import gate_for, utc_now


@dataclass(frozen=True)
class Integration:
    """What the pages need of the integration. Its methods block; any thread may call them.

    Each method that reads Redis raises `redis.RedisError` if Redis does not answer, or refuses.
    """

    settings: Settings

    @cached_property
    def letters(self) -> DeadLetterQueue:
        """The dead-letter queue."""
        store = connect(self.settings.redis_url)
        return DeadLetterQueue(store, self.settings.signal_integration, self.settings.queue)

    @cached_property
    def preset(self) -> Preset | None:
        """The preset that workers read events by; None if it cannot be read here."""
        try:
            return load_preset(self.settings.mailgun_preset)
        except PresetError:
            return None

    @cached_property
    def preview(self) -> ReplayPreview:
        """The preview of replays. Raises `PresetError`."""
        return rehearsal_for(self.settings)

    def request(self, message: Message) -> dict[str, Any]:
        """Return the request that a replay would become, or as `unknown` why that is not known."""
        try:
            return self.preview.request(message)
        except PresetError as error:
            return {"unknown": str(error)}
        except RecursionError:
            return {"unknown": "the event is nested too deep"}

    def hold(self) -> HoldState:
        """Return whether the integration is on hold."""
        return gate_for(self.settings, self.letters.redis).state()

    def overview(self) -> Overview:
        """Return the figures of the queue."""
        return overview_of(self.letters)

    def filter_of(self, query: ListQuery) -> DeadLetterFilter:
        """Return the filter of a query.

        Raises:
            ValueError: A filter is wrong; the text is one line that says what.
        """
        given: dict[str, Any] = {**query.filters}
        member = given.pop("member", None)
        if "status" in given:
            given["status"] = _status(given["status"])
        wanted = parse_filter(utc_now(), given, self.preset, self.letters.cached_counts)
        return replace(wanted, member=member, digest_key=self.settings.digest_key)

    def page(self, query: ListQuery) -> LetterPage[Row]:
        """Return a page of the list, or what one bounded step of a search finds of it.

        Raises:
            ValueError: A filter is wrong; the text is one line that says what.
        """
        return page_of(
            self.letters,
            self.filter_of(query),
            query.size,
            self.row,
            start=query.start,
            oldest_first=query.oldest_first,
        )

    def row(self, buried: DeadLetter) -> Row:
        """Return the row of a letter."""
        return row_of(buried, self.settings.digest_key, self.preset)

    def letter(self, key: LetterKey, moved: int = 0) -> DeadLetter | None:
        """Return the letter with this key, or None; see `letter_with`."""
        return letter_with(self.letters, key, self.settings.digest_key, moved)

    def letters_with(
        self, keys: Collection[LetterKey], on_read: Callable[[int], None]
    ) -> Iterator[DeadLetter]:
        """Yield the letters with these keys that are on the queue; see `letters_with`."""
        return letters_with(self.letters, keys, self.settings.digest_key, on_read)

    def located(
        self, keys: Collection[LetterKey], on_read: Callable[[int], None]
    ) -> list[LetterKey]:
        """Return the keys of the letters that are on the queue, at their places now, oldest first.

        `on_read` is called as `letters_with` calls it.
        """
        found = self.letters_with(keys, on_read)
        return sorted(
            (key_of(each, self.settings.digest_key) for each in found), key=lambda key: key.place
        )

    def digest_of(self, address: str) -> str:
        """Return the digest that stands for a person's address in links and logs."""
        return digest(lenient_address(address), self.settings.digest_key)


def _status(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) == 3):
        raise ValueError(f"{text} is no HTTP status; they go from 100 to 599")
    return int(text)
