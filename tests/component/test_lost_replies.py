"""A request that Redis carried out, and whose reply was lost: told again, it is harmless – over a relay to a real server."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
import redis

from tests.integrations import OwnIntegration
from tests.relays import Relay
from tests.servers import RedisServer
from worker.consumer.lost_fetches import LOOKED_FOR_SECONDS, LOST_AFTER_SECONDS, Takings
from worker.gate.gate import Report
from worker.members.lease import Busy, Visit
from worker.members.ledger import Ledger
from worker.queue.dead_letter_reasons import Reason
from worker.queue.dead_letters import DeadLetters, dead_letter
from worker.queue.in_flight import put_back_takings
from worker.queue.message import Message
from worker.redis_client.client import connect

ADDRESS = "jane@example.com"
TWICE = 2  # as often as a request is told


@pytest.fixture
def relay(server: RedisServer) -> Iterator[Relay]:
    with Relay(server.port) as relay:
        yield relay


@pytest.fixture
def over_relay(own: OwnIntegration, relay: Relay) -> OwnIntegration:
    """The same integration over the relay, by a client as workers have it, whose connection and scripts are there already."""
    db = own.redis.connection_pool.connection_kwargs["db"]
    there = replace(own, redis=connect(relay.url.removesuffix("0") + str(db)))
    ledger = there.ledger()
    ledger.close(cast("list[Visit]", ledger.open(["warm@example.com"])), [], 0)
    return there


def visit(ledger: Ledger) -> Visit:
    (opened,) = cast("list[Any]", ledger.open([ADDRESS]))
    assert isinstance(opened, Visit)
    return opened


def open_in_vain(ledger: Ledger, relay: Relay) -> None:
    relay.lose_replies(TWICE)
    with pytest.raises(redis.ConnectionError):
        ledger.open([ADDRESS])


def is_busy(own: OwnIntegration) -> bool:
    return bool(own.redis.exists(own.ledger().keys_of(ADDRESS)[0]))


def test_member_whose_opening_was_not_answered_is_opened(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    relay.lose_replies(1)
    visit(over_relay.ledger())
    assert is_busy(own)


def test_member_that_another_delivery_has_stays_busy(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    visit(own.ledger())
    relay.lose_replies(1)
    (opened,) = cast("list[Any]", over_relay.ledger().open([ADDRESS]))
    assert isinstance(opened, Busy)


def test_member_whose_opening_was_never_answered_is_released(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    ledger = over_relay.ledger()
    open_in_vain(ledger, relay)
    assert is_busy(own)
    ledger.repeat()
    assert not is_busy(own)


def test_closing_that_was_not_answered_is_answered_as_at_first(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    ledger = over_relay.ledger()
    opened = visit(ledger)
    relay.lose_replies(1)
    changes = ledger.close([opened], [Report("throttled", 1, 5.0, "429", [], written=True)], 0)
    assert [each.kind for each in changes] == ["throttled"]
    assert (opened.lost, is_busy(own), own.redis.zcard(own.look_after_key)) == (False, False, 0)
    assert own.redis.hget(f"signal:{own.name}:pace", "throttles") == "1"


def test_closing_that_was_never_answered_is_told_again(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    ledger = over_relay.ledger()
    opened = visit(ledger)
    relay.lose_replies(TWICE)
    with pytest.raises(redis.ConnectionError):
        ledger.close([opened], [], 0)
    ledger.repeat()
    assert not is_busy(own)


def test_member_that_is_anothers_by_now_is_not_released(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    ledger = over_relay.ledger()
    open_in_vain(ledger, relay)
    own.redis.delete(own.ledger().keys_of(ADDRESS)[0])
    visit(own.ledger())
    ledger.repeat()
    assert is_busy(own)


def test_dead_letter_whose_burial_was_not_answered_is_one(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    letters = DeadLetters(over_relay.redis, own.name, own.queue)
    message = Message(id="m-1", args=({},))
    letter = dead_letter(Reason.REJECTED, message, status=400, answer="", died_at=1.0, integration=own.name)
    relay.lose_replies(1)
    letters.bury(message, letter)
    assert (letters.count(), letters.totals()) == (1, {"rejected": 1})


def test_what_a_lost_taking_took_is_back_in_order_and_the_rest_stays(own: OwnIntegration) -> None:
    own.fill(4)
    lost, kept = own.take(2), own.take(1)
    tags = sorted(str(each) for each in own.redis.zrange(own.unacked_keys[0], 0, -1))
    taking = tags[0].split(".")[2]
    assert put_back_takings(own.redis, own.queue, own.unacked_keys, [taking]) == 2
    assert put_back_takings(own.redis, own.queue, own.unacked_keys, [taking]) == 0
    assert own.redis.hvals(own.unacked_keys[1]) == kept.messages
    assert list(reversed(own.redis.lrange(own.queue, 0, -1))) == [*lost.messages, "4"]


def test_taking_is_answered_or_lost_and_never_both(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("worker.consumer.lost_fetches.monotonic", lambda: now)
    takings = Takings()
    answered = takings.begin()
    assert takings.answer(answered)
    lost = takings.begin()
    takings.lose(lost)
    forgotten = takings.begin()
    overdue = takings.begin()
    assert takings.lost() == [lost, forgotten]
    now += LOST_AFTER_SECONDS + 1
    assert takings.lost() == [lost, forgotten, overdue]
    assert not any(map(takings.answer, (answered, lost, forgotten, overdue)))
    now += LOOKED_FOR_SECONDS + 1
    assert takings.lost() == [lost, forgotten, overdue]  # Redis was not asked yet
    takings.looked_for(takings.lost())
    assert takings.lost() == [lost, forgotten, overdue]
    now += LOOKED_FOR_SECONDS + 1
    takings.looked_for(takings.lost())
    assert takings.lost() == []
