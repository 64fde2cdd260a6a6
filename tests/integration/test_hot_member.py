"""One member whose write hangs, with many events waiting: no other member waits, and its newest values stand in the end."""

import json
from typing import Any

import pytest

from tests.integration.bench import Bench, identified, until
from tests.integration.modes import Mode, each_mode

HOT = "hot@example.com"
EVENTS, OTHERS = 300, 200
FEW = 8  # writes of the hot member, where each event by itself would make hundreds
# What hangs is given up within seconds, yet not what is slow on a busy machine.
SETTINGS = {
    "MAILGUN_CONNECT_TIMEOUT_SECONDS": "2",
    "MAILGUN_READ_TIMEOUT_SECONDS": "3",
    "WORKER_CONCURRENCY": "8",
}


def hot(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Events of the hot member in their order; each sets its plan anew, and every other one its company."""
    return [
        identified(HOT, plan=f"{each}", **company_of(each)) for each in range(start, start + count)
    ]


def company_of(number: int) -> dict[str, str]:
    return {} if number % 2 else {"company": f"{number}"}


def others(count: int, name: str = "other") -> list[dict[str, Any]]:
    return [identified(f"{name}{each}@example.com", plan="pro") for each in range(count)]


def hangs(own: Bench, **fault: Any) -> None:
    own.sandbox.control.add_fault("hang", method="POST", address=HOT, seconds=600, **fault)


def all_others(own: Bench, count: int = OTHERS) -> None:
    """Waits until every other member is there."""
    until(lambda: own.delivered() >= count, "all others, while the one hangs", 60)


def ends_with(own: Bench, newest: int) -> None:
    """Waits until all is done; the hot member holds the newest of each field, and nothing died."""
    own.ended(120)
    assert own.members()[HOT].vars == {"plan": f"{newest}", "company": f"{newest - newest % 2}"}
    assert own.letters() == []


@pytest.mark.parametrize("workers", [1, 2])
@each_mode
def test_member_with_a_hanging_write_delays_no_other_and_ends_as_one(
    own: Bench, mode: Mode, workers: int
) -> None:
    hangs(own)
    mode.put(own.redis, own.queue, *hot(EVENTS), *others(OTHERS))
    for _ in range(workers):
        own.worker(**{**SETTINGS, **mode.settings})
    all_others(own)
    assert len(own.posts(HOT)) < FEW
    assert HOT not in own.members()
    own.sandbox.control.clear_faults()
    ends_with(own, EVENTS - 1)
    assert len(own.posts(HOT)) < FEW


@each_mode
def test_events_mixed_among_those_of_a_hanging_member_do_not_wait(own: Bench, mode: Mode) -> None:
    hangs(own)
    of_each = zip(hot(60), *[iter(others(OTHERS + 100))] * 5, strict=True)
    mode.put(own.redis, own.queue, *(event for group in of_each for event in group))
    own.worker(**{**SETTINGS, **mode.settings})
    all_others(own, 300)
    own.sandbox.control.clear_faults()
    ends_with(own, 59)


def test_hanging_member_delays_no_other_with_one_spare_thread(own: Bench) -> None:
    hangs(own)
    own.put(*hot(EVENTS), *others(OTHERS))
    own.worker(**{**SETTINGS, "WORKER_CONCURRENCY": "2"})
    all_others(own)
    own.sandbox.control.clear_faults()
    ends_with(own, EVENTS - 1)


@each_mode
def test_killed_worker_loses_no_event_of_its_hot_member_and_delays_none(
    own: Bench, mode: Mode
) -> None:
    hangs(own)
    settings = {**SETTINGS, "VISIBILITY_TIMEOUT_SECONDS": "30", **mode.settings}
    first = own.worker(**settings)
    mode.put(own.redis, own.queue, *hot(1))
    until(lambda: own.posts(HOT), "a write that hangs")
    mode.put(own.redis, own.queue, *hot(99, start=1))
    until(lambda: own.delay_queue.count() >= 99, "events that wait for the write")
    first.kill()
    own.sandbox.control.clear_faults()
    mode.put(own.redis, own.queue, *others(OTHERS), *hot(50, start=100))
    own.worker(**settings)
    all_others(own)
    ends_with(own, 149)
    assert len(own.posts(HOT)) < FEW


@each_mode
def test_member_with_one_unanswered_write_ends_in_order_delaying_none(
    own: Bench, mode: Mode
) -> None:
    own.sandbox.control.add_fault(
        "hang_after_commit", method="POST", address=HOT, seconds=600, count=1
    )
    mode.put(own.redis, own.queue, *hot(EVENTS), *others(OTHERS))
    own.worker(**{**SETTINGS, **mode.settings})
    all_others(own, OTHERS + 1)  # with the one that was stored without an answer
    ends_with(own, EVENTS - 1)
    assert len(own.posts(HOT)) < FEW


def test_waiting_events_are_shown_by_explain_and_erased_by_forget(own: Bench) -> None:
    hangs(own)
    own.put(*hot(20))
    own.worker(
        **{**SETTINGS, "MAILGUN_READ_TIMEOUT_SECONDS": "20", "VISIBILITY_TIMEOUT_SECONDS": "180"}
    )
    until(lambda: own.delay_queue.count() == 19, "events that wait")
    explained = own.run("explain", own.delayed()[0][0].id).out
    assert "next try once the delivery of its member that is under way has ended" in explained
    assert "19 events of this member" in own.run("explain", HOT).out
    assert json.loads(own.run("status", "--json").out)["delayed"] == 19
    assert own.run("forget", "--yes", HOT).status == 0
    assert own.delayed() == []
    assert list(own.redis.scan_iter(f"signal:{own.integration}:waiting:*")) == []


def test_a_pause_keeps_waiting_events_and_resume_lets_them_go_on(own: Bench) -> None:
    hangs(own, count=1)
    own.put(*hot(20))
    slow = {"MAILGUN_READ_TIMEOUT_SECONDS": "12", "VISIBILITY_TIMEOUT_SECONDS": "120"}
    own.worker(**{**SETTINGS, **slow})
    until(lambda: own.delay_queue.count() == 19, "events that wait")
    own.run("pause")  # before the write is given up
    until(lambda: own.delay_queue.count() == 20, "the end of the write")
    own.run("resume")
    ends_with(own, 19)
