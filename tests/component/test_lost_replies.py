"""A request that Redis carried out, and whose reply was lost: told again, it is harmless – over a relay to a real server."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
import redis

from tests.integrations import OwnIntegration
from tests.relays import Relay
from tests.servers import RedisServer
from worker.consumer.lost_fetches import LOOKED_FOR_SECONDS, LOST_AFTER_SECONDS, LostFetches
from worker.gate.reports import RequestReport
from worker.members.lease import Locked, MemberLease
from worker.members.ledger import ACQUIRE, RENEW, Ledger
from worker.ops.delayed_events import bury_delayed
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_filter import DeadLetterFilter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.in_flight import put_back_fetches
from worker.queue.message import Message
from worker.queue.replay_by_filter import ReplayResult, replay_matching
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
    ledger.release(cast("list[MemberLease]", ledger.acquire(["warm@example.com"])), [], 0)
    return there


def lease(ledger: Ledger) -> MemberLease:
    (opened,) = cast("list[Any]", ledger.acquire([ADDRESS]))
    assert isinstance(opened, MemberLease)
    return opened


def acquire_without_a_reply(ledger: Ledger, relay: Relay) -> None:
    relay.lose_replies(TWICE)
    with pytest.raises(redis.ConnectionError):
        ledger.acquire([ADDRESS])


def is_locked(own: OwnIntegration) -> bool:
    return bool(own.redis.exists(own.ledger().keys_of(ADDRESS)[0]))


def test_lease_whose_acquire_reply_was_lost_is_acquired(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    relay.lose_replies(1)
    lease(over_relay.ledger())
    assert is_locked(own)


def test_member_leased_by_another_delivery_stays_locked(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    lease(own.ledger())
    relay.lose_replies(1)
    (opened,) = cast("list[Any]", over_relay.ledger().acquire([ADDRESS]))
    assert isinstance(opened, Locked)


def test_lease_whose_acquire_was_never_answered_is_released(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    ledger = over_relay.ledger()
    acquire_without_a_reply(ledger, relay)
    assert is_locked(own)
    ledger.repeat()
    assert not is_locked(own)


def test_release_repeated_after_a_lost_reply_returns_the_first_result(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    ledger = over_relay.ledger()
    opened = lease(ledger)
    relay.lose_replies(1)
    changes = ledger.release(
        [opened], [RequestReport("throttled", 1, 5.0, "429", [], written=True)], 0
    )
    assert [each.kind for each in changes] == ["throttled"]
    assert (opened.lost, is_locked(own), own.redis.zcard(own.look_after_key)) == (False, False, 0)
    assert own.redis.hget(f"signal:{own.name}:pace", "throttles") == "1"


def test_release_that_was_never_answered_is_repeated(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    ledger = over_relay.ledger()
    opened = lease(ledger)
    relay.lose_replies(TWICE)
    with pytest.raises(redis.ConnectionError):
        ledger.release([opened], [], 0)
    ledger.repeat()
    assert not is_locked(own)


def test_release_is_noted_under_its_documented_key(own: OwnIntegration) -> None:
    ledger = own.ledger()
    opened = lease(ledger)
    ledger.release([opened], [], 0)
    assert own.redis.keys(f"signal:{own.name}:released:*") == [ledger.keys.released(opened.token)]


def test_lease_that_another_delivery_has_by_now_is_not_released(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    ledger = over_relay.ledger()
    acquire_without_a_reply(ledger, relay)
    own.redis.delete(own.ledger().keys_of(ADDRESS)[0])
    lease(own.ledger())
    ledger.repeat()
    assert is_locked(own)


def test_waiting_events_go_on_once_an_unanswered_acquire_is_released(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    ledger = over_relay.ledger()
    acquire_without_a_reply(ledger, relay)
    own.waiting().wait([(ADDRESS, Message(id="m-1", args=({},)))])
    assert own.waiting().adopt() == []  # it is looked at again in a second
    ledger.repeat()
    assert ledger.awaited.is_set()
    assert len(own.waiting().adopt()) == 1


# -- A late copy: Redis comes to the first try after the repeat was answered, and after all that followed


def late_copies(ledger: Ledger, body: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Note what the ledger's script with this body is told from now on; returns what tells Redis all of it once more."""
    named, run, calls = ledger.gate.script(body), ledger.gate.trips.run, []

    def noted(script: Any, keys: Any, args: Any) -> Any:
        if script is named:
            calls.append((keys, args))
        return run(script, keys, args)

    monkeypatch.setattr(ledger.gate.trips, "run", noted)

    def send_late_copies() -> None:
        for keys, args in calls:
            run(named, keys, args)

    return send_late_copies


@pytest.mark.parametrize("settle_seconds", [0.0, 30.0], ids=["released", "settling"])
@pytest.mark.parametrize("body", [ACQUIRE, RENEW], ids=["acquire", "renew"])
def test_late_copy_after_the_release_leases_and_prolongs_nothing(
    own: OwnIntegration, monkeypatch: pytest.MonkeyPatch, body: str, settle_seconds: float
) -> None:
    ledger = own.ledger(settle_seconds=settle_seconds)
    send_late_copies = late_copies(ledger, body, monkeypatch)
    opened = lease(ledger)
    ledger.renew([opened], [opened.record], 0)
    opened.write_pending = bool(settle_seconds)
    ledger.release([opened], [], 0)
    send_late_copies()
    left = own.redis.pttl(own.ledger().keys_of(ADDRESS)[0])
    assert left <= settle_seconds * 1000
    assert (left > 0) == bool(settle_seconds)


def test_late_copy_of_an_abandoned_acquire_leases_nothing(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = over_relay.ledger()
    send_late_copies = late_copies(ledger, ACQUIRE, monkeypatch)
    acquire_without_a_reply(ledger, relay)
    ledger.repeat()
    send_late_copies()
    assert not is_locked(own)


def test_members_of_one_acquire_can_be_released_in_parts(own: OwnIntegration) -> None:
    ledger = own.ledger()
    first, second = cast("list[MemberLease]", ledger.acquire([ADDRESS, "john@example.com"]))
    ledger.release([first], [], 0)
    assert ledger.renew([second], [second.record], 0) == [True]
    ledger.release([second], [], 0)
    assert (first.lost, second.lost) == (False, False)
    assert list(own.redis.scan_iter(f"signal:{own.name}:lock:*")) == []


def test_dead_letter_whose_bury_reply_was_lost_is_stored_once(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay
) -> None:
    letters = DeadLetterQueue(over_relay.redis, own.name, own.queue)
    message = Message(id="m-1", args=({},))
    letter = dead_letter(
        DeadLetterReason.REJECTED, message, status=400, answer="", died_at=1.0, integration=own.name
    )
    relay.lose_replies(1)
    letters.bury([(message, letter)])
    assert (letters.count(), letters.totals()) == (1, {"rejected": 1})


@pytest.mark.parametrize("way", ["replay", "purge"])
def test_dead_letters_whose_removal_reply_was_lost_are_counted_once(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay, way: str
) -> None:
    letters = DeadLetterQueue(over_relay.redis, own.name, own.queue)
    message = Message(id="m-1", args=({},))
    letter = dead_letter(
        DeadLetterReason.REJECTED, message, status=400, answer="", died_at=1.0, integration=own.name
    )
    letters.bury([(message, letter)] * 3)  # equal ones: a repeat would find another
    oldest = letters.oldest(2)
    relay.lose_replies(1)
    assert (letters.purge(oldest) if way == "purge" else letters.replay(oldest, 2.0)) == 2
    assert (letters.count(), letters.totals()) == (1, {"rejected": 1})
    assert own.redis.llen(own.queue) == (0 if way == "purge" else 2)


@pytest.mark.parametrize("act", ["retry", "bury", "purge"])
def test_delayed_events_whose_move_reply_was_lost_are_counted_once(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay, act: str
) -> None:
    queue = DelayQueue(over_relay.redis, own.name, own.queue)
    queue.add([(Message(id=f"m-{each}", args=({},)), 3600.0) for each in range(3)])
    found = queue.page()[:2]
    relay.lose_replies(1)
    acts = {
        "retry": lambda: queue.retry(found),
        "bury": lambda: bury_delayed(queue, found, 2.0),
        "purge": lambda: queue.purge(found),
    }
    assert acts[act]() == 2
    letters = DeadLetterQueue(own.redis, own.name, own.queue)
    there = own.redis.llen(own.queue), letters.count(), queue.count()
    assert there == {"retry": (2, 0, 1), "bury": (0, 2, 1), "purge": (0, 0, 1)}[act]


def test_replay_by_filter_counts_moved_dead_letters_when_replies_are_lost(
    own: OwnIntegration, over_relay: OwnIntegration, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = DeadLetterQueue(over_relay.redis, own.name, own.queue)
    replay = DeadLetterQueue.replay
    for number in range(5):
        message = Message(id=f"m-{number}", args=({},))
        letter = dead_letter(
            DeadLetterReason.REJECTED,
            message,
            status=400,
            answer="",
            died_at=1.0,
            integration=own.name,
        )
        letters.bury([(message, letter)])

    def losing_a_reply(*arguments: Any) -> int:
        relay.lose_replies(1)
        return replay(*arguments)

    monkeypatch.setattr(DeadLetterQueue, "replay", losing_a_reply)
    assert replay_matching(letters, DeadLetterFilter(), 4, 2.0) == ReplayResult(offered=4, moved=4)
    assert (letters.count(), own.redis.llen(own.queue)) == (1, 4)


def test_messages_of_a_lost_fetch_are_back_in_order_and_others_stay(own: OwnIntegration) -> None:
    own.fill(4)
    lost, kept = own.take(2), own.take(1)
    tags = sorted(str(each) for each in own.redis.zrange(own.unacked_keys[0], 0, -1))
    fetch_id = tags[0].split(".")[2]
    assert put_back_fetches(own.redis, own.queue, own.unacked_keys, [fetch_id]) == 2
    assert put_back_fetches(own.redis, own.queue, own.unacked_keys, [fetch_id]) == 0
    assert own.redis.hvals(own.unacked_keys[1]) == kept.messages
    assert list(reversed(own.redis.lrange(own.queue, 0, -1))) == [*lost.messages, "4"]


def test_fetch_is_either_answered_or_lost_and_never_both(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("worker.consumer.lost_fetches.monotonic", lambda: now)
    fetches = LostFetches()
    answered = fetches.begin()
    assert fetches.answer(answered)
    lost = fetches.begin()
    fetches.lose(lost)
    forgotten = fetches.begin()
    overdue = fetches.begin()
    assert fetches.lost() == [lost, forgotten]
    now += LOST_AFTER_SECONDS + 1
    assert fetches.lost() == [lost, forgotten, overdue]
    assert not any(map(fetches.answer, (answered, lost, forgotten, overdue)))
    now += LOOKED_FOR_SECONDS + 1
    assert fetches.lost() == [lost, forgotten, overdue]  # Redis was not asked yet
    fetches.looked_for(fetches.lost())
    assert fetches.lost() == [lost, forgotten, overdue]
    now += LOOKED_FOR_SECONDS + 1
    fetches.looked_for(fetches.lost())
    assert fetches.lost() == []
