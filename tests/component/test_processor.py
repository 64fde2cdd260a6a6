"""One event handled: what is at Mailgun, delayed or buried once it is, on a real server and a Mailgun with one member."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from tests.adapters import HoldsMembers, HoldsOneMember, answered, asking, timed_out
from tests.integrations import DIGEST_KEY, OwnIntegration, process_all, process_one
from worker.delivery.deliverer import Deliverer
from worker.delivery.event_delivery import Buried, Rescheduled, order_of
from worker.delivery.outcome_stats import OutcomeStats
from worker.delivery.permits import Permits
from worker.delivery.processor import EventProcessor
from worker.delivery.retry_policy import Done, RetryPolicy
from worker.delivery.worker_registry import WorkerRegistry
from worker.gate.config import UNAVAILABLE_MEMBERS
from worker.mailgun.outcome import Outcome
from worker.members.ledger import Ledger
from worker.members.merge_plan import TimedPatch
from worker.queue.codec import decode
from worker.queue.dead_letter import DeadLetter
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.message import Message
from worker.signal.patch import Patch
from worker.signal.preset import load_preset

ADDRESS = "jane@example.com"
HELD = {"address": ADDRESS, "name": "Jane", "subscribed": True, "vars": {"plan": "free"}}
EVENT: dict[str, Any] = {"type": "identify", "traits": {"email": ADDRESS, "plan": "pro"}}
ENQUEUED = datetime(2024, 5, 1, 10, tzinfo=UTC)


def processor(own: OwnIntegration, there: HoldsOneMember, **retry_policy: Any) -> EventProcessor:
    return EventProcessor(
        preset=load_preset(None),
        delivery=own.delivery(asking(there.far)),
        delay_queue=DelayQueue(own.redis, own.name, own.queue),
        waiting=own.waiting(),
        dead_letters=DeadLetterQueue(own.redis, own.name, own.queue),
        outcome_stats=OutcomeStats(own.redis, own.name),
        worker_registry=WorkerRegistry(own.redis, own.name),
        retry_policy=RetryPolicy(**retry_policy),
        digest_key=DIGEST_KEY,
        clock=lambda: ENQUEUED + timedelta(seconds=10),
        jitter=lambda: 0.0,
        on_processed=lambda *_: None,
    )


def message(event: Any = EVENT, **known: Any) -> Message:
    return Message(
        id="m1", args=(event,), **{"kind": "identify", "enqueued_at": ENQUEUED.timestamp(), **known}
    )


def delayed(own: OwnIntegration) -> list[Message]:
    return [decode(raw)[0] for raw, _ in DelayQueue(own.redis, own.name, own.queue).waiting()]


def buried(own: OwnIntegration) -> list[DeadLetter]:
    return list(DeadLetterQueue(own.redis, own.name, own.queue).newest_first())


def delayed_and_buried(own: OwnIntegration) -> tuple[int, int]:
    return len(delayed(own)), len(buried(own))


# Done


def test_delivered_event_is_done_and_neither_delayed_nor_buried(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    assert process_one(processor(own, there), message()) == Done("delivered")
    assert there.held == {**HELD, "vars": {"plan": "pro"}}
    assert delayed_and_buried(own) == (0, 0)


def test_an_event_that_changes_nothing_is_done(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    event = {"type": "identify", "traits": {"email": ADDRESS, "plan": "free"}}
    assert process_one(processor(own, there), message(event)) == Done("unchanged")


def test_superseded_event_is_done(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    process_one(processor(own, there), message({**EVENT, "timestamp": "2024-05-01T09:00:00Z"}))
    older = {
        "type": "identify",
        "traits": {"email": ADDRESS, "plan": "old"},
        "timestamp": "2024-05-01T08:00:00Z",
    }
    assert process_one(processor(own, there), message(older)) == Done("superseded")


@pytest.mark.parametrize(
    ("event", "skip"),
    [
        ({"type": "identify", "traits": {}}, "no_email"),
        ({"type": "identify", "traits": {"email": "0" * 64}}, "hashed_email"),
        (
            {"type": "track", "event": "Nothing Mapped", "traits": {"email": ADDRESS}},
            "unmapped_event",
        ),
    ],
)
def test_skipped_event_is_done_with_its_reason_and_sends_no_request(
    own: OwnIntegration, event: dict[str, Any], skip: str
) -> None:
    there = HoldsOneMember(HELD)
    assert process_one(processor(own, there), message(event)) == Done(f"skipped: {skip}")
    assert there.asked() == []
    assert delayed_and_buried(own) == (0, 0)


# Delayed


def test_event_is_delayed_without_spending_an_attempt_while_on_hold(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    own.gate().pause()
    before = message(attempts=3, throttled=2)
    assert isinstance(process_one(processor(own, there), before), Rescheduled)
    assert delayed(own) == [replace(before.with_timestamps(2e9), requeues=1)]
    assert there.asked() == []


def test_event_of_a_locked_member_is_delayed_without_spending_an_attempt(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    own.ledger().acquire([ADDRESS])
    before = message(attempts=3, throttled=2)
    found = process_one(processor(own, there), before)
    assert isinstance(found, Rescheduled)
    assert found.why.startswith("locked")
    assert delayed(own) == [replace(before.with_timestamps(2e9), requeues=1)]
    assert there.asked() == []


def test_event_that_waits_is_never_buried_however_old_it_is(own: OwnIntegration) -> None:
    own.gate().pause()
    old = message(enqueued_at=0.0, attempts=49)
    assert isinstance(
        process_one(processor(own, HoldsOneMember(HELD), max_attempts=1), old), Rescheduled
    )


def test_throttled_event_is_delayed_without_spending_an_attempt(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    there.instead["GET"] = lambda: answered(429, b"", {"Retry-After": "900"})
    assert isinstance(process_one(processor(own, there), message(attempts=3)), Rescheduled)
    assert own.gate().seconds_until_open() > 800
    (waiting,) = delayed(own)
    assert (waiting.attempts, waiting.throttled, waiting.requeues) == (3, 1, 1)
    assert [(each.outcome, each.status) for each in waiting.attempt_history] == [("throttled", 429)]


def test_an_event_without_an_answer_is_delayed_and_spends_an_attempt(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.instead["GET"] = timed_out
    found = process_one(processor(own, there), message(attempts=3))
    assert isinstance(found, Rescheduled)
    assert "jane" not in found.why
    (waiting,) = delayed(own)
    assert (waiting.attempts, waiting.throttled) == (4, 0)


def crash(*_: object) -> Any:
    raise RecursionError(ADDRESS)


@pytest.mark.parametrize("where", ["_patch", "deliver", "deep within"])
def test_bug_delays_the_event_and_logs_no_personal_data(
    own: OwnIntegration,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = HoldsOneMember(HELD)
    if where == "_patch":
        monkeypatch.setattr(EventProcessor, "_patch", crash)
    elif where == "deliver":
        monkeypatch.setattr(Deliverer, "deliver", crash)
    else:
        there.meanwhile["POST"] = crash
    found = process_one(processor(own, there), message())
    assert isinstance(found, Rescheduled)
    (waiting,) = delayed(own)
    assert (waiting.attempts, waiting.args) == (1, (EVENT,))
    assert ADDRESS not in caplog.text + found.why + json.dumps(
        [vars(each) for each in caplog.records], default=str
    )


def test_bug_over_one_event_delays_no_other_event(
    own: OwnIntegration, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = HoldsMembers()
    attempts = Deliverer.deliver

    def crashes_over_one(
        self: Deliverer, patches: Sequence[TimedPatch], permits: Permits
    ) -> list[Outcome]:
        if any(each.patch.address == "p2@example.com" for each in patches):
            raise RecursionError(ADDRESS)
        return attempts(self, patches, permits)

    monkeypatch.setattr(Deliverer, "deliver", crashes_over_one)
    here = replace(
        processor(own, HoldsOneMember()), delivery=own.delivery(there.asking(), batch=100)
    )
    events = [
        {"type": "identify", "traits": {"email": f"p{each}@example.com"}} for each in range(4)
    ]
    handled = process_all(
        here, [replace(message(each), id=f"m{number}") for number, each in enumerate(events)]
    )
    assert [type(each) for each in handled] == [Done, Done, Rescheduled, Done]
    assert [each.id for each in delayed(own)] == ["m2"]
    assert len(there.list) == 3


def test_a_delayed_event_comes_back_to_the_front_of_the_queue_whole(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    own.fill(2)
    own.gate().pause()
    process_one(processor(own, there), message())
    delay_queue = DelayQueue(own.redis, own.name, own.queue)
    ((raw, _),) = delay_queue.waiting()
    own.redis.zadd(delay_queue.key, {raw: 0.0})  # it is due
    delay_queue.requeue_due()
    own.gate().resume()
    (first,) = own.take().messages
    here = processor(own, there)
    charged = Permits(here.delivery.gate, 1)
    assert here.process([decode(first)[0]], charged) == [Done("delivered")]


# Buried


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        ((), {}, "malformed_event"),
        ((EVENT, EVENT), {}, "malformed_event"),
        ((EVENT,), {"x": 1}, "malformed_event"),
        (("text",), {}, "malformed_event"),
        (({"traits": {"email": ADDRESS}},), {}, "malformed_event"),
        (({"type": "identify", "traits": {"email": "jane"}},), {}, "malformed_email"),
    ],
)
def test_a_malformed_event_is_buried_whole_without_a_request(
    own: OwnIntegration, args: tuple[Any, ...], kwargs: dict[str, Any], reason: str
) -> None:
    there = HoldsOneMember(HELD)
    assert isinstance(
        process_one(processor(own, there), replace(message(), args=args, kwargs=kwargs)), Buried
    )
    (letter,) = buried(own)
    assert (letter.letter.reason, letter.message.args, letter.message.kwargs) == (
        reason,
        args,
        kwargs,
    )
    assert there.asked() == []


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "rejected"),
        (401, "unauthorized"),
        (403, "unauthorized"),
        (404, "list_not_found"),
        (302, "unexpected_status"),
    ],
)
def test_a_refused_event_is_buried_with_mailguns_words(
    own: OwnIntegration, status: int, reason: str
) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = lambda: answered(status, b'{"message":"no, jane@example.com"}')
    found = process_one(processor(own, there), message())
    assert isinstance(found, Buried)
    assert ADDRESS not in found.why
    (letter,) = buried(own)
    assert (letter.letter.reason, letter.letter.status, letter.letter.answer) == (
        reason,
        status,
        f"no, {ADDRESS}",
    )
    assert (letter.letter.attempts, letter.message.args) == (1, (EVENT,))


def test_event_that_has_used_its_last_attempt_is_buried(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.instead["GET"] = lambda: answered(503)
    assert isinstance(
        process_one(processor(own, there, max_attempts=4), message(attempts=3)), Buried
    )
    assert [each.letter.reason for each in buried(own)] == ["retries_exhausted"]
    assert delayed(own) == []


# Redis is away


class Away(redis.ConnectionError):
    """Redis did not answer."""


def away(*_: object, **__: object) -> Any:
    raise Away


@pytest.mark.parametrize("step", ["acquire", "renew", "release"])
def test_redis_outage_during_an_attempt_delays_and_buries_nothing(
    own: OwnIntegration, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = HoldsOneMember(HELD)
    monkeypatch.setattr(Ledger, step, away)
    with pytest.raises(Away):
        process_one(processor(own, there), message())
    monkeypatch.undo()
    assert delayed_and_buried(own) == (0, 0)
    own.redis.delete(*own.redis.scan_iter(f"signal:{own.name}:lock:*"), "none")  # its lease ended
    assert isinstance(process_one(processor(own, there), message()), Done)
    assert there.held == {**HELD, "vars": {"plan": "pro"}}


@pytest.mark.parametrize(
    ("status", "step"), [(503, (DelayQueue, "add")), (400, (DeadLetterQueue, "bury"))]
)
def test_redis_outage_while_delaying_or_burying_raises_the_error(
    own: OwnIntegration, status: int, step: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = HoldsOneMember(HELD)
    there.instead["GET"] = lambda: answered(status)
    monkeypatch.setattr(*step, away)
    with pytest.raises(Away):
        process_one(processor(own, there), message())


# The allowance


def test_permit_is_released_only_by_events_that_sent_no_request(own: OwnIntegration) -> None:
    here = processor(own, HoldsOneMember(HELD))
    left: list[float] = []
    for event in (EVENT, {"type": "identify", "traits": {}}, "malformed"):
        permits = Permits(here.delivery.gate, 2)
        with permits:
            here.process([message(event)], permits)
            left.append(permits.left)
    assert left == [0, 2, 2]
    assert here.delivery.gate._unused == 4


# Time


@pytest.mark.parametrize(
    ("ahead", "at"),
    [
        (timedelta(days=-4000), "its own"),
        (timedelta(0), "its own"),
        (timedelta(hours=24), "its own"),
        (timedelta(hours=24, seconds=1), "enqueued"),
        (timedelta(days=4000), "enqueued"),
        (None, "enqueued"),
    ],
)
def test_event_has_its_own_time_unless_its_clock_is_wrong(ahead: timedelta | None, at: str) -> None:
    own_time = None if ahead is None else ENQUEUED + ahead
    patch = Patch(ADDRESS, None, {}, None, own_time)
    expected = ENQUEUED if at == "enqueued" else own_time
    assert expected
    assert order_of(patch, message()).at == expected.timestamp()


def test_event_with_an_unclear_timestamp_sets_only_unset_fields(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    event = {
        "type": "identify",
        "traits": {"email": ADDRESS, "plan": "pro", "company": "Acme"},
        "timestamp": "soon",
    }
    assert process_one(processor(own, there), message(event)) == Done("delivered")
    assert there.held == {**HELD, "vars": {"plan": "free", "company": "Acme"}}
    older = {
        "type": "identify",
        "traits": {"email": ADDRESS, "company": "Old"},
        "timestamp": "2001-01-01T00:00:00Z",
    }
    assert process_one(processor(own, there), message(older)) == Done("delivered")
    assert there.held == {**HELD, "vars": {"plan": "free", "company": "Old"}}


def test_unclear_consent_unsubscribes_a_new_member_until_it_is_granted(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember()
    perhaps = {**EVENT, "context": {"consent": {"canonical": {"marketing": "perhaps"}}}}
    assert process_one(processor(own, there), message(perhaps)) == Done("delivered")
    assert there.held
    assert there.held["subscribed"] is False
    yes = {**EVENT, "context": {"consent": {"canonical": {"marketing": "yes"}}}}
    assert process_one(
        processor(own, there), message(yes, enqueued_at=ENQUEUED.timestamp() + 1)
    ) == Done("delivered")
    assert there.held["subscribed"] is True


def test_future_timestamp_does_not_keep_later_events_from_setting_fields(
    own: OwnIntegration,
) -> None:
    there = HoldsOneMember(HELD)
    process_one(processor(own, there), message({**EVENT, "timestamp": "2093-01-01T00:00:00Z"}))
    later = {
        "type": "identify",
        "traits": {"email": ADDRESS, "plan": "basic"},
        "timestamp": "2024-05-01T10:00:01Z",
    }
    assert process_one(processor(own, there), message(later)) == Done("delivered")
    assert there.held == {**HELD, "vars": {"plan": "basic"}}


def test_replayed_event_is_ordered_by_its_first_enqueue_time(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    there.instead["POST"] = lambda: answered(400)
    process_one(processor(own, there), message())
    later = {"type": "identify", "traits": {"email": ADDRESS, "plan": "basic"}}
    process_one(processor(own, there), message(later, enqueued_at=ENQUEUED.timestamp() + 100))
    (letter,) = buried(own)
    replayed = letter.message.reset_for_replay(ENQUEUED.timestamp() + 1e6)
    assert process_one(processor(own, there), replayed) == Done("superseded")
    assert there.held == {**HELD, "vars": {"plan": "basic"}}


# An answer about another address


@pytest.mark.parametrize(("method", "asked"), [("GET", ["GET"]), ("POST", ["GET", "POST"])])
def test_answer_about_another_member_buries_the_event_without_a_new_write(
    own: OwnIntegration, method: str, asked: list[str]
) -> None:
    there = HoldsOneMember(HELD)
    there.instead[method] = lambda: answered(
        200, json.dumps({"member": {**HELD, "address": "joe@example.com"}}).encode()
    )
    found = process_one(processor(own, there), message())
    assert isinstance(found, Buried)
    assert found.why.startswith("wrong_member (200): 200, but for another address")
    assert "joe" not in found.why
    (letter,) = buried(own)
    assert (letter.letter.reason, letter.letter.attempts) == ("wrong_member", 1)
    assert "joe@example.com" in letter.letter.answer
    assert there.asked() == asked
    assert delayed(own) == []


def test_answers_about_other_members_begin_no_hold(own: OwnIntegration) -> None:
    there = HoldsOneMember(HELD)
    for _ in range(UNAVAILABLE_MEMBERS + 1):
        there.instead["GET"] = lambda: answered(
            200, json.dumps({"member": {**HELD, "address": "joe@example.com"}}).encode()
        )
        assert isinstance(process_one(processor(own, there), message()), Buried)
    assert own.gate().state().kind is None


# What is told


def test_not_understood_fields_are_counted_once_when_the_event_ends(
    own: OwnIntegration, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    there = HoldsOneMember(HELD)
    here = processor(own, there)
    odd = {**EVENT, "timestamp": "soon", "context": {"consent": {"marketing": "perhaps"}}}
    there.instead["GET"] = lambda: answered(503)
    process_one(here, message(odd))
    here.outcome_stats.store()
    assert here.outcome_stats.not_understood() == {}
    process_one(here, message({**odd, "traits": {**EVENT["traits"], "company": "Acme"}}))
    there.instead["GET"] = lambda: answered(400)
    process_one(here, message({**odd, "context": {}}))
    process_one(here, message())
    here.outcome_stats.store()
    assert here.outcome_stats.not_understood() == {"consent": 1, "timestamp": 2}
    told = [getattr(each, "not_understood", None) for each in caplog.records]
    assert told == ["consent, timestamp", "consent, timestamp", "timestamp", None]


def test_every_end_of_an_event_is_counted_once_and_logged_without_data(
    own: OwnIntegration, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    there = HoldsOneMember(HELD)
    here = processor(own, there)
    process_one(here, message())
    process_one(here, message({"type": "identify", "traits": {}}))
    there.instead["GET"] = lambda: answered(503)
    process_one(here, message())
    there.instead["GET"] = lambda: answered(400, b'{"message":"no jane@example.com"}')
    process_one(here, message())
    process_one(here, message("malformed"))
    own.gate().pause()
    process_one(here, message())
    here.outcome_stats.store()
    assert here.outcome_stats.totals() == {
        "delivered": 1,
        "skipped: no_email": 1,
        "retried": 1,
        "dead letter: rejected": 1,
        "dead letter: malformed_event": 1,
        "on_hold": 1,
    }
    assert ADDRESS not in json.dumps([vars(each) for each in caplog.records], default=str)
