"""Dead letters: buried whole, read a page at a time, and replayed in one step – on a real server."""

import tracemalloc
from collections.abc import Iterator

import pytest

from tests.integrations import OwnIntegration
from worker.queue import dead_letters
from worker.queue.codec import decode
from worker.queue.dead_letter import DeadLetter, dead_letter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import PAGE, PAGE_BYTES, DeadLetterQueue
from worker.queue.message import AttemptRecord, Message

MESSAGE = Message(
    id="m-1",
    args=({"type": "identify", "traits": {"email": "jané@example.com"}},),
    kind="identify",
    enqueued_at=100.0,
    retry_window_start=150.0,
    attempts=3,
    requeues=5,
    attempt_history=(AttemptRecord(at=200.0, outcome="rejected", status=400),),
)


@pytest.fixture
def letters(own: OwnIntegration) -> DeadLetterQueue:
    return DeadLetterQueue(own.redis, own.name, own.queue)


def buried(
    letters: DeadLetterQueue,
    message: Message = MESSAGE,
    reason: DeadLetterReason = DeadLetterReason.REJECTED,
) -> None:
    letter = dead_letter(
        reason, message, status=400, answer="No", died_at=900.0, integration=letters.integration
    )
    letters.bury([(message, letter)])


def numbered(letters: DeadLetterQueue, count: int) -> list[str]:
    """So many letters, the first buried first; their ids."""
    names = [str(number) for number in range(count)]
    for each in names:
        buried(letters, Message(id=each, args=({},)))
    return names


def ids(found: Iterator[DeadLetter]) -> list[str]:
    return [each.message.id for each in found]


def test_dead_letter_keeps_the_whole_message_and_its_history(letters: DeadLetterQueue) -> None:
    buried(letters)
    [found] = letters.newest_first()
    assert found.message == MESSAGE
    assert (found.letter.reason, found.letter.status, found.letter.answer) == (
        "rejected",
        400,
        "No",
    )
    assert (found.letter.first_seen, found.letter.died_at, found.letter.attempts) == (
        100.0,
        900.0,
        3,
    )
    assert found.letter.integration == letters.integration


@pytest.mark.parametrize("reason", DeadLetterReason)
def test_every_dead_letter_reason_has_a_cause_and_a_fix(
    letters: DeadLetterQueue, reason: DeadLetterReason
) -> None:
    buried(letters, reason=reason)
    [found] = letters.newest_first()
    assert found.letter.reason == reason
    assert found.letter.cause
    assert found.letter.fix


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 7])
def test_every_dead_letter_is_read_once_in_both_directions(
    letters: DeadLetterQueue, count: int
) -> None:
    oldest_first = numbered(letters, count)
    assert ids(letters.oldest_first()) == oldest_first
    assert ids(letters.newest_first()) == oldest_first[::-1]
    assert letters.count() == count


def test_page_of_dead_letters_is_bounded_in_bytes_and_complete(
    own: OwnIntegration, letters: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "PAGE_BYTES", 20_000)
    sizes = [1, 50_000, 9_000, 9_000, 1, 1, 30_000, 5_000, 8_000, 8_000, 1]
    for number, size in enumerate(sizes):
        buried(letters, Message(id=str(number), args=({"text": "x" * size},)))
    every = [str(number) for number in range(len(sizes))]
    assert ids(letters.newest_first()) == every[::-1]
    pages = []
    for page in letters.pages():
        assert len(page) == 1 or sum(len(each.raw) for each in page) <= 20_000
        pages += [each.message.id for each in page]
        assert letters.purge(page[::2]) == len(page[::2])
    assert pages == every
    assert 0 < own.redis.llen(letters.key) < len(every)


def test_long_dead_letters_are_read_in_bounded_memory(
    own: OwnIntegration, letters: DeadLetterQueue
) -> None:
    for number in range(60):
        buried(letters, Message(id=str(number), args=({"text": "x" * 1_000_000},)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in letters.newest_first()) == 60
        assert sum(1 for _ in letters.oldest_first()) == 60
        assert tracemalloc.get_traced_memory()[1] < 5 * PAGE_BYTES
    finally:
        tracemalloc.stop()


def test_dead_letters_removed_while_reading_disturb_nothing(
    own: OwnIntegration, letters: DeadLetterQueue
) -> None:
    every = numbered(letters, 2 * PAGE + 50)
    seen = []
    for number, each in enumerate(letters.oldest_first()):
        seen.append(each.message.id)
        if number % 3:
            assert letters.replay([each], 1000.0)
    assert seen == every
    assert ids(letters.oldest_first()) == every[::3]
    assert own.redis.llen(own.queue) == len(every) - len(every[::3])


def test_replay_of_all_replays_each_dead_letter_once_while_new_ones_arrive(
    own: OwnIntegration, letters: DeadLetterQueue
) -> None:
    old = numbered(letters, PAGE + 20)
    replayed = []
    for number, each in enumerate(letters.oldest_first()):
        if each.message.id in old:
            letters.replay([each], 1000.0)
            replayed.append(each.message.id)
        if number < 50:
            buried(letters, Message(id=f"new-{number}", args=({},)))
    assert replayed == old
    assert own.redis.llen(own.queue) == len(old)
    assert ids(letters.oldest_first()) == [f"new-{number}" for number in range(50)]


def test_replayed_dead_letter_is_on_the_queue_with_its_full_retry_window(
    own: OwnIntegration, letters: DeadLetterQueue
) -> None:
    buried(letters)
    [found] = letters.newest_first()
    assert letters.replay([found], 1000.0)
    [raw] = own.redis.lrange(own.queue, 0, -1)
    message, headers = decode(str(raw))
    assert message == MESSAGE.reset_for_replay(1000.0)
    assert "dead_letter" not in headers
    assert letters.count() == 0


def test_dead_letter_replayed_twice_is_requeued_once(
    own: OwnIntegration, letters: DeadLetterQueue
) -> None:
    buried(letters)
    [found] = letters.newest_first()
    assert [letters.replay([found], 1000.0), letters.replay([found], 1000.0)] == [1, 0]
    assert own.redis.llen(own.queue) == 1


def test_two_equal_dead_letters_count_as_two(own: OwnIntegration, letters: DeadLetterQueue) -> None:
    buried(letters)
    buried(letters)
    for each in letters.oldest_first():
        assert letters.replay([each], 1000.0)
    assert (letters.count(), own.redis.llen(own.queue)) == (0, 2)


@pytest.mark.parametrize(
    "raw", ["", "by hand", "[]", "{}", '{"headers": {"dead_letter": 5}}', '{"headers": null}']
)
def test_foreign_entry_is_a_dead_letter_of_unknown_reason(
    letters: DeadLetterQueue, raw: str
) -> None:
    letters.redis.lpush(letters.key, raw)
    [found] = letters.newest_first()
    assert (found.letter.reason, found.raw, found.message.original) == ("unknown", raw, raw)


def test_dead_letters_of_two_integrations_are_separate(
    own: OwnIntegration, letters: DeadLetterQueue
) -> None:
    buried(letters)
    assert DeadLetterQueue(own.redis, "other", "mailgun.other").count() == 0
