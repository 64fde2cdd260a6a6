"""Pages of the dead-letter queue, read in bounded steps – on a real server."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.integrations import OwnIntegration
from worker.ops import dead_letter_overview, dead_letter_pages
from worker.ops.dead_letter_overview import bars, overview_of
from worker.ops.dead_letter_pages import (
    LetterKey,
    key_of,
    letter_with,
    letters_with,
    page_of,
    parsed_key,
)
from worker.ops.found_page import FoundPage
from worker.queue import dead_letters
from worker.queue.dead_letter import DeadLetter, dead_letter, letter_in
from worker.queue.dead_letter_filter import DeadLetterFilter, batches
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.message import Message

SECRET = b"secret"


@pytest.fixture
def letters(own: OwnIntegration) -> DeadLetterQueue:
    return DeadLetterQueue(own.redis, own.name, own.queue)


def bury(letters: DeadLetterQueue, ids: range, *, each_second: bool = True) -> None:
    """Bury letters m-<number>; every tenth one is unauthorized, the others rejected."""
    buried = []
    for number in ids:
        message = Message(id=f"m-{number}", args=({"type": "page"},), kind="page")
        reason = DeadLetterReason.REJECTED if number % 10 else DeadLetterReason.UNAUTHORIZED
        died = 1000.0 + (number if each_second else 0)
        letter = dead_letter(
            reason, message, status=400, answer="No", died_at=died, integration="own"
        )
        buried.append((message, letter))
    letters.bury(buried)


def id_of(buried: DeadLetter) -> str:
    return buried.message.id


def small_page(letters: DeadLetterQueue, start: int, step: int, most: int = 7) -> list[str]:
    """Read as `DeadLetterQueue` does, at most seven letters at a time."""
    return READ_PAGE(letters, start, step, min(most, 7))


READ_PAGE = DeadLetterQueue._page


def all_pages(
    letters: DeadLetterQueue, wanted: DeadLetterFilter, size: int, *, oldest_first: bool = False
) -> Iterator[FoundPage[str, int]]:
    """Follow the links from page to page."""
    start: int | None = None
    while True:
        page = page_of(letters, wanted, size, id_of, start=start, oldest_first=oldest_first)
        yield page
        start = page.next
        if start is None:
            return


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize(("number", "size"), [(0, 5), (1, 5), (5, 5), (6, 5), (23, 5), (23, 100)])
def test_pages_show_each_letter_once_in_order(
    letters: DeadLetterQueue, number: int, size: int, *, oldest_first: bool
) -> None:
    if number:
        bury(letters, range(number))
    pages = list(all_pages(letters, DeadLetterFilter(), size, oldest_first=oldest_first))
    shown = [each for page in pages for each in page.rows]
    ids = [f"m-{each}" for each in range(number)]
    assert shown == (ids if oldest_first else ids[::-1])
    assert pages[-1].read == pages[-1].total == number


def test_letters_that_arrive_between_pages_repeat_none(letters: DeadLetterQueue) -> None:
    bury(letters, range(10))
    first = page_of(letters, DeadLetterFilter(), 5, id_of)
    bury(letters, range(10, 20))
    second = page_of(letters, DeadLetterFilter(), 5, id_of, start=first.next)
    assert first.rows + second.rows == [f"m-{each}" for each in reversed(range(10))]


def test_step_of_a_search_is_bounded_and_the_next_one_goes_on(
    letters: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_pages, "STEP", 7)
    monkeypatch.setattr(dead_letter_pages, "MOST_READ", 14)
    bury(letters, range(100))
    wanted = DeadLetterFilter(reason="unauthorized")
    pages = list(all_pages(letters, wanted, 50))
    assert [each for page in pages for each in page.rows] == [
        f"m-{each}" for each in range(90, -1, -10)
    ]
    assert [page.read for page in pages] == [14, 28, 42, 56, 70, 84, 98, 100]
    assert not any(page.is_full for page in pages)


def test_step_of_a_search_ends_after_its_time(letters: DeadLetterQueue) -> None:
    bury(letters, range(2000))
    seconds = count(0, 0.6)
    page = page_of(letters, DeadLetterFilter(id="m-0"), 5, id_of, clock=lambda: next(seconds))
    assert (page.rows, page.read, page.next) == ([], 1000, 1000)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (DeadLetterFilter(id="m-7"), ["m-7"]),
        (DeadLetterFilter(id="m-70"), []),
        (DeadLetterFilter(id="m-1", reason="rejected"), ["m-1"]),
        (DeadLetterFilter(reason="unauthorized"), ["m-10", "m-0"]),
        (DeadLetterFilter(reason="unknown"), []),
    ],
)
def test_filter_finds_the_same_whether_or_not_the_text_decides(
    letters: DeadLetterQueue, wanted: DeadLetterFilter, found: list[str]
) -> None:
    bury(letters, range(12))
    assert page_of(letters, wanted, 50, id_of).rows == found
    assert [id_of(each) for each in letters.newest_first() if wanted.matches(each)] == found


def test_batches_of_a_rare_reason_are_removed_across_pages(
    letters: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters.DeadLetterQueue, "_page", small_page)
    bury(letters, range(100))
    wanted = DeadLetterFilter(reason="unauthorized")
    removed = []
    for batch in batches(letters, wanted, 100, at_once=2):
        assert letters.purge(batch) == len(batch)
        removed += [id_of(each) for each in batch]
    assert removed == [f"m-{each}" for each in range(0, 100, 10)]
    assert letters.totals() == {"rejected": 90}


def test_letter_of_another_program_is_found_by_reason_unknown(letters: DeadLetterQueue) -> None:
    letters.redis.lpush(letters.key, "garbage")
    assert len(page_of(letters, DeadLetterFilter(reason="unknown"), 5, id_of).rows) == 1


def test_key_finds_its_letter_after_others_came_and_went(letters: DeadLetterQueue) -> None:
    bury(letters, range(10))
    [text] = letters.texts(-5, 1, 1)
    buried = letter_in(text, -5)
    key = parsed_key(str(key_of(buried, SECRET)))
    assert key
    bury(letters, range(10, 20))
    letters.purge(list(letters.oldest(3)))
    found = letter_with(letters, key, SECRET)
    assert found
    assert (found.message.id, found.place) == ("m-4", -2)
    assert letter_with(letters, key, b"another") is None
    letters.purge([found])
    assert letter_with(letters, key, SECRET) is None


def keys_of(letters: DeadLetterQueue, *places: int) -> list[LetterKey]:
    """Return the keys of the letters at these places, counted from the oldest as 1."""
    return [key_of(letter_in(letters.texts(-each, 1, 1)[0], -each), SECRET) for each in places]


def test_key_finds_its_letter_though_older_ones_went_and_none_came(
    letters: DeadLetterQueue,
) -> None:
    bury(letters, range(10))
    keys = keys_of(letters, 8, 10)
    letters.purge(letters.oldest(5))
    found = [letter_with(letters, key, SECRET) for key in keys]
    assert [each and id_of(each) for each in found] == ["m-7", "m-9"]
    in_one_pass = letters_with(letters, keys, SECRET, lambda _: None)
    assert [id_of(each) for each in in_one_pass] == ["m-9", "m-7"]


def test_search_for_a_letter_that_is_gone_is_bounded(
    letters: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_pages, "STEP", 7)
    monkeypatch.setattr(dead_letter_pages, "MOST_READ", 14)
    bury(letters, range(100))
    read = reads(monkeypatch)
    gone = LetterKey(100, "0" * 32)
    assert letter_with(letters, gone, SECRET) is None
    assert sum(read) == 1 + 7 + 7
    seconds = count(0, 0.6)
    assert letter_with(letters, gone, SECRET, clock=lambda: next(seconds)) is None
    assert sum(read) == 15 + 1 + 7


def test_many_keys_are_looked_up_in_one_pass_though_some_are_stale(
    letters: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(letters, range(100))
    keys = keys_of(letters, 90, 3, 50)
    read = reads(monkeypatch)
    found = letters_with(letters, keys, SECRET, lambda _: None)
    assert [id_of(each) for each in found] == ["m-89", "m-49", "m-2"]
    assert sum(read) == 90
    gone = [LetterKey(100, f"{each:032}") for each in range(50)]
    found = letters_with(letters, [*keys, *gone], SECRET, lambda _: None)
    assert len(list(found)) == 3
    assert sum(read) == 90 + 100


def test_letters_are_found_though_others_go_meanwhile(
    letters: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_pages, "STEP", 7)
    bury(letters, range(100))
    keys = keys_of(letters, 100, 95, 85)
    letters.purge(letters.oldest(50))

    def purge_some(_: int) -> None:
        letters.purge(letters.oldest(5))

    found = letters_with(letters, keys, SECRET, purge_some)
    assert [id_of(each) for each in found] == ["m-99", "m-94", "m-84"]


def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of letters of each page that is read from now on."""
    read: list[int] = []

    def page(self: DeadLetterQueue, start: int, step: int, most: int = 7) -> list[str]:
        found = READ_PAGE(self, start, step, most)
        read.append(len(found))
        return found

    monkeypatch.setattr(DeadLetterQueue, "_page", page)
    return read


@pytest.mark.parametrize("text", ["", "0-" + "a" * 32, "1-abc", "-1-" + "a" * 32, "x"])
def test_text_that_is_no_key_is_none(text: str) -> None:
    assert parsed_key(text) is None


def test_overview_counts_and_draws_what_is_there(
    letters: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_overview, "POINTS", 10)
    bury(letters, range(1, 101))
    overview = overview_of(letters)
    assert (overview.total, overview.counts) == (100, {"rejected": 90, "unauthorized": 10})
    assert (overview.since, overview.latest) == (1001.0, 1100.0)
    assert all(9 < each < 11 for each in bars(overview, 10))
    assert round(sum(bars(overview, 7))) == 100


@pytest.mark.parametrize("number", [0, 1, 3])
def test_overview_of_few_letters_or_one_moment_is_drawn(
    letters: DeadLetterQueue, number: int
) -> None:
    if number:
        bury(letters, range(number), each_second=False)
    letters.redis.lpush(letters.key, "garbage")
    overview = overview_of(letters)
    assert sum(bars(overview, 10)) == (number + 1 if number else 0)


def test_page_of_neighbours_in_either_direction_is_the_same(letters: DeadLetterQueue) -> None:
    bury(letters, range(60))
    for place, step, most in [(-60, 1, 60), (-1, -1, 60), (-40, 1, 7), (-40, -1, 90), (-3, 1, 9)]:
        ids = [id_of(letter_in(each)) for each in letters.texts(place, step, most)]
        expected = [
            f"m-{-each - 1}"
            for each in range(place, place + step * most, step)
            if -60 <= each <= -1
        ]
        assert ids == expected
    assert letters.texts(-61, 1, 5) == letters.texts(-61, -1, 5) == []
