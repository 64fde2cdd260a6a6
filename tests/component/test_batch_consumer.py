"""What a worker has in hand: gathered, handled and acknowledged together – on a real server, Celery's loop played by hand."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from tests.adapters import HoldsMembers
from tests.integrations import DIGEST_KEY, NOW, OwnIntegration
from tests.servers import eventually
from worker.consumer import batch_consumer, fetched_message, task_events
from worker.consumer.batch_consumer import BatchConsumer
from worker.consumer.fetched_message import FetchedMessage
from worker.consumer.load import Load, Weight
from worker.consumer.room import Room
from worker.delivery.outcome_stats import OutcomeStats
from worker.delivery.processor import EventProcessor
from worker.delivery.retry_policy import RetryPolicy
from worker.delivery.worker_registry import WorkerRegistry
from worker.members.ledger import Ledger
from worker.queue.codec import encode
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.in_flight import put_back
from worker.queue.intake import parse_raw
from worker.queue.message import DELIVER_MANY, Message
from worker.queue.poison import ALONE_AFTER
from worker.sandbox.request import Request
from worker.signal.preset import load_preset


@dataclass
class Later:
    """Something that Celery's timer was asked to do."""

    act: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Loop:
    """Celery's consumer, as far as it is used: its timer and its loop do things only when the test says so."""

    soon: list[Callable[[], None]] = field(default_factory=list)
    laters: list[Later] = field(default_factory=list)
    sent_events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    enabled: bool = True
    groups: tuple[str, ...] = ()
    buffer_limit: int = 24
    takes: bool = True

    @property
    def event_dispatcher(self) -> "Loop":
        return self

    @property
    def timer(self) -> "Loop":
        return self

    @property
    def channel(self) -> "Loop":
        return self

    @property
    def qos(self) -> "Loop":
        return self

    @property
    def task_consumer(self) -> "Loop":
        return self

    def consuming_from(self, _queue: str) -> bool:
        return self.takes

    def send(self, event: str, **fields: Any) -> None:
        self.sent_events.append((event, fields))

    def call_soon(self, act: Callable[[], None]) -> None:
        self.soon.append(act)

    def call_after(self, _seconds: float, act: Callable[[], None]) -> Later:
        self.laters.append(Later(act))
        return self.laters[-1]

    def drop(self, tag: str) -> None:
        self.dropped.append(tag)

    def run(self) -> None:
        """The loop goes round once."""
        while self.soon:
            self.soon.pop(0)()


@dataclass
class Worker:
    """One worker on a Mailgun with members, and the loop that it works in."""

    own: OwnIntegration
    there: HoldsMembers
    loop: Loop
    consuming: BatchConsumer
    processor: EventProcessor

    def take(self, *messages: Message, room: int = 1000) -> list[str]:
        """Put these on the queue and let the worker take what it has room for; the tags."""
        if messages:
            self.own.redis.lpush(
                self.own.queue, *(encode(each, self.own.queue) for each in messages)
            )
        before = set(self.unacked())
        taken = self.own.take(room).messages
        tags = sorted(set(self.unacked()) - before, key=lambda each: int(each.rpartition(".")[2]))
        for tag, raw in zip(tags, taken, strict=True):
            message = parse_raw(raw, str)
            self.add(message, tag, charged=max(1, message.events))
        return tags

    def add(self, message: Message, tag: str, weight: Weight = Weight(), charged: int = 0) -> None:  # noqa: B008  a tuple
        """Hand a message over as the transport does."""
        fetched = FetchedMessage(message, tag, self.loop.drop, monotonic(), weight, charged)
        self.consuming.add([fetched])

    def unacked(self) -> list[str]:
        return [str(each) for each in self.own.redis.hkeys(self.own.unacked_keys[1])]

    def settled(self) -> None:
        """Everything that was handed to a greenlet has ended, and the loop has gone round."""
        eventually(
            lambda: not self.unacked() or (not self.consuming._gathered and self.loop.soon),
            what="an end",
        )
        eventually(self._has_sent_events, what="the task events of what ended")

    def _has_sent_events(self) -> bool:
        self.loop.run()
        return len(self.consuming.in_hand) <= len(self.consuming._gathered)


@pytest.fixture
def at_work(own: OwnIntegration) -> Callable[..., Worker]:
    def start(batch: int = 100, **held: Any) -> Worker:
        there = HoldsMembers(**held)
        ledger = own.ledger()
        processor = EventProcessor(
            preset=load_preset(None),
            delivery=own.delivery(there.asking(), ledger=ledger, batch=batch),
            delay_queue=DelayQueue(own.redis, own.name, own.queue),
            waiting=own.waiting(ledger),
            dead_letters=DeadLetterQueue(own.redis, own.name, own.queue),
            outcome_stats=OutcomeStats(own.redis, own.name),
            worker_registry=WorkerRegistry(own.redis, own.name),
            retry_policy=RetryPolicy(),
            digest_key=DIGEST_KEY,
            clock=lambda: NOW,
            jitter=lambda: 0.5,
            on_processed=lambda *_: None,
        )
        loop = Loop()
        it = BatchConsumer(
            processor,
            own.queue,
            own.unacked_keys,
            load=Load(),
            room=Room(4, 4),
            most_bytes=100_000,
            visibility_seconds=60,
        )
        it.bind(loop)
        return Worker(own, there, loop, it, processor)

    return start


def event(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "type": "identify",
        "traits": {"email": f"p{number}@example.com", "plan": "pro"},
        **fields,
    }


def message(number: int, **fields: Any) -> Message:
    return Message(
        id=f"m{number}",
        args=(event(number),),
        kind="identify",
        enqueued_at=NOW.timestamp(),
        **fields,
    )


def names(sent_events: Sequence[tuple[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    return [(name, fields["uuid"]) for name, fields in sent_events]


def test_messages_are_gathered_until_the_batch_is_full(at_work: Callable[..., Worker]) -> None:
    it = at_work(batch=3)
    it.take(message(1), message(2))
    assert it.there.calls == []
    it.take(message(3))
    it.settled()
    assert it.there.entries() == [["p1@example.com", "p2@example.com", "p3@example.com"]]
    assert it.unacked() == []
    assert it.loop.laters[0].cancelled


def test_batch_that_has_lingered_is_delivered(at_work: Callable[..., Worker]) -> None:
    it = at_work(batch=3)
    it.take(message(1), message(2))
    (linger,) = it.loop.laters
    linger.act()
    it.settled()
    assert it.there.entries() == [["p1@example.com", "p2@example.com"]]
    assert it.unacked() == []


def test_batch_gathers_on_while_many_others_are_under_way(
    at_work: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = at_work(batch=3)
    monkeypatch.setattr(batch_consumer, "MOST_BATCHES", 1)
    released = threading.Event()

    def hang(_: Request) -> None:
        released.wait(20)

    it.there.meanwhile[1] = hang
    it.take(message(1))
    it.loop.laters[0].act()
    eventually(lambda: it.there.calls, what="a batch under way")
    it.take(message(2))
    it.loop.laters[1].act()
    it.take(message(3))
    assert len(it.there.calls) == 1
    released.set()
    eventually(lambda: not it.consuming.in_hand.batches, what="the end of the first batch")
    linger = it.loop.laters[2]
    linger.act()
    it.settled()
    assert it.unacked() == []
    assert it.there.entries()[-1] == ["p2@example.com", "p3@example.com"]


def test_full_batch_waits_for_no_other(
    at_work: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = at_work(batch=2)
    monkeypatch.setattr(batch_consumer, "MOST_BATCHES", 0)
    it.take(message(1))
    it.loop.laters[0].act()
    it.take(message(2))
    it.settled()
    assert it.there.entries() == [["p1@example.com", "p2@example.com"]]


def test_batch_size_of_one_never_lingers(at_work: Callable[..., Worker]) -> None:
    it = at_work(batch=1)
    it.take(message(1), message(2))
    eventually(lambda: not it.unacked())
    assert it.loop.laters == []
    assert it.there.entries() == []
    assert sorted(each.address for each in it.there.list) == ["p1@example.com", "p2@example.com"]


def test_ended_message_makes_room_and_sends_its_task_events(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=2)
    tags = it.take(message(1), message(2))
    it.settled()
    assert sorted(it.loop.dropped) == sorted(tags)
    assert names(it.loop.sent_events) == [
        ("task-received", "m1"),
        ("task-received", "m2"),
        ("task-succeeded", "m1"),
        ("task-succeeded", "m2"),
    ]
    received, ended = it.loop.sent_events[0][1], it.loop.sent_events[2][1]
    assert (received["args"], received["kwargs"], received["name"]) == (
        "identify",
        "{}",
        "signal.deliver",
    )
    assert ended["result"] == "'delivered'"
    assert ended["runtime"] >= 0


@pytest.mark.parametrize(("enabled", "groups"), [(False, ()), (True, ("worker",))])
def test_task_events_that_no_monitor_asked_for_are_neither_made_nor_sent(
    at_work: Callable[..., Worker],
    enabled: bool,  # noqa: FBT001
    groups: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Message] = []

    def make(ended: Message, _: Any) -> list[Any]:
        made.append(ended)
        return []

    monkeypatch.setattr(task_events, "endings_of", make)
    it = at_work(batch=1)
    it.loop.enabled, it.loop.groups = enabled, groups
    it.take(Message(id="b", args=(["malformed"],), task=DELIVER_MANY))
    it.settled()
    assert it.processor.dead_letters.count() == 1
    assert (made, it.loop.sent_events) == ([], [])


def test_bundle_is_one_message_and_each_of_its_events_ends_by_itself(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=100)
    it.there.world.refuse(["p2@example.com"])
    events = [event(1), "malformed", event(2), {"type": "page"}, event(3, messageId="own")]
    it.take(
        Message(
            id="b", args=(events,), kind="5 events", enqueued_at=NOW.timestamp(), task=DELIVER_MANY
        )
    )
    it.consuming.flush()
    it.settled()
    assert it.unacked() == []
    assert sorted(each.address for each in it.there.list) == ["p1@example.com", "p3@example.com"]
    letters = {
        each.message.id: each.letter.reason for each in it.processor.dead_letters.oldest_first()
    }
    assert letters == {"b.1": "malformed_event", "b.2": "rejected"}
    text = (
        "2 delivered, 1 dead letter: malformed_event, 1 dead letter: rejected, 1 skipped: no_email"
    )
    assert names(it.loop.sent_events) == [
        ("task-received", "b"),
        ("task-failed", "b"),
        ("task-received", "b.1"),
        ("task-failed", "b.1"),
        ("task-received", "b.2"),
        ("task-failed", "b.2"),
    ]
    assert it.loop.sent_events[1][1]["result"] == f"'{text}'"
    it.processor.worker_registry.store("host:1", "consuming")
    [ended] = it.processor.worker_registry.tries("b")
    assert (ended.outcome, ended.kind) == (f"bundle: {text}", "5 events")


def test_delivered_events_of_a_bundle_send_no_task_events_of_their_own(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=100)
    it.take(Message(id="b", args=([event(each) for each in range(50)],), task=DELIVER_MANY))
    it.consuming.flush()
    it.settled()
    assert names(it.loop.sent_events) == [("task-received", "b"), ("task-succeeded", "b")]


def test_empty_bundle_is_done_at_once_and_its_permit_is_released(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=100)
    it.take(Message(id="b", args=([],), kind="0 events", task=DELIVER_MANY))
    it.consuming.flush()
    it.settled()
    assert it.unacked() == []
    assert it.processor.dead_letters.count() == 0
    assert (names(it.loop.sent_events)[-1], it.loop.sent_events[-1][1]["result"]) == (
        ("task-succeeded", "b"),
        "'no events'",
    )
    assert it.processor.delivery.gate._unused == it.processor.delivery.gate.rules.event_cost


def test_a_full_bundle_does_not_linger(at_work: Callable[..., Worker]) -> None:
    it = at_work(batch=3)
    bundle = Message(id="b", args=([event(each) for each in range(3)],), task=DELIVER_MANY)
    it.take(bundle)
    it.settled()
    assert it.loop.laters == []
    assert len(it.there.list) == 3


def test_an_empty_bundle_ends(at_work: Callable[..., Worker]) -> None:
    it = at_work(batch=100)
    it.take(Message(id="b", args=([],), task=DELIVER_MANY))
    it.consuming.flush()
    it.settled()
    assert it.unacked() == []
    assert it.loop.sent_events[-1][1]["result"] == "'no events'"


def test_event_goes_back_to_the_front_of_its_queue_when_redis_is_away(
    at_work: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = at_work(batch=2)
    monkeypatch.setattr(batch_consumer, "REDIS_PAUSE_SECONDS", 0.0)

    def away(*_: object) -> Any:
        raise redis.ConnectionError

    monkeypatch.setattr(EventProcessor, "process", away)
    it.take(message(1), message(2))
    it.settled()
    assert it.unacked() == []
    assert it.own.redis.llen(it.own.queue) == 2
    assert len(it.loop.dropped) == 2
    monkeypatch.undo()
    it.take()
    it.settled()
    assert len(it.there.list) == 2


@pytest.mark.parametrize("error", [KeyError, SystemExit])
def test_bug_in_the_processor_costs_no_event(
    at_work: Callable[..., Worker],
    error: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = at_work(batch=1)
    monkeypatch.setattr(batch_consumer, "REDIS_PAUSE_SECONDS", 0.0)

    def crash(*_: object) -> Any:
        raise error("p1@example.com")

    monkeypatch.setattr(EventProcessor, "process", crash)
    it.take(message(1))
    it.settled()
    assert it.own.redis.llen(it.own.queue) == 1
    assert "p1@example.com" not in caplog.text


@pytest.mark.parametrize("made_by", ["received", "endings_of"])
def test_task_event_that_cannot_be_made_holds_up_no_message(
    at_work: Callable[..., Worker],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    made_by: str,
) -> None:
    it = at_work(batch=1)

    def crash(*_: object) -> Any:
        raise KeyError("p1@example.com")

    monkeypatch.setattr(task_events, made_by, crash)
    it.take(message(1), message(2))
    it.settled()
    assert (it.unacked(), it.consuming.in_hand.messages()) == ([], [])
    assert "Flower was not told" in caplog.text
    assert "p1@example.com" not in caplog.text


def test_event_without_a_result_is_not_acknowledged(
    at_work: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = at_work(batch=1)
    monkeypatch.setattr(batch_consumer, "REDIS_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(EventProcessor, "process", lambda *_: [])
    it.take(message(1))
    it.settled()
    assert it.own.redis.llen(it.own.queue) == 1


def test_event_that_redis_did_not_requeue_is_put_back_by_housekeeping(
    at_work: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = at_work(batch=1)
    monkeypatch.setattr(batch_consumer, "REDIS_PAUSE_SECONDS", 0.0)

    is_away = threading.Event()
    is_away.set()

    def handles(*_: object) -> Any:
        raise redis.ConnectionError

    def puts_back(*arguments: Any, **options: Any) -> None:
        if is_away.is_set():
            raise redis.ConnectionError
        put_back(*arguments, **options)

    monkeypatch.setattr(EventProcessor, "process", handles)
    monkeypatch.setattr(batch_consumer, "put_back", puts_back)
    it.take(message(1))
    it.settled()
    with pytest.raises(redis.ConnectionError):
        it.consuming.repeats.run()
    assert it.own.redis.llen(it.own.queue) == 0
    is_away.clear()
    it.consuming.repeats.run()
    it.consuming.repeats.run()
    assert (it.unacked(), it.own.redis.llen(it.own.queue)) == ([], 1)


def test_visibility_of_messages_in_hand_is_extended_and_of_no_others(
    at_work: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = at_work(batch=3)
    tags = it.take(message(1), message(2))
    index = it.own.unacked_keys[0]
    it.own.redis.zadd(index, dict.fromkeys(tags, 0.0))
    it.consuming.extend_visibility()
    assert it.own.redis.zscore(index, tags[0]) == 0.0  # not so soon
    monkeypatch.setattr(it.consuming, "_kept_at", 0.0)
    it.own.redis.zadd(index, {"another program's": 0.0})
    it.consuming.extend_visibility()
    assert all(float(it.own.redis.zscore(index, each) or 0) > 1e9 for each in tags)
    assert it.own.redis.zscore(index, "another program's") == 0.0


def test_visibility_of_ended_messages_is_not_extended(
    at_work: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = at_work(batch=1)
    it.take(message(1))
    it.settled()
    monkeypatch.setattr(it.consuming, "_kept_at", 0.0)
    it.consuming.extend_visibility()
    assert it.own.redis.zcard(it.own.unacked_keys[0]) == 0


def test_stopping_worker_delivers_its_batch_and_waits_for_running_ones(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=2)
    entered, go = threading.Event(), threading.Event()

    def slow(_call: object) -> None:
        entered.set()
        assert go.wait(20)

    it.there.meanwhile[1] = slow
    it.take(message(1), message(2), message(3))
    assert entered.wait(20)
    finished = threading.Thread(target=it.consuming.drain, args=(20,))
    finished.start()
    finished.join(0.2)
    assert finished.is_alive()
    go.set()
    finished.join(20)
    assert not finished.is_alive()
    assert it.unacked() == []
    assert len(it.there.list) == 3
    assert len(it.loop.dropped) == 3


def test_consumer_bound_anew_fetches_from_the_new_connection(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=2)
    it.take(message(1))
    before, it.loop = it.loop, replace(it.loop, soon=[], sent_events=[], dropped=[], laters=[])
    it.consuming.bind(it.loop)
    it.take(message(2))
    it.settled()
    assert len(it.there.list) == 2
    assert len(before.dropped) == len(it.loop.dropped) == 1
    assert it.loop.buffer_limit > 24


# What waited for a locked member


def event_of_hot_member(number: int) -> Message:
    event = {"type": "identify", "traits": {"email": "hot@example.com", "plan": f"{number}"}}
    return Message(
        id=f"m{number}", args=(event,), kind="identify", enqueued_at=NOW.timestamp() + number / 1000
    )


def first_request_hangs(it: Worker) -> tuple[threading.Event, threading.Event]:
    """Mailgun answers the first request once the second event is set; the first one tells that it has come."""
    entered, go = threading.Event(), threading.Event()

    def slow(_call: object) -> None:
        entered.set()
        assert go.wait(20)

    it.there.meanwhile[1] = slow
    return entered, go


def events_waiting_for_hot_member(it: Worker, count: int) -> tuple[Ledger, list[Any]]:
    """So many events wait for a member that another delivery has."""
    ledger = it.processor.waiting.ledger
    leases: Any = ledger.acquire(["hot@example.com"])
    it.take(*map(event_of_hot_member, range(count)))
    it.consuming.flush()
    eventually(
        lambda: it.processor.delay_queue.count() == count and not it.unacked(),
        what="events that wait",
    )
    it.settled()
    assert it.there.calls == []
    return ledger, leases


def test_events_waiting_for_a_member_are_adopted_on_release_as_one_write(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=1)
    ledger, leases = events_waiting_for_hot_member(it, 40)
    it.loop.sent_events.clear()
    ledger.release(leases, [], 0)
    it.consuming.adopt()
    eventually(lambda: not it.unacked(), what="an end")
    it.settled()
    assert [each.method for each in it.there.calls] == ["GET", "POST"]
    assert it.there.vars_of("hot@example.com")["plan"] == "39"
    assert it.processor.delay_queue.count() == 0
    assert [name for name, _ in it.loop.sent_events] == ["task-received"] * 40 + [
        "task-succeeded"
    ] * 40
    assert it.consuming.descriptions() == []


def test_delivery_that_releases_a_member_adopts_the_events_waiting_for_it(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=1)
    _, (lease,) = events_waiting_for_hot_member(it, 5)
    it.own.redis.delete(lease.keys[0])
    it.take(event_of_hot_member(5))
    eventually(lambda: not it.unacked() and not it.processor.delay_queue.count(), what="an end")
    it.settled()
    assert it.there.vars_of("hot@example.com")["plan"] == "5"
    assert [each.method for each in it.there.calls] == ["GET", "POST"]  # the others are older


def test_cancelled_consumer_leaves_waiting_events_to_other_workers(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=1)
    ledger, leases = events_waiting_for_hot_member(it, 3)
    ledger.release(leases, [], 0)
    it.loop.takes = False
    it.consuming.adopt()
    assert (it.unacked(), it.processor.delay_queue.count()) == ([], 3)


def test_adopted_events_count_as_in_hand_until_they_end(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=1)
    ledger, leases = events_waiting_for_hot_member(it, 40)
    ledger.release(leases, [], 0)
    entered, go = first_request_hangs(it)
    it.consuming.adopt()
    assert entered.wait(20)
    load = it.consuming._load
    assert load.messages == 40
    assert load.events == 1  # one request is for all of them: no other member waits for it
    weights = [each.weight for each in it.consuming.in_hand.messages()]
    assert all(each.bytes > 100 for each in weights)
    assert load.bytes == sum(each.bytes for each in weights)
    go.set()
    it.settled()
    assert it.consuming._load.messages == 0


def test_no_event_is_adopted_beside_a_message_that_must_be_alone(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=1)
    ledger, leases = events_waiting_for_hot_member(it, 3)
    entered, go = first_request_hangs(it)
    suspect = message(1, returns=ALONE_AFTER)
    it.own.redis.lpush(it.own.queue, encode(suspect, it.own.queue))
    it.own.take()
    [tag] = it.unacked()
    it.add(suspect, tag, Weight(alone=True))
    assert entered.wait(20)
    ledger.release(leases, [], 0)
    it.consuming.adopt()
    assert (it.unacked(), it.processor.delay_queue.count()) == ([tag], 3)
    go.set()
    it.settled()
    it.consuming.adopt()
    it.settled()
    assert (it.unacked(), it.processor.delay_queue.count()) == ([], 0)


def test_messages_of_an_earlier_channel_count_beside_those_of_the_new_one(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=1)
    entered, go = first_request_hangs(it)
    it.take(message(1))
    assert entered.wait(20)
    assert it.consuming._load.messages == 0  # its channel counts it
    it.consuming.bind(it.loop)
    assert it.consuming._load.messages == 1
    go.set()
    it.settled()
    it.consuming.bind(it.loop)
    assert it.consuming._load.messages == 0


def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_consumer, "REDIS_PAUSE_SECONDS", 0.0)

    def refuse(_act: Callable[[], object]) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(batch_consumer, "hub", lambda: SimpleNamespace(spawn=refuse))


def test_adopted_event_without_a_thread_is_back_on_the_queue_at_once(
    at_work: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = at_work(batch=1)
    ledger, leases = events_waiting_for_hot_member(it, 3)
    ledger.release(leases, [], 0)
    no_more_threads(monkeypatch)
    it.consuming.adopt()
    it.loop.run()
    assert (it.unacked(), it.own.redis.llen(it.own.queue), it.processor.delay_queue.count()) == (
        [],
        3,
        0,
    )
    assert (it.consuming.descriptions(), it.consuming._load.messages) == ([], 0)


def test_fetched_message_without_a_thread_is_back_on_the_queue_at_once(
    at_work: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = at_work(batch=1)
    no_more_threads(monkeypatch)
    tags = it.take(message(1), message(2))
    it.loop.run()
    assert (it.unacked(), it.own.redis.llen(it.own.queue)) == ([], 2)
    assert it.loop.dropped == tags
    assert it.consuming.has_ended()


def test_adopted_event_that_cannot_be_parsed_is_back_on_the_queue(
    at_work: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = at_work(batch=1)
    ledger, leases = events_waiting_for_hot_member(it, 2)
    ledger.release(leases, [], 0)

    def no_memory(*_: object) -> Any:
        raise MemoryError

    monkeypatch.setattr(fetched_message, "parse_raw", no_memory)
    with pytest.raises(MemoryError):
        it.consuming.adopt()
    on_queue = [
        parse_raw(str(raw), str).returns for raw in it.own.redis.lrange(it.own.queue, 0, -1)
    ]
    assert (it.unacked(), on_queue) == ([], [1, 1])


def test_waiting_events_are_adopted_only_when_their_bytes_fit(
    at_work: Callable[..., Worker],
) -> None:
    it = at_work(batch=1)
    ledger, leases = events_waiting_for_hot_member(it, 3)
    ledger.release(leases, [], 0)
    entered, go = first_request_hangs(it)
    it.own.redis.lpush(it.own.queue, encode(message(1), it.own.queue))
    it.own.take()
    [tag] = it.unacked()
    it.add(message(1), tag, Weight(bytes=99_900))
    assert entered.wait(20)
    it.consuming.adopt()
    assert it.processor.delay_queue.count() == 3
    go.set()
    it.settled()

    def is_taken_on() -> bool:
        it.consuming.adopt()
        return not it.processor.delay_queue.count()

    eventually(is_taken_on, what="room again")
    it.settled()
    assert it.unacked() == []
