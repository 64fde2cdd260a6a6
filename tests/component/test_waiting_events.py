"""Events whose members other deliveries have: they wait aside, and are taken on together once their member is free."""

from dataclasses import replace
from typing import Any

import pytest
import redis

from tests.integrations import OwnIntegration
from worker.delivery.waiting_events import EVENTS_AT_ONCE, MARGIN_SECONDS, Waiting
from worker.members.entry import forget
from worker.members.lease import MemberLease
from worker.members.ledger import Ledger
from worker.queue.codec import decode, encode
from worker.queue.in_flight import restore_overdue
from worker.queue.message import Message
from worker.queue.poison import ALONE_AFTER

JANE, JOHN = "jane@example.com", "john@example.com"
Adopted = list[list[tuple[str, str]]]


def message(number: int) -> Message:
    return Message(
        id=f"m{number}", args=({"n": number},), kind="identify", enqueued_at=1.7e9 + number
    )


def acquired_leases(ledger: Ledger, *addresses: str) -> list[MemberLease]:
    found = ledger.acquire(addresses)
    assert isinstance(found, list)
    return [each for each in found if isinstance(each, MemberLease)]


def ids(adopted: Adopted) -> list[list[str]]:
    return [[decode(raw)[0].id for raw, _ in events] for events in adopted]


def wait(waiting: Waiting, address: str, *numbers: int) -> None:
    waiting.wait([(address, message(each)) for each in numbers])


def delayed(own: OwnIntegration) -> int:
    return own.waiting().delay_queue.count()


def in_hand(own: OwnIntegration) -> set[str]:
    return {str(each) for each in own.redis.hkeys(own.unacked_keys[1])}


def index(own: OwnIntegration) -> list[str]:
    return sorted(own.redis.scan_iter(f"signal:{own.name}:waiting*"))


def make_recheck_due(own: OwnIntegration) -> None:
    """The second after which a member is looked at again has passed."""
    key = own.ledger().keys.waiting
    for digest in own.redis.zrange(key, 0, -1):
        own.redis.zadd(key, {str(digest): 0})


def test_events_of_a_locked_member_wait_for_its_release_and_go_on_in_order(
    own: OwnIntegration,
) -> None:
    ledger = own.ledger()
    waiting, leases = own.waiting(ledger), acquired_leases(ledger, JANE)
    wait(waiting, JANE, 1, 2)
    wait(waiting, JANE, 3)
    assert waiting.adopt_awaited() == []
    assert waiting.adopt() == []
    assert (delayed(own), in_hand(own)) == (3, set())
    ledger.release(leases, [], 0)
    adopted = waiting.adopt_awaited()
    assert ids(adopted) == [["m1", "m2", "m3"]]
    assert in_hand(own) == {tag for _, tag in adopted[0]}
    assert (delayed(own), index(own)) == (0, [])
    assert waiting.adopt_awaited() == []


def test_waiting_event_goes_on_by_itself_after_any_lease_has_ended(own: OwnIntegration) -> None:
    ledger = own.ledger()
    acquired_leases(ledger, JANE)
    seconds, _ = own.redis.time()
    due = own.waiting(ledger).wait([(JANE, message(1))])
    assert due >= seconds + ledger.lease_seconds + MARGIN_SECONDS
    assert own.waiting().delay_queue.next_due() == pytest.approx(due, abs=0.01)


def test_events_of_free_members_go_on_apart_while_others_stay_locked(own: OwnIntegration) -> None:
    ledger = own.ledger()
    waiting, (jane, _) = own.waiting(ledger), acquired_leases(ledger, JANE, JOHN)
    wait(waiting, JANE, 1, 2)
    wait(waiting, JOHN, 3)
    wait(waiting, "free@example.com", 4)
    ledger.release([jane], [], 0)
    assert sorted(ids(waiting.adopt_awaited())) == [["m1", "m2"], ["m4"]]
    assert delayed(own) == 1


def test_events_of_released_members_go_on_before_those_of_locked_ones(
    own: OwnIntegration,
) -> None:
    ledger = own.ledger()
    waiting = own.waiting(ledger)
    many = [f"p{number}@example.com" for number in range(60)]
    acquired_leases(ledger, *(f"locked{number}@example.com" for number in range(300)))
    leases = acquired_leases(ledger, *many)
    for number in range(300):
        wait(waiting, f"locked{number}@example.com", number)
    for number, address in enumerate(many, 1000):
        wait(waiting, address, number)
    ledger.release(leases, [], 0)
    adopted = [ids(waiting.adopt_awaited()) for _ in range(3)]
    assert sorted(each for part in adopted for (each,) in part) == [
        f"m{number}" for number in range(1000, 1060)
    ]


def test_event_that_waits_for_a_member_released_before_goes_on_at_once(
    own: OwnIntegration,
) -> None:
    waiting = own.waiting(own.ledger())
    wait(waiting, JANE, 1)
    assert ids(waiting.adopt_awaited()) == [["m1"]]


def test_a_lease_that_ends_because_its_worker_died_is_noticed(own: OwnIntegration) -> None:
    ledger = own.ledger()
    waiting, (lease,) = own.waiting(ledger), acquired_leases(ledger, JANE)
    wait(waiting, JANE, 1)
    assert waiting.adopt() == []
    own.redis.delete(lease.keys[0])
    make_recheck_due(own)
    assert ids(own.waiting().adopt()) == [["m1"]]


def test_events_wait_until_an_unanswered_write_has_settled(
    own: OwnIntegration,
) -> None:
    ledger = own.ledger(settle_seconds=60)
    waiting, (lease,) = own.waiting(ledger), acquired_leases(ledger, JANE)
    wait(waiting, JANE, 1)
    lease.write_pending = True
    ledger.release([lease], [], 0)
    assert waiting.adopt_awaited() == []
    own.redis.delete(lease.keys[0])
    make_recheck_due(own)
    assert ids(waiting.adopt()) == [["m1"]]


def test_events_adopted_by_a_worker_that_dies_come_back(own: OwnIntegration) -> None:
    waiting = own.waiting(own.ledger())
    wait(waiting, JANE, 1, 2)
    waiting.adopt()
    assert restore_overdue(own.redis, own.queue, own.unacked_keys, 0) == 2
    on_queue = [decode(str(each))[0].id for each in own.redis.lrange(own.queue, 0, -1)]
    assert on_queue == ["m2", "m1"]


def test_events_adopted_by_a_call_with_a_lost_reply_come_with_the_next(
    own: OwnIntegration, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = own.waiting(own.ledger())
    wait(waiting, JANE, 1, 2)
    gate = waiting.ledger.gate
    run = gate.run

    def without_reply(*given: Any) -> None:
        run(*given)
        raise redis.ConnectionError

    with monkeypatch.context() as cut:
        cut.setattr(gate, "run", without_reply)
        with pytest.raises(redis.ConnectionError):
            waiting.adopt()
    assert len(in_hand(own)) == 2
    assert ids(waiting.adopt()) == [["m1", "m2"]]
    assert waiting.adopt() == []
    assert len(in_hand(own)) == 2


def test_event_that_went_on_by_itself_is_not_adopted_again(own: OwnIntegration) -> None:
    waiting = own.waiting(own.ledger())
    wait(waiting, JANE, 1, 2)
    gone = next(raw for raw, _ in waiting.delay_queue.waiting() if decode(raw)[0].id == "m1")
    waiting.delay_queue.replace(gone, "")
    assert ids(waiting.adopt()) == [["m2"]]
    assert len(in_hand(own)) == 1


def test_no_event_is_adopted_or_lost_while_on_hold(own: OwnIntegration) -> None:
    waiting = own.waiting(own.ledger())
    wait(waiting, JANE, 1)
    own.gate().pause()
    assert waiting.adopt() == []
    assert delayed(own) == 1
    own.gate().resume()
    assert ids(waiting.adopt()) == [["m1"]]


def test_events_above_the_limit_of_one_write_go_on_in_turns(own: OwnIntegration) -> None:
    ledger = own.ledger()
    waiting = own.waiting(ledger)
    wait(waiting, JANE, *range(EVENTS_AT_ONCE + 1))
    (first,) = waiting.adopt()
    assert len(first) == EVENTS_AT_ONCE
    ledger.release(acquired_leases(ledger, JANE), [], 0)
    assert ids(waiting.adopt_awaited()) == [[f"m{EVENTS_AT_ONCE}"]]


def test_waiting_events_of_a_member_cost_as_much_as_one_event(own: OwnIntegration) -> None:
    gate = own.gate(rate_limit=6)
    ledger = own.ledger(gate)
    waiting = own.waiting(ledger)
    for member in range(6):
        wait(waiting, f"{member}@example.com", *range(10 * member, 10 * member + 10))
    first = waiting.adopt()
    assert 0 < len(first) < 6
    assert all(len(each) == 10 for each in first)
    assert waiting.adopt() == []
    assert delayed(own) == 60 - 10 * len(first)


def test_forgotten_person_leaves_nothing_in_the_waiting_index(own: OwnIntegration) -> None:
    ledger = own.ledger()
    wait(own.waiting(ledger), JANE, 1)
    forget(ledger, JANE)
    assert index(own) == [ledger.keys.waiting]
    assert not any(JANE in str(each) for each in own.redis.zrange(ledger.keys.waiting, 0, -1))


def test_event_that_waits_again_is_stored_once(own: OwnIntegration) -> None:
    waiting = own.waiting(own.ledger())
    wait(waiting, JANE, 1)
    wait(waiting, JANE, 1)
    assert delayed(own) == 1
    assert ids(waiting.adopt()) == [["m1"]]


def test_message_returned_twice_goes_to_the_queue_to_be_fetched_alone(
    own: OwnIntegration,
) -> None:
    waiting = own.waiting(own.ledger())
    wait(waiting, JANE, 1)
    waiting.wait(
        [
            (JANE, replace(message(2), returns=ALONE_AFTER)),
            (JOHN, replace(message(3), returns=ALONE_AFTER)),
        ]
    )
    wait(waiting, JANE, 4)
    assert ids(waiting.adopt()) == [["m1", "m4"]]
    assert sorted(decode(str(each))[0].id for each in own.redis.lrange(own.queue, 0, -1)) == [
        "m2",
        "m3",
    ]
    assert (delayed(own), len(in_hand(own)), index(own)) == (0, 2, [])


def test_erased_message_that_must_be_alone_does_not_come_back(
    own: OwnIntegration,
) -> None:
    waiting = own.waiting(own.ledger())
    waiting.wait([(JANE, replace(message(1), returns=ALONE_AFTER))])
    own.redis.delete(waiting.delay_queue.key)
    assert waiting.adopt() == []
    assert own.redis.llen(own.queue) == 0


def test_events_are_adopted_as_far_as_their_bytes_fit_or_alone_when_idle(
    own: OwnIntegration,
) -> None:
    waiting = own.waiting(own.ledger())
    size = len(encode(message(1), own.queue))
    wait(waiting, JANE, 1, 2, 3)
    assert waiting.adopt(size - 1, idle=False) == []
    make_recheck_due(own)
    assert ids(waiting.adopt(2 * size, idle=False)) == [["m1", "m2"]]
    make_recheck_due(own)
    assert ids(waiting.adopt(1, idle=True)) == [["m3"]]
