"""One attempt against a Mailgun that holds one member: what Mailgun holds afterwards, and what it was asked."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
import urllib3

from tests.adapters import Far, answered, asking
from worker.delivery.attempt import Delivery
from worker.delivery.merge import Subscribing
from worker.mailgun.outcome import Kind
from worker.signal.patch import Patch
from worker.signal.preset import load_preset

HELD = {"address": "jane@example.com", "name": "Jane", "subscribed": True, "vars": {"plan": "pro", "beta": 1}}


class HoldsOneMember:
    """Mailgun with one list, and on it nobody or one member."""

    def __init__(self, held: dict[str, Any] | None) -> None:
        self.held = held
        self.far = Far(self.answer)

    def answer(self, request: requests.PreparedRequest) -> urllib3.HTTPResponse:
        if request.method == "POST":
            form = dict(parse_qsl(str(request.body)))
            self.held = {
                "address": form["address"],
                "name": form.get("name", ""),
                "subscribed": form["subscribed"] == "true",
                "vars": json.loads(form["vars"]),
            }
        if self.held is None:
            return answered(404, b'{"message":"Member jane@example.com of mailing list news not found"}')
        return answered(200, json.dumps({"member": self.held}).encode())

    def asked(self) -> list[str | None]:
        return [each.method for each in self.far.requests]


def attempted(there: HoldsOneMember, patch: Patch, *, overwrite: bool = False) -> Kind:
    delivery = Delivery(
        mailgun=asking(there.far),
        preset=load_preset(),
        rules=Subscribing(),
        overwrite=overwrite,
        clock=lambda: datetime(2024, 5, 1, tzinfo=UTC),
    )
    return delivery.attempt(patch).kind


def patch(**fields: object) -> Patch:
    return Patch("jane@example.com", None, fields, None, None)


def test_a_new_member_is_written() -> None:
    there = HoldsOneMember(None)
    assert attempted(there, patch(plan="pro")) is Kind.DELIVERED
    assert there.held == {"address": "jane@example.com", "name": "", "subscribed": True, "vars": {"plan": "pro"}}


def test_what_the_event_does_not_set_stays() -> None:
    there = HoldsOneMember(HELD)
    assert attempted(there, patch(plan="free")) is Kind.DELIVERED
    assert there.held == {**HELD, "vars": {"plan": "free", "beta": 1}}


def test_what_mailgun_holds_already_is_not_written() -> None:
    there = HoldsOneMember(HELD)
    assert attempted(there, patch(plan="pro")) is Kind.UNCHANGED
    assert there.asked() == ["GET"]


@pytest.mark.parametrize("value", [True, "1", None, [1]])
def test_a_value_of_another_json_type_is_written(value: object) -> None:
    there = HoldsOneMember(HELD)
    assert attempted(there, patch(beta=value)) is Kind.DELIVERED
    assert there.held is not None
    assert json.dumps(there.held["vars"]) == json.dumps({"plan": "pro", "beta": value})


def test_overwriting_asks_nothing_and_writes_the_events_own_fields() -> None:
    there = HoldsOneMember(HELD)
    assert attempted(there, patch(plan="free"), overwrite=True) is Kind.DELIVERED
    assert there.held == {"address": "jane@example.com", "name": "", "subscribed": True, "vars": {"plan": "free"}}
    assert there.asked() == ["POST"]


def test_a_member_that_cannot_be_read_is_not_written() -> None:
    there = HoldsOneMember(HELD)
    there.far.answer = lambda _: answered(503)
    assert attempted(there, patch(plan="free")) is Kind.UNAVAILABLE
    assert there.asked() == ["GET"]
