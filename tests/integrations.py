"""One integration on a real server: its gate, ledger and queue.

Its time passes when the test says so.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from worker.consumer.atomic_fetch import FETCH
from worker.delivery.batch_policy import BatchPolicy
from worker.delivery.bulk_trust import BulkTrust
from worker.delivery.deliverer import Deliverer
from worker.delivery.event_delivery import Result
from worker.delivery.member_store import NoLedger
from worker.delivery.permits import Permits
from worker.delivery.processor import EventProcessor
from worker.delivery.waiting_events import Waiting
from worker.gate.config import UNAVAILABLE_MEMBERS, WINDOW_SECONDS, GateConfig
from worker.gate.gate import Gate
from worker.gate.reports import report_of
from worker.greenlet_pool import Pool
from worker.mailgun.client import MailgunClient
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.ledger import Ledger
from worker.members.merge import SubscriptionRules
from worker.members.merge_plan import TimedPatch
from worker.members.record import EventOrder
from worker.members.record_json import decode, encode
from worker.queue import codec
from worker.queue.delay_queue import DelayQueue
from worker.queue.message import TASK, Message
from worker.signal.patch import Patch

if TYPE_CHECKING:
    import redis

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)
DIGEST_KEY = b"test"
numbers = count(1)
NEARLY_ONE = 0.9999  # jitter at its maximum: a hold of its full length

# The fields that hold a moment, epoch seconds by Redis's clock.
MOMENTS = {
    "hold": ("not_before", "throttled_since", "read_at", "since", "look_at", "paused", "ticked_at"),
    "pace": (
        *("at", "limit_at", "ramp_from", "paid_at", "lesson_at", "counted_at", "noise_at"),
        *("episode_at", "window_at", "careful_at", "turn_at", "refused_at"),
    ),
    "member": ("copy_at", "seen_at", "late_at", "yes_at"),
    "bulk": ("alone_until", "held_at"),
    "opt_outs": (
        *("since", "fresh_from", "ended", "began", "running_until", "resume_at", "forgot"),
        "moved_at",
    ),
}


@dataclass(frozen=True)
class Taken:
    """The result of a worker's fetch from the queue.

    Attributes:
        wait: Seconds after which to look again, if nothing may be fetched; else 0.
        messages: The messages.
    """

    wait: float
    messages: list[str]


@dataclass(frozen=True)
class OwnIntegration:
    """One integration.

    `later(60)` makes a minute pass at once. Real time passes too, so no test may rely on a
    standstill.
    """

    redis: "redis.Redis"
    name: str

    def gate(self, *, chance: float = NEARLY_ONE, **rules: float) -> Gate:
        """Return its gate; `rules` replace those of the tests."""
        return Gate(self.redis, self.name, rules_with(**rules), lambda: chance)

    def ledger(self, gate: Gate | None = None, **options: Any) -> Ledger:
        """Return its ledger; `options` replace those of the tests."""
        given: dict[str, Any] = {
            "lease_seconds": 60,
            "cache_seconds": 0,
            "days": 30,
            "settle_seconds": 0,
            "refresh_seconds": None,
            "lag_seconds": 0,
            "list_mark": "",
            **options,
        }
        return Ledger(gate or self.gate(), self.name, DIGEST_KEY, **given)

    def waiting(self, ledger: Ledger | None = None) -> Waiting:
        """Return its events that wait for locked members."""
        return Waiting(
            ledger or self.ledger(),
            DelayQueue(self.redis, self.name, self.queue),
            self.unacked_keys,
        )

    def delivery(
        self,
        mailgun: MailgunClient,
        *,
        ledger: Ledger | None = None,
        rules: SubscriptionRules | None = None,
        overwrite: bool = False,
        batch: int = 1,
        trust: BulkTrust | None = None,
        told: Callable[[str, str], None] = lambda _kind, _why: None,
    ) -> Deliverer:
        """Return the deliverer that brings its patches to `mailgun`."""
        ledger = ledger or self.ledger()
        return Deliverer(
            mailgun=mailgun,
            gate=ledger.gate,
            member_store=NoLedger(ledger.gate) if overwrite else ledger,
            rules=rules or SubscriptionRules(),
            batch_policy=BatchPolicy(batch),
            bulk_trust=trust or BulkTrust(self.redis, self.name, longest_look=0.3),
            pool=Pool(4),
            clock=lambda: datetime.now(UTC),
            on_hold_change=told,
            lag=ledger.lag_seconds,
        )

    def fill(self, count: int) -> None:
        """Put `count` more messages on the queue; "1" is the oldest of them."""
        self.redis.lpush(self.queue, *(str(each + 1) for each in range(count)))

    def put(self, *ids: str, task: str = TASK) -> None:
        """Put messages with these ids on the queue, each with an empty event, in this order."""
        messages = (Message(id=each, args=({},), task=task) for each in ids)
        self.redis.lpush(self.queue, *(codec.encode(each, self.queue) for each in messages))

    def queued_ids(self) -> list[str]:
        """Return the ids of the messages on the queue, the next one first."""
        lines = cast("list[str]", self.redis.lrange(self.queue, 0, -1))
        return [json.loads(each)["headers"]["id"] for each in reversed(lines)]

    def take(self, want: int = 1, *, rules: GateConfig | None = None) -> Taken:
        """Fetch as a worker with room for `want` events does."""
        keys = (*self.gate().keys, self.queue, *self.unacked_keys, f"signal:{self.name}:fetched_at")
        config = (rules or rules_with()).to_json()
        tag = f"tag-{time.monotonic_ns()}"
        wait, messages, _paid, _tags = cast(
            "Any", self.redis.eval(FETCH, len(keys), *keys, config, str(want), tag, "1000000")
        )
        return Taken(float(wait), messages)

    def later(self, seconds: float) -> None:
        """Make `seconds` pass: move all stored times back."""
        for kind, fields in MOMENTS.items():
            for key in self.redis.scan_iter(f"signal:{self.name}:{kind}*"):
                for field in fields:
                    if self.redis.hexists(key, field):
                        self.redis.hincrbyfloat(key, field, -seconds)
        self._age_passes(int(seconds))
        for key in self.redis.scan_iter(f"signal:{self.name}:member:*"):
            self._age_record(key, seconds)
        due = cast(
            "list[tuple[str, float]]",
            self.redis.zrange(self.look_after_key, 0, -1, withscores=True),
        )
        for address, at in due:
            self.redis.zadd(self.look_after_key, {address: at - seconds})
        for field in ("began", "running_until", "resume_at"):
            if self.redis.hexists(f"signal:{self.name}:sync", field):
                self.redis.hincrbyfloat(f"signal:{self.name}:sync", field, -seconds)
        if synced := self.redis.get(f"signal:{self.name}:synced"):
            self.redis.set(f"signal:{self.name}:synced", float(str(synced)) - seconds)

    def _age_passes(self, seconds: int) -> None:
        """Move back the counts of passed requests, which the pace keeps by the second."""
        key, kept = f"signal:{self.name}:pace", int(2 * WINDOW_SECONDS + 5)
        counts = {name: each for name, each in self.pace().items() if name.startswith("in:")}
        if counts:
            self.redis.hdel(key, *counts)
            moved: dict[Any, Any] = {
                f"in:{(int(name.removeprefix('in:')) - seconds) % kept}": each
                for name, each in counts.items()
            }
            self.redis.hset(key, mapping=moved)
            self.redis.hincrby(key, "second", -seconds)

    def _age_record(self, key: str, seconds: float) -> None:
        """Move back when the member's record was learned; the events' own times stay."""
        record = decode(str(self.redis.hget(key, "record") or ""), None)
        no, lifted_at, absent, late = record.no, record.lifted_at, record.absent, record.late
        aged = record._replace(
            no=no and no._replace(since=no.since - seconds),
            lifted_at=lifted_at and lifted_at - seconds,
            absent=absent
            and absent._replace(since=absent.since - seconds, last=absent.last - seconds),
            late=late and late._replace(at=late.at - seconds),
        )
        self.redis.hset(key, "record", encode(aged))

    @property
    def look_after_key(self) -> str:
        """The sorted set of members to look at again, by time."""
        return f"signal:{self.name}:look_after"

    def now(self) -> float:
        """Return Redis's clock, in epoch seconds."""
        seconds, microseconds = self.redis.time()
        return seconds + microseconds / 1e6

    @property
    def queue(self) -> str:
        """Its queue of events."""
        return f"mailgun.{self.name}"

    @property
    def unacked_keys(self) -> tuple[str, str]:
        """The index and the messages of what was fetched and not acknowledged."""
        return f"signal:{self.name}:unacked_index", f"signal:{self.name}:unacked"

    def hold(self) -> dict[str, str]:
        """Return what is stored of the hold."""
        return cast("dict[str, str]", self.redis.hgetall(f"signal:{self.name}:hold"))

    def pace(self) -> dict[str, str]:
        """Return what is stored of the pace."""
        return cast("dict[str, str]", self.redis.hgetall(f"signal:{self.name}:pace"))


def deliver_one(deliverer: Deliverer, patch: Patch, at: float) -> Outcome:
    """Deliver one patch, whose event has the time `at`, and return its outcome."""
    return deliver_all(deliverer, [TimedPatch(patch, EventOrder(at))])[0]


def deliver_all(deliverer: Deliverer, patches: Sequence[TimedPatch]) -> list[Outcome]:
    """Deliver patches for which no request was charged yet, and return their outcomes."""
    with Permits(deliverer.gate) as permits:
        return deliverer.deliver(patches, permits)


def delay_one(queue: DelayQueue, message: Message, seconds: float) -> float:
    """Delay a message for so many seconds, and return when it is due."""
    return queue.add([(message, seconds)])[0]


def process_one(processor: EventProcessor, message: Message) -> Result:
    """Process one event, and return its result."""
    return process_all(processor, [message])[0]


def process_all(processor: EventProcessor, messages: Sequence[Message]) -> list[Result]:
    """Process events for which no request was charged yet, and return their results."""
    with Permits(processor.delivery.gate) as permits:
        return processor.process(messages, permits)


def rules_with(**rules: float) -> GateConfig:
    """Return the gate's configuration for tests; `rules` replace its values.

    Its times are so long that no test's own duration matters.
    """
    given: dict[str, Any] = {
        "base": 100,
        "max_delay": 1000,
        "rate_limit": 0,
        "incident_threshold": 3,
        "rejected_threshold": 50,
        "incident_probe": 600,
        "look_lease": 500,
        "event_cost": 1.0,
        **rules,
    }
    return GateConfig(**given)


def answered(
    gate: Gate,
    kind: OutcomeKind,
    *,
    hint: float = 0,
    requests: int = 1,
    times: int = 1,
    members: int | str = 1,
    written: bool = True,
) -> list[str]:
    """Report `times` outcomes of this kind and return what each began or ended ("" for nothing).

    Args:
        gate: The gate.
        kind: How the requests ended.
        hint: Seconds that Mailgun told to wait; 0: no hint.
        requests: The number of requests of each outcome.
        times: How many outcomes are report_of.
        members: How many members each outcome is about, each of them new; or the one member.
        written: Whether the requests were writes.
    """
    outcome = Outcome(
        kind, requests=requests, wait_until=NOW + timedelta(seconds=hint) if hint else None
    )

    def about() -> list[str]:
        return (
            [members] if isinstance(members, str) else [f"m{next(numbers)}" for _ in range(members)]
        )

    reports = (
        [report_of(outcome, f"{kind} (test)", NOW, about(), written=written)] for _ in range(times)
    )
    return [
        change.kind if (change := next(iter(gate.record(each)), None)) else "" for each in reports
    ]


def looked(gate: Gate, kind: OutcomeKind, *, hint: float = 0) -> str:
    """Report an incident check that ended so and return what it began or ended."""
    outcome = Outcome(kind, requests=1, wait_until=NOW + timedelta(seconds=hint) if hint else None)
    return gate.record_incident_check(outcome, f"{kind} (the list)", NOW)


def hold_for_unavailability(gate: Gate) -> None:
    """Report so many members without an answer that the integration is on hold."""
    assert answered(gate, OutcomeKind.UNAVAILABLE, times=UNAVAILABLE_MEMBERS)[-1] == "unavailable"


def hold_for_incident(gate: Gate) -> None:
    """Report so many refused requests that an incident begins."""
    assert (
        answered(gate, OutcomeKind.UNAUTHORIZED, times=gate.rules.incident_threshold)[-1]
        == "incident"
    )
