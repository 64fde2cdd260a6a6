"""The judge of clicks tells a worker that must have known of one from a worker that could not, alone or in a bulk call."""

import json
from itertools import count
from typing import Any

import pytest

from tests.chaos.clicks import by_address, undone
from worker.sandbox.request_log import Record, Unsubscribed

LIST = "newsletter@mg.example.com"
JANE, BOB = "jane@example.com", "bob@example.com"
CLICK = Unsubscribed(at=10.0, list=LIST, address="Jane@example.com")
BLIND = 4.0
numbers = count(1)


def request(method: str, path: str, at: float, form: dict[str, str], **known: Any) -> Record:
    record = Record(next(numbers), at, method, path, LIST, known.pop("address", None), form)
    record.status, record.answered_at, record.committed = 200, at + 0.1, method == "POST"
    for name, value in known.items():
        setattr(record, name, value)
    return record


def reading(at: float, address: str = JANE, **known: Any) -> Record:
    return request("GET", f"/v3/lists/{LIST}/members/{address}", at, {}, address=address, **known)


def alone(at: float, subscribed: str = "true", **known: Any) -> Record:
    form = {"address": JANE, "subscribed": subscribed, "upsert": "true"}
    return request("POST", f"/v3/lists/{LIST}/members", at, form, address=JANE, **known)


def together(at: float, *entries: dict[str, Any], **known: Any) -> Record:
    shown = entries or ({"address": BOB, "subscribed": True}, {"address": JANE, "subscribed": True})
    form = {"members": json.dumps(shown), "upsert": "true"}
    return request("POST", f"/v3/lists/{LIST}/members.json", at, form, **known)


def judged(*records: Record, blind_seconds: float = 0.0) -> str | None:
    return undone(CLICK, by_address(records, {CLICK.address}), blind_seconds)


@pytest.mark.parametrize("write", [alone, together])
def test_subscribing_write_is_knowing_only_after_a_reading_past_the_click(
    write: Any,
) -> None:
    assert judged(reading(11), write(12)) == "knowingly"
    assert judged(reading(9), write(12)) == "raced"
    assert judged(reading(9), write(9.95, answered_at=10.2)) == "raced"
    assert judged(reading(9), write(9.95, answered_at=None)) == "raced"


@pytest.mark.parametrize("write", [alone, together])
def test_only_the_first_subscribing_write_after_the_click_counts(write: Any) -> None:
    assert judged(reading(8), write(9)) is None
    assert judged(reading(8), write(12, committed=False)) is None
    assert judged(reading(9), write(12), reading(13), write(14)) == "raced"
    assert judged(reading(11), write(12, committed=False), reading(9), write(14)) == "raced"


@pytest.mark.parametrize(
    ("subscribed", "expected"),
    [(False, None), ("no", None), (True, "knowingly"), ("yes", "knowingly")],
)
def test_bulk_call_is_judged_member_by_member(subscribed: object, expected: str | None) -> None:
    other = {"address": BOB, "subscribed": not expected}
    entry = {"address": "JANE@example.com", "subscribed": subscribed}
    assert judged(reading(11), together(12, other, entry)) == expected
    assert judged(reading(11), together(12, other)) is None


def test_write_without_a_subscription_field_subscribes() -> None:
    assert judged(reading(11), together(12, {"address": JANE})) == "knowingly"


def test_read_without_an_answer_is_no_reading() -> None:
    assert judged(reading(9), reading(11, status=503), alone(12)) == "raced"
    assert judged(reading(9), reading(11, status="hang"), together(12)) == "raced"
    assert judged(reading(9), reading(11, address=BOB), together(12)) == "raced"
    assert (
        judged(reading(9), request("GET", f"/v3/lists/{LIST}/members/pages", 11, {}), together(12))
        == "raced"
    )
    assert judged(reading(11, status=404), alone(12)) == "knowingly"


@pytest.mark.parametrize("write", [alone, together])
def test_worker_that_trusts_the_ledger_may_miss_a_recent_click(write: Any) -> None:
    assert judged(write(13.9), blind_seconds=BLIND) == "raced"
    assert judged(write(14.1), blind_seconds=BLIND) == "knowingly"
    assert judged(write(13.9), write(15), blind_seconds=BLIND) == "raced"
    assert judged(write(9.5), blind_seconds=BLIND) is None
    assert judged(alone(15, "no"), blind_seconds=BLIND) is None
