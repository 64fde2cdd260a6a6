"""Read the dead-letter queue in bounded steps: a page of matching letters, or a letter by its key.

A letter's key is its place, counted from the oldest, and a digest of its text. The place is a
hint: it gets smaller if older letters are removed. Letters that arrive change no place.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from worker.ops.found_page import MOST_READ, MOST_SECONDS, STEP, FoundPage, Row
from worker.queue.dead_letter import DeadLetter, letter_in
from worker.queue.dead_letter_filter import DeadLetterFilter
from worker.queue.dead_letters import DeadLetterQueue
from worker.redis_client.raw_text import bytes_of

KEY = re.compile(r"(\d{1,9})-([0-9a-f]{32})")


@dataclass(frozen=True)
class LetterKey:
    """The key of one letter: its place, counted from the oldest as 1, and a digest of its text."""

    place: int
    digest: str

    def __str__(self) -> str:
        return f"{self.place}-{self.digest}"


def key_of(buried: DeadLetter, secret: bytes) -> LetterKey:
    """Return the key of a letter that was read with its place; `secret` keys the digest."""
    return LetterKey(-buried.place, _digest(buried.raw, secret))


def parsed_key(text: str) -> LetterKey | None:
    """Return the key that `text` spells, or None."""
    found = KEY.fullmatch(text)
    return LetterKey(int(found[1]), found[2]) if found and int(found[1]) else None


def letter_with(
    letters: DeadLetterQueue,
    key: LetterKey,
    secret: bytes,
    moved: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> DeadLetter | None:
    """Return the letter with this key, or None if one bounded step does not find it.

    Args:
        letters: The dead-letter queue.
        key: The letter's key.
        secret: The key of its digest.
        moved: How many older letters the caller has removed since the key was made.
        clock: Returns seconds.
    """
    read, ends = 0, clock() + MOST_SECONDS
    for place, texts in _from(letters, max(1, key.place - moved)):
        for number, text in enumerate(texts):
            if _digest(text, secret) == key.digest:
                return letter_in(text, place + number)
        read += len(texts)
        if read >= MOST_READ or clock() >= ends:
            break
    return None


def letters_with(
    letters: DeadLetterQueue,
    keys: Collection[LetterKey],
    secret: bytes,
    on_read: Callable[[int], None],
) -> Iterator[DeadLetter]:
    """Yield the letters with these keys that are on the queue, the newest first, in one pass.

    Args:
        letters: The dead-letter queue, which the caller does not change meanwhile.
        keys: The keys.
        secret: The key of their digests.
        on_read: Called with the number of letters read, after each `STEP` of them.
    """
    wanted, read = Counter(each.digest for each in keys), 0
    for place, texts in _from(letters, max((each.place for each in keys), default=0)):
        for number, text in enumerate(texts):
            digest = _digest(text, secret)
            if wanted[digest]:
                wanted[digest] -= 1
                yield letter_in(text, place + number)
        read += len(texts)
        on_read(read)
        if not wanted.total():
            break


def page_of(
    letters: DeadLetterQueue,
    wanted: DeadLetterFilter,
    size: int,
    shown_as: Callable[[DeadLetter], Row],
    *,
    start: int | None = None,
    oldest_first: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> FoundPage[Row, int]:
    """Return a page of the letters that match, or what one bounded step of the search finds of it.

    No letter stays in memory longer than `shown_as` needs it.

    Args:
        letters: The dead-letter queue.
        wanted: The filter.
        size: Rows at most.
        shown_as: Turns a letter into its row.
        start: The place to begin at, as `FoundPage.next`; None begins with the first letter.
        oldest_first: Go from the oldest letter to the newest, not from the newest to the oldest.
        clock: Returns seconds.
    """
    total = letters.count()
    place = _first(start, total, oldest_first=oldest_first)
    step = -1 if oldest_first else 1
    at_once = min(STEP, size) if wanted == DeadLetterFilter() else STEP
    rows: list[Row] = []
    page: list[str] | None = None
    read, ends = 0, clock() + MOST_SECONDS
    while page is None or (page and len(rows) < size and read < MOST_READ and clock() < ends):
        page = letters.texts(place, step, at_once) if place < 0 else []
        for text in page:
            buried = letter_in(text, place) if wanted.may_match(text) else None
            place, read = place + step, read + 1
            if buried and wanted.matches(buried):
                rows.append(shown_as(buried))
                if len(rows) == size:
                    break
    passed = -place - 1 if oldest_first else total + place
    at_end = passed >= total or not page
    return FoundPage(rows, min(passed, total), total, None if at_end else -place, len(rows) == size)


def matching(
    letters: DeadLetterQueue, wanted: DeadLetterFilter, on_read: Callable[[int], None]
) -> Iterator[DeadLetter]:
    """Yield every letter that matches, oldest first, from a queue that the caller does not change.

    Args:
        letters: The dead-letter queue.
        wanted: The filter.
        on_read: Called with the number of letters read, after each `STEP` of them.
    """
    place = -1
    while texts := letters.texts(place, -1, STEP):
        for number, text in enumerate(texts):
            if wanted.may_match(text):
                buried = letter_in(text, place - number)
                if wanted.matches(buried):
                    yield buried
        place -= len(texts)
        on_read(-place - 1)


def _from(letters: DeadLetterQueue, place: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the texts at `place`, counted from the oldest, and of all older letters.

    Each list comes with the index of its first text. No text is left out if other commands remove
    letters meanwhile.
    """
    # Most often the letter that the place was noted for is still there.
    index, at_once = -place, 1
    while (index := max(index, -letters.count())) < 0:
        texts = letters.texts(index, 1, at_once)
        yield index, texts
        index, at_once = index + len(texts), STEP


def _first(start: int | None, total: int, *, oldest_first: bool) -> int:
    if start is None:
        return -1 if oldest_first else -total
    return -start if oldest_first else -min(start, total)


def _digest(raw: str, secret: bytes) -> str:
    return blake2b(bytes_of(raw), key=secret[:64], digest_size=16).hexdigest()
