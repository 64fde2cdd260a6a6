"""Dead letters beyond the bounds that the operator has set are removed, the oldest first, and each is told – on a real server."""

import logging
from collections.abc import Callable

import pytest

from tests.integrations import OwnIntegration
from worker.monitoring.status import letters_share
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_limits import AT_ONCE, DeadLetterLimits
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.message import Message
from worker.settings import Settings

NOW, DAY = 2e9, 86_400.0


def letters_of(own: OwnIntegration, *days: float) -> DeadLetterQueue:
    """So many dead letters, the first the oldest; each died so many days ago."""
    letters = DeadLetterQueue(own.redis, own.name, own.queue)
    for number, each in enumerate(days):
        message = Message(id=f"d{number}", args=({"type": "page"},))
        died = NOW - each * DAY
        letter = dead_letter(
            DeadLetterReason.REJECTED,
            message,
            status=400,
            answer="",
            died_at=died,
            integration=own.name,
        )
        letters.bury([(message, letter)])
    return letters


def limits(
    letters: DeadLetterQueue,
    most: int = 0,
    days: float = 0,
    removed: Callable[[str], None] = lambda _: None,
) -> DeadLetterLimits:
    return DeadLetterLimits(letters, most, days, removed)


def remaining_ids(letters: DeadLetterQueue) -> list[str]:
    return [each.message.id for each in letters.oldest_first()]


def test_dead_letters_without_a_limit_are_all_kept(own: OwnIntegration) -> None:
    letters = letters_of(own, *[10_000.0] * 5)
    bounds = limits(letters)
    assert (bounds.try_start(), bounds.enforce(NOW), letters.count()) == (False, 0, 5)


def test_oldest_dead_letters_above_the_limit_are_removed_and_reported(
    own: OwnIntegration, caplog: pytest.LogCaptureFixture
) -> None:
    letters, told = letters_of(own, 5, 4, 3, 2, 1), list[str]()
    assert limits(letters, most=3, removed=told.append).enforce(NOW) == 2
    assert (remaining_ids(letters), letters.totals(), told) == (
        ["d2", "d3", "d4"],
        {"rejected": 3},
        ["number"] * 2,
    )
    removed = [
        each for each in caplog.records if each.message == "a dead letter was removed permanently"
    ]
    assert [vars(each)["event"] for each in removed] == ["d0", "d1"]


def test_old_dead_letters_are_removed_and_those_without_a_date_are_kept(
    own: OwnIntegration,
) -> None:
    letters = letters_of(own, 31, NOW / DAY, 30.5, 29, 1)
    assert limits(letters, days=30).enforce(NOW) == 2
    assert remaining_ids(letters) == ["d1", "d3", "d4"]


def test_dead_letters_at_the_limit_warn_once_an_hour_and_none_is_removed(
    own: OwnIntegration, caplog: pytest.LogCaptureFixture
) -> None:
    letters = letters_of(own, *[1.0] * 7)
    bounds = limits(letters, most=10)
    with caplog.at_level(logging.WARNING):
        assert (bounds.enforce(NOW), caplog.text) == (0, "")
        letters_of(own, 1, 1, 1)
        assert [bounds.enforce(NOW) for _ in range(3)] == [0, 0, 0]
    assert caplog.text.count("10 dead letters, and DEAD_LETTERS_MAX is 10") == 1
    assert letters_share(Settings(_env_file=None, dead_letters_max=10), 9) == 0.9
    assert letters_share(Settings(_env_file=None), 9) is None


def test_dead_letters_are_removed_by_one_worker_a_few_at_a_time(own: OwnIntegration) -> None:
    letters = letters_of(own, *[1.0] * (AT_ONCE + 10))
    bounds = limits(letters, most=1)
    assert [bounds.try_start(), bounds.try_start()] == [True, False]
    assert [bounds.enforce(NOW) for _ in range(3)] == [AT_ONCE, 9, 0]
    assert remaining_ids(letters) == [f"d{AT_ONCE + 9}"]
