"""The roll: which workers are alive and what they do, by Redis's clock – on a real server."""

import time

import pytest

from tests.integrations import OwnIntegration
from worker.delivery.worker_registry import EndedTry, WorkerEntry, WorkerRegistry, newer_than


def worker_registry(own: OwnIntegration) -> WorkerRegistry:
    return WorkerRegistry(own.redis, own.name)


def test_worker_is_registered_with_its_state(own: OwnIntegration) -> None:
    before = own.now()
    worker_registry(own).store("host:1", "consuming", node="celery@host", version="1.2")
    [entry] = worker_registry(own).alive()
    assert (entry.name, entry.node, entry.version, entry.state) == (
        "host:1",
        "celery@host",
        "1.2",
        "consuming",
    )
    assert entry.started == entry.since
    assert before <= (entry.since or 0) <= own.now()


def test_a_state_has_the_moment_when_it_began(own: OwnIntegration) -> None:
    mine = worker_registry(own)
    mine.store("host:1", "cancelled")
    first, second, third = (
        _stored(own, mine, state) for state in ("consuming", "cancelled", "cancelled")
    )
    assert first.started == third.started
    assert (first.since or 0) < (second.since or 0) == third.since


def _stored(own: OwnIntegration, mine: WorkerRegistry, state: str) -> WorkerEntry:
    mine.store("host:1", state)  # type: ignore[arg-type]
    [entry] = worker_registry(own).alive()
    return entry


@pytest.mark.parametrize("off", [600.0, -600.0])
def test_worker_with_a_wrong_clock_counts_as_alive(
    own: OwnIntegration, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + off)
    mine = worker_registry(own)
    mine.note("m-1", "delivered")
    mine.store("host:1", "consuming")
    assert [each.name for each in worker_registry(own).alive()] == ["host:1"]
    [ended] = worker_registry(own).tries("m-1")
    assert ended.outcome == "delivered"
    assert ended.at == pytest.approx(own.now(), abs=60)


def test_worker_that_left_is_not_registered(own: OwnIntegration) -> None:
    worker_registry(own).store("host:1", "stopping")
    worker_registry(own).store("host:2", "consuming")
    worker_registry(own).leave("host:1")
    assert [each.name for each in worker_registry(own).alive()] == ["host:2"]


@pytest.mark.parametrize(
    "told", [None, "no JSON", "[]", '{"state": "dancing"}', '{"state": "consuming", "since": "x"}']
)
def test_worker_of_another_version_is_still_registered(
    own: OwnIntegration, told: str | None
) -> None:
    worker_registry(own).store("host:1", "consuming")
    key = f"signal:{own.name}:worker:host:1"
    own.redis.delete(key)
    if told is not None:
        own.redis.set(key, told)
    assert [(each.name, each.state) for each in worker_registry(own).alive()] == [
        ("host:1", "unknown")
    ]


@pytest.mark.parametrize(
    ("seen", "lines", "new"),
    [
        ("", "", ""),
        ("", "ba", "ba"),
        ("ba", "ba", ""),
        ("ba", "dcba", "dc"),
        ("aa", "aaaa", "aa"),
        ("cba", "fed", "fed"),
        ("cba", "edc", "ed"),
    ],
)
def test_lines_added_in_front_since_the_last_look_are_found(
    seen: str, lines: str, new: str
) -> None:
    assert list(newer_than(list(seen), list(lines))) == list(new)


@pytest.mark.parametrize(
    ("line", "ended"),
    [
        ("skipped: no_email", EndedTry(1_700_000_000.0, "skipped: no_email")),
        ("delivered;200;2", EndedTry(1_700_000_000.0, "delivered", 200, 2)),
    ],
)
def test_a_line_of_an_older_version_is_read(
    own: OwnIntegration, line: str, ended: EndedTry
) -> None:
    own.redis.lpush(f"signal:{own.name}:ended", f"1700000000 {line}|a|b")
    assert worker_registry(own).tries("a|b") == [ended]


def test_a_try_is_read_as_it_was_noted_whatever_its_kind_holds(own: OwnIntegration) -> None:
    mine = worker_registry(own)
    fields = ("name", "vars.a;b|c", "subscribed")
    mine.note("a|b", "retried", 503, 2, "Order; paid|x", fields, "unavailable: later; no")
    mine.store("host:1", "consuming")
    [found] = worker_registry(own).tries("a|b")
    assert (found.outcome, found.status, found.requests) == ("retried", 503, 2)
    assert found.fields == ("name", "vars.a,b/c", "subscribed")
    assert (found.kind, found.answer) == ("Order, paid/x", "unavailable: later, no")
