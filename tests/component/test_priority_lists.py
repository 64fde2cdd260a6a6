"""Messages with a priority are found whatever their producer calls the lists, and no other list is – on a real server."""

import pytest

from tests.integrations import OwnIntegration
from worker.queue.priority_lists import AT_ONCE, PriorityLists

KOMBU = "\x06\x16"


@pytest.fixture
def lists(own: OwnIntegration) -> PriorityLists:
    return PriorityLists(own.redis, own.name, own.queue)


def queued(own: OwnIntegration) -> list[str]:
    """What is on the queue, the next one first."""
    return [str(each) for each in reversed(own.redis.lrange(own.queue, 0, -1))]


@pytest.mark.parametrize("step", [1, 3, 6, 9])
def test_priority_lists_of_kombus_names_are_drained_behind_the_queue(
    own: OwnIntegration, lists: PriorityLists, step: int
) -> None:
    own.redis.lpush(own.queue, "waiting")
    own.redis.lpush(f"{own.queue}{KOMBU}{step}", "first", "second")
    assert lists.drain() == 2
    assert queued(own) == ["waiting", "first", "second"]
    assert lists.drain() == 0


@pytest.mark.parametrize(
    "suffix",
    [":3", ":255", f"{KOMBU}10", f"{KOMBU}255", ".5", "::7", "|1", " 4", "\x001", "#-9", "é3"],
)
def test_priority_lists_of_other_names_are_drained_once_they_are_found(
    own: OwnIntegration, lists: PriorityLists, suffix: str
) -> None:
    own.redis.lpush(f"{own.queue}{suffix}", "first", "second")
    assert lists.drain() == 0
    lists.look()
    assert lists.counts() == {f"{own.queue}{suffix}": 2}
    assert lists.drain() == 2
    assert queued(own) == ["first", "second"]


NO_PRIORITIES = (
    *(
        "{}.dead_letter",
        "{}.dead_letter:3",
        "{}2",
        "{}_x",
        "{}-3",
        "{}_3",
        "{}2:3",
        "{}-b:3",
        "{}:0",
        "{}:03",
        "{}:1000",
    ),
    *("{}:", "{}:x3", "{}.backup", "{}.backup3", "{}.2026-11-25", "{}.20261125", "x{}:3", "{}:3:4"),
)


@pytest.mark.parametrize("name", NO_PRIORITIES)
def test_foreign_list_is_not_drained(own: OwnIntegration, lists: PriorityLists, name: str) -> None:
    name = name.format(own.queue)
    own.redis.lpush(name, "not mine")
    own.redis.sadd(f"signal:{own.name}:priority_lists", name)
    lists.look()
    assert lists.counts() == {}
    assert lists.drain() == 0
    assert own.redis.lrange(name, 0, -1) == ["not mine"]


def test_key_that_is_no_list_is_left_alone_even_if_it_was_one(
    own: OwnIntegration, lists: PriorityLists
) -> None:
    own.redis.lpush(f"{own.queue}:3", "a")
    own.redis.lpush(f"{own.queue}:4", "b")
    own.redis.set(f"{own.queue}:5", "text")
    lists.look()
    own.redis.delete(f"{own.queue}:3")
    own.redis.set(f"{own.queue}:3", "text")
    assert lists.counts() == {f"{own.queue}:4": 1}
    assert lists.drain() == 1
    assert own.redis.get(f"{own.queue}:3") == "text"


def test_lists_are_found_among_thousands_of_keys(own: OwnIntegration, lists: PriorityLists) -> None:
    own.redis.mset({f"{own.queue}.key{number}": "x" for number in range(5 * AT_ONCE)})
    own.redis.lpush(f"{own.queue}:9", "a")
    lists.look()
    assert lists.drain() == 1


def test_search_for_priority_lists_runs_once_a_minute_in_one_worker(
    own: OwnIntegration, lists: PriorityLists
) -> None:
    assert [lists.try_start(), lists.try_start()] == [True, False]
    assert 0 < own.redis.ttl(f"signal:{own.name}:priority_lists_looked") <= 60


def test_drain_stops_at_its_limit(own: OwnIntegration, lists: PriorityLists) -> None:
    for step in (3, 6, 9):
        own.redis.lpush(f"{own.queue}{KOMBU}{step}", "a", "b")
    assert [lists.drain(4), lists.drain(4)] == [4, 2]
    assert own.redis.llen(own.queue) == 6


def test_entry_that_is_no_utf8_is_drained_byte_for_byte(
    own: OwnIntegration, lists: PriorityLists
) -> None:
    own.redis.lpush(f"{own.queue}:3", b"\xff\x80binary")
    lists.look()
    assert lists.drain() == 1
    assert [each.encode("utf-8", "surrogateescape") for each in queued(own)] == [b"\xff\x80binary"]
