"""Pages of the delay queue, read in bounded steps – on a real server."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.integrations import OwnIntegration, delay_one
from worker.ops import delayed_pages
from worker.ops.delayed_overview import delay_overview_of
from worker.ops.delayed_pages import (
    LATEST,
    EventKey,
    event_with,
    events_with,
    key_of,
    page_of,
    parsed_key,
)
from worker.ops.found_page import FoundPage
from worker.queue import delay_queue
from worker.queue.dead_letter_filter import DeadLetterFilter
from worker.queue.delay_queue import DelayedMessage, DelayQueue
from worker.queue.intake import parse_raw
from worker.queue.message import AttemptRecord, Message

SECRET = b"secret"
ANY = DeadLetterFilter()


@pytest.fixture
def delayed(own: OwnIntegration) -> DelayQueue:
    return DelayQueue(own.redis, own.name, own.queue)


def event(number: int) -> Message:
    """Return event m-<number>; every tenth one was throttled, for the others Mailgun was away."""
    outcome, status = ("unavailable", 503) if number % 10 else ("throttled", 429)
    history = (AttemptRecord(200.0, outcome, status),)
    content = {"type": "page", "messageId": f"m-{number}"}
    return Message(
        id=f"m-{number}",
        args=(content,),
        kind="page",
        enqueued_at=100.0,
        attempts=1,
        requeues=1,
        attempt_history=history,
    )


def fill(delayed: DelayQueue, number: int, *, apart: float = 1.0) -> None:
    delayed.add([(event(each), 3600.0 + apart * each) for each in range(number)])


def id_of(found: DelayedMessage) -> str:
    return found.message.id


def all_pages(
    delayed: DelayQueue, wanted: DeadLetterFilter, size: int
) -> Iterator[FoundPage[str, EventKey]]:
    after: EventKey | None = None
    while True:
        page = page_of(delayed, wanted, size, id_of, SECRET, after=after)
        yield page
        if page.next is None:
            return
        after = parsed_key(str(page.next))


@pytest.mark.parametrize("apart", [1.0, 0.0])
@pytest.mark.parametrize("size", [1, 7, 23, 500])
def test_pages_hold_every_event_once(delayed: DelayQueue, size: int, apart: float) -> None:
    fill(delayed, 23, apart=apart)
    pages = list(all_pages(delayed, ANY, size))
    seen = [row for page in pages for row in page.rows]
    assert sorted(seen) == sorted(f"m-{each}" for each in range(23))
    assert apart == 0.0 or seen == [f"m-{each}" for each in range(23)]
    assert (pages[-1].read, pages[-1].total, pages[-1].next) == (23, 23, None)
    assert all(page.is_full for page in pages[:-1])


@pytest.mark.parametrize("apart", [1.0, 0.0])
def test_next_page_leaves_no_event_out_if_the_last_one_shown_has_gone(
    delayed: DelayQueue, apart: float
) -> None:
    fill(delayed, 9, apart=apart)
    first = page_of(delayed, ANY, 4, id_of, SECRET)
    delayed.retry([each for each in delayed.page() if id_of(each) == first.rows[-1]])
    second = page_of(delayed, ANY, 50, id_of, SECRET, after=first.next)
    assert {*first.rows, *second.rows} == {f"m-{each}" for each in range(9)}


def test_step_of_a_search_is_limited_in_events_and_goes_on_where_it_ended(
    delayed: DelayQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delayed_pages, "STEP", 7)
    monkeypatch.setattr(delayed_pages, "MOST_READ", 14)
    fill(delayed, 41)
    pages = list(all_pages(delayed, DeadLetterFilter(reason="throttled"), 50))
    assert [page.rows for page in pages] == [["m-0", "m-10"], ["m-20"], ["m-30", "m-40"]]
    assert [page.read for page in pages] == [14, 28, 41]
    assert [page.is_full for page in pages] == [False] * 3


def test_step_of_a_search_ends_after_a_second(delayed: DelayQueue) -> None:
    fill(delayed, 1200)
    seconds = count(0.0, 0.6)
    page = page_of(
        delayed, DeadLetterFilter(id="m-1199"), 5, id_of, SECRET, clock=lambda: next(seconds)
    )
    assert (page.rows, page.read) == ([], 500)
    assert page.next is not None


def test_search_for_an_id_decodes_only_events_that_may_have_it(
    delayed: DelayQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def noting(raw: str, *others: Any) -> Message:
        decoded.append(raw)
        return parse_raw(raw, *others)

    monkeypatch.setattr(delay_queue, "parse_raw", noting)
    fill(delayed, 20)
    page = page_of(delayed, DeadLetterFilter(id="m-17"), 50, id_of, SECRET)
    assert (page.rows, page.read, len(decoded)) == (["m-17"], 20, 1)


def test_key_finds_its_event_also_after_further_tries(delayed: DelayQueue) -> None:
    fill(delayed, 5)
    found = delayed.page()[2]
    key = parsed_key(str(key_of(found, SECRET)))
    assert key is not None
    there = event_with(delayed, key, SECRET)
    assert there is not None
    assert id_of(there) == "m-2"
    delayed.retry([found])
    assert event_with(delayed, key, SECRET) is None
    again = found.message.after_attempt(AttemptRecord(300.0, "throttled", 429), 5.0, spent=True)
    delay_one(delayed, again, 9000.0)
    later = event_with(delayed, key, SECRET)
    assert later is not None
    assert (id_of(later), later.reason) == ("m-2", "throttled")
    assert event_with(delayed, key, b"another secret") is None


def test_key_finds_its_event_that_was_tried_early_and_is_due_sooner(delayed: DelayQueue) -> None:
    fill(delayed, 30, apart=60.0)
    found = delayed.page()[20]
    key = key_of(found, SECRET)
    delayed.retry([found])
    again = found.message.after_attempt(AttemptRecord(300.0, "throttled", 429), 5.0, spent=True)
    delay_one(delayed, again, 60.0)
    sooner = event_with(delayed, key, SECRET)
    assert sooner is not None
    assert (id_of(sooner), sooner.reason) == ("m-20", "throttled")
    read: list[int] = []
    assert list(map(id_of, events_with(delayed, [key], SECRET, read.append))) == ["m-20"]
    assert read[-1] == 30


def test_keys_find_their_events_in_one_pass(delayed: DelayQueue) -> None:
    fill(delayed, 30)
    keys = [key_of(each, SECRET) for each in delayed.page() if id_of(each) in {"m-3", "m-17"}]
    read: list[int] = []
    found = list(events_with(delayed, [*keys, EventKey(1, "0" * 32)], SECRET, read.append))
    assert list(map(id_of, found)) == ["m-3", "m-17"]
    assert read[-1] == 30
    assert list(events_with(delayed, [], SECRET, read.append)) == []


@pytest.mark.parametrize("due", [float("-inf"), -5.0, 0.0, 0.0005, 5e9, 1e20, float("inf")])
def test_whatever_another_program_delayed_is_listed_and_found(
    own: OwnIntegration, delayed: DelayQueue, due: float
) -> None:
    fill(delayed, 2)
    own.redis.zadd(delayed.key, {"no message": due, "nor this": due})
    pages = list(all_pages(delayed, ANY, 1))
    assert sorted(row for page in pages for row in page.rows) == ["?", "?", "m-0", "m-1"]
    for each in delayed.page():
        key = parsed_key(str(key_of(each, SECRET)))
        assert key is not None
        assert event_with(delayed, key, SECRET) == each


@pytest.mark.parametrize(
    "text", ["", "-", "5", "5-xyz", f"{LATEST + 1}-{'0' * 32}", "-5-" + "0" * 32]
)
def test_text_that_is_no_key_is_refused(text: str) -> None:
    assert parsed_key(text) is None


def test_overview_counts_all_events_by_when_they_are_due(delayed: DelayQueue) -> None:
    fill(delayed, 600)
    overview = delay_overview_of(delayed, 6)
    assert (overview.total, overview.looked_at) == (600, 500)
    assert overview.counts == {"unavailable": 450, "throttled": 50}
    assert overview.dues == [100] * 6
    assert overview.next_due is not None
    assert overview.last_due == pytest.approx(overview.next_due + 599, abs=0.01)
    assert overview.next_due > overview.now


def test_overview_of_an_odd_queue_draws_what_it_can(
    own: OwnIntegration, delayed: DelayQueue
) -> None:
    empty = delay_overview_of(delayed, 6)
    assert (empty.total, empty.next_due, empty.last_due, empty.dues) == (0, None, None, [])
    own.redis.zadd(delayed.key, {"one": 5e9, "two": 5e9})
    assert delay_overview_of(delayed, 6).dues == [2]
    own.redis.zadd(delayed.key, {"three": float("inf")})
    assert delay_overview_of(delayed, 6).dues == []
