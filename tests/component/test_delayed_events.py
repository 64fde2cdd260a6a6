"""Delayed events as an operator handles them: read in pages, tried now, buried – on a real server."""

import json
from datetime import UTC, datetime

import pytest

from tests.integrations import OwnIntegration, delay_one
from worker.ops.attempts import why_delayed
from worker.ops.delayed_events import as_record, batches, bury_delayed, matching
from worker.queue import delay_queue as module
from worker.queue.codec import decode
from worker.queue.dead_letter_filter import DeadLetterFilter
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import WAITING, DelayedMessage, DelayQueue
from worker.queue.message import AttemptRecord, Message

FAR = 3600.0
ANY = DeadLetterFilter()


@pytest.fixture
def delayed(own: OwnIntegration) -> DelayQueue:
    return DelayQueue(own.redis, own.name, own.queue)


@pytest.fixture
def letters(own: OwnIntegration) -> DeadLetterQueue:
    return DeadLetterQueue(own.redis, own.name, own.queue)


def waiting(id: str, outcome: str = "unavailable", status: int | None = 503) -> Message:
    return Message(
        id=id,
        args=({"type": "identify", "traits": {"email": f"{id}@example.com"}},),
        kind="identify",
        enqueued_at=100.0,
        attempts=1,
        requeues=1,
        attempt_history=(AttemptRecord(200.0, outcome, status),),
    )


def fill(delayed: DelayQueue, count: int) -> None:
    delayed.add([(waiting(f"m-{each}"), FAR + each) for each in range(count)])


def ids(found: list[DelayedMessage]) -> list[str]:
    return [each.message.id for each in found]


def test_pages_hold_every_event_once_the_next_due_first(
    delayed: DelayQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(delayed, 7)
    first = delayed.page(most=3)
    second = delayed.page(first[-1], most=3)
    third = delayed.page(second[-1], most=3)
    assert ids([*first, *second, *third]) == [f"m-{each}" for each in range(7)]
    assert len(third) == 1
    assert delayed.page(third[-1]) == []


def test_a_page_has_so_many_bytes_at_most_and_at_least_one_event(
    delayed: DelayQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(delayed, 5)
    size = len(delayed.page()[0].raw)
    monkeypatch.setattr(module, "PAGE_BYTES", 2 * size + 10)
    assert list(map(len, delayed.pages())) == [2, 2, 1]
    monkeypatch.setattr(module, "PAGE_BYTES", 1)
    assert list(map(len, delayed.pages())) == [1, 1, 1, 1, 1]


def test_pages_survive_that_workers_take_events_meanwhile(delayed: DelayQueue) -> None:
    fill(delayed, 6)
    first = delayed.page(most=3)
    delayed.retry(first)
    assert ids(delayed.page(first[-1], most=3)) == ["m-3", "m-4", "m-5"]


def test_events_due_at_one_moment_are_not_left_out_if_the_last_read_goes(
    own: OwnIntegration, delayed: DelayQueue
) -> None:
    for each in range(4):
        own.redis.zadd(delayed.key, {f"no message {each}": 5_000_000_000.5})
    first = delayed.page(most=2)
    own.redis.zrem(delayed.key, first[-1].raw)
    left = {each.raw for each in delayed.page(first[-1])}
    assert {"no message 2", "no message 3"} <= left


def test_an_event_tried_now_is_the_next_to_be_fetched_as_it_was(
    own: OwnIntegration, delayed: DelayQueue
) -> None:
    own.fill(2)
    fill(delayed, 1)
    assert delayed.retry(delayed.page()) == 1
    assert delayed.count() == 0
    assert decode(own.take().messages[0])[0] == waiting("m-0")


def test_an_event_that_a_worker_has_taken_is_neither_tried_nor_buried(
    own: OwnIntegration, delayed: DelayQueue, letters: DeadLetterQueue
) -> None:
    fill(delayed, 2)
    read = delayed.page()
    own.redis.zrem(delayed.key, read[0].raw)
    assert bury_delayed(delayed, read, 900.0) == 1
    assert (delayed.retry(read), delayed.purge(read)) == (0, 0)
    assert [each.message.id for each in letters.oldest_first()] == ["m-1"]
    assert own.redis.llen(own.queue) == 0


def test_a_buried_event_is_a_dead_letter_that_is_counted_and_replayable(
    own: OwnIntegration, delayed: DelayQueue, letters: DeadLetterQueue
) -> None:
    fill(delayed, 1)
    assert bury_delayed(delayed, delayed.page(), 900.0) == 1
    [buried] = letters.oldest(1)
    assert (buried.message, buried.letter.reason) == (waiting("m-0"), "buried")
    assert buried.letter.died_at == 900.0
    assert "unavailable (HTTP 503)" in buried.letter.summary
    assert letters.cached_counts() == {"buried": 1}
    assert letters.replay([buried], 1000.0) == 1
    assert own.redis.llen(own.queue) == 1


def test_what_is_no_message_is_listed_and_buried_with_its_bytes(
    own: OwnIntegration, delayed: DelayQueue, letters: DeadLetterQueue
) -> None:
    own.redis.zadd(delayed.key, {"no message": 5_000_000_000.0})
    [found] = delayed.page()
    assert (found.reason, found.due) == (WAITING, 5_000_000_000.0)
    bury_delayed(delayed, [found], 900.0)
    assert letters.oldest(1)[0].message.original == "no message"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (DeadLetterFilter(reason="throttled"), {"slow"}),
        (DeadLetterFilter(reason=WAITING), {"held"}),
        (DeadLetterFilter(status=503), {"down"}),
        (DeadLetterFilter(email="SLOW@example.com"), {"slow"}),
        (DeadLetterFilter(id="held", kind="Identify"), {"held"}),
        (DeadLetterFilter(since=datetime.fromtimestamp(101, UTC)), set()),
        (DeadLetterFilter(until=datetime.fromtimestamp(101, UTC)), {"slow", "down", "held"}),
    ],
)
def test_filters_of_dead_letters_hold_for_delayed_events(
    delayed: DelayQueue, wanted: DeadLetterFilter, found: set[str]
) -> None:
    held = Message(id="held", args=waiting("held").args, kind="identify", enqueued_at=100.0)
    events = waiting("slow", "throttled", 429), waiting("down"), held
    delayed.add([(each, FAR) for each in events])
    assert {each.message.id for each in matching(delayed, wanted)} == found


def test_replayed_event_that_is_held_waits_for_no_attempt_of_before(
    delayed: DelayQueue,
) -> None:
    replayed = waiting("m-0", "unauthorized", 401).reset_for_replay(900.0)
    delay_one(delayed, replayed.after_wait(), FAR)
    [found] = matching(delayed, DeadLetterFilter(reason=WAITING))
    assert (found.reason, found.status) == (WAITING, None)
    assert why_delayed(found.reason, found.status).startswith("waiting: ")
    delayed.retry([found])
    tried = replayed.after_attempt(AttemptRecord(901.0, "throttled", 429), 5.0, spent=False)
    delay_one(delayed, tried, FAR)
    assert [each.status for each in matching(delayed, DeadLetterFilter(reason="throttled"))] == [
        429
    ]


def test_batches_hold_so_many_events_at_most_while_they_are_removed(
    delayed: DelayQueue,
) -> None:
    fill(delayed, 7)
    counted = {each.identity for each in delayed.page(most=5)}
    moved = [delayed.retry(each) for each in batches(delayed, ANY, counted, at_once=2)]
    assert moved == [2, 2, 1]
    assert ids(delayed.page()) == ["m-5", "m-6"]


def test_only_events_that_were_counted_and_still_match_are_purged(delayed: DelayQueue) -> None:
    fill(delayed, 6)
    down = DeadLetterFilter(reason="unavailable")
    counted = {each.identity for each in delayed.page(most=4)}
    delayed.retry(delayed.page(most=1))
    tried = delayed.page(most=1)
    delayed.retry(tried)
    slowed = tried[0].message.after_attempt(AttemptRecord(300.0, "throttled", 429), 5.0, spent=True)
    delay_one(delayed, slowed, FAR)
    purged = [delayed.purge(each) for each in batches(delayed, down, counted, at_once=9)]
    assert purged == [2]
    assert ids(delayed.page()) == ["m-1", "m-4", "m-5"]


def test_event_that_is_delayed_again_meanwhile_is_tried_once(
    own: OwnIntegration, delayed: DelayQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(delayed, 6)
    monkeypatch.setattr(module, "PAGE_BYTES", 3 * len(delayed.page()[0].raw) + 10)
    own.redis.zadd(delayed.key, {"no message": 5e9, "nor this": 6e9})
    tried = []
    counted = {each.identity for each in matching(delayed, ANY)}
    for batch in batches(delayed, ANY, counted, at_once=2):
        assert delayed.retry(batch) == len(batch)
        tried += [each.message.id for each in batch]
        for each in batch:
            failed = AttemptRecord(300.0, "unavailable", 503)
            delay_one(delayed, each.message.after_attempt(failed, 5.0, spent=True), FAR + 2.5)
    assert tried == [*(f"m-{each}" for each in range(6)), "?", "?"]


def test_a_record_says_why_and_until_when_and_holds_no_address(delayed: DelayQueue) -> None:
    due = delay_one(delayed, waiting("m-0"), FAR)
    [found] = delayed.page()
    record = as_record(found)
    assert (record["reason"], record["status"], record["due"]) == ("unavailable", 503, due)
    assert (record["since"], record["attempts"]) == (100.0, 1)
    assert "example.com" not in json.dumps(record)
