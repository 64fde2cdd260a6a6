"""Prometheus metrics of a worker, at http://METRICS_HOST:METRICS_PORT/metrics. No personal data.

`Metrics` counts and measures what this process does, so sums over all workers are right.
`RedisCollector` reads gauges of the integration from Redis at a scrape. Every worker reports the
same gauges, so queries take `max by (integration)`. Each metric carries the label `integration`,
except the process_* metrics of Prometheus's client. docs/metrics.md lists all of them.
"""

import logging
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from threading import Lock, Thread
from typing import Any, get_args

import redis
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from redis.backoff import NoBackoff
from redis.retry import Retry as CommandRetry

from worker.delivery.outcome_stats import OutcomeStats
from worker.delivery.retry_policy import Bury, Decision, Done, Retry, Snooze
from worker.delivery.worker_registry import WorkerRegistry, WorkerState
from worker.gate.gate import HoldState
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.monitoring.metrics_server import serve
from worker.monitoring.redis_memory import memory_share
from worker.monitoring.status import letters_share, oldest_age, opt_outs_read, queued_messages
from worker.privacy import whereabouts
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.message import Message
from worker.redis_client.client import connect
from worker.redis_client.clock import redis_now
from worker.settings import Settings
from worker.signal.patch import NOT_UNDERSTOOD, SkipReason
from worker.wiring import gate_for

logger = logging.getLogger("signal_mailgun.metrics")

PREFIX = "signal_mailgun"
CACHE_SECONDS = 1.0  # one reading serves every scrape for so long
PATIENCE_SECONDS = 2.0  # a scrape waits so long for Redis; Prometheus's default timeout is 10 s
REDIS_TIMEOUTS: dict[str, Any] = {
    "socket_timeout": 1,
    "socket_connect_timeout": 1,
    "retry": CommandRetry(NoBackoff(), 0),
}

# Reasons of dead letters that were buried without an attempt.
UNASKED = (
    DeadLetterReason.UNREADABLE_MESSAGE,
    DeadLetterReason.UNKNOWN_TASK,
    DeadLetterReason.UNSUPPORTED_ENCODING,
    DeadLetterReason.TOO_LARGE,
    DeadLetterReason.TOO_MANY_EVENTS,
    DeadLetterReason.POISON_MESSAGE,
    DeadLetterReason.MALFORMED_EVENT,
    DeadLetterReason.MALFORMED_EMAIL,
)
OUTCOMES = (*OutcomeKind, *(f"skipped_{each}" for each in SkipReason), *UNASKED)
HOLDS = ("paused", "incident", "throttled", "unavailable")
UNKNOWN = "unknown"  # reason of dead letters that other programs put on the queue
ATTEMPTS = (1, 2, 3, 5, 10, 20, 50)
DELIVERY_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
REQUEST_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)


class Metrics:
    """Counters and histograms of this process; safe to share between threads."""

    def __init__(self, integration: str, clock: Callable[[], float] = time.time) -> None:
        """Start every outcome and reason at 0, so that Prometheus sees the first as an increase."""
        self.registry = CollectorRegistry()
        self._integration = integration
        self._clock = clock
        known: dict[str, Any] = {"namespace": PREFIX, "registry": self.registry}
        own = ("integration",)
        text = "Events handled, by outcome."
        self._outcomes = Counter("outcomes", text, [*own, "outcome"], **known)
        text = "Events that became dead letters."
        self._buried = Counter("buried", text, [*own, "reason"], **known)
        text = "Attempts that an event took until it was done or became a dead letter."
        self._attempts = Histogram("event_attempts", text, own, buckets=ATTEMPTS, **known)
        text = "Seconds from enqueue, or replay, until Mailgun holds what the event says."
        self._deliveries = Histogram(
            "delivery_duration_seconds", text, own, buckets=DELIVERY_SECONDS, **known
        )
        text = "Seconds that a request to Mailgun took; status none: no whole answer came."
        labels = (*own, "request", "status")
        self._requests = Histogram(
            "request_duration_seconds", text, labels, buckets=REQUEST_SECONDS, **known
        )
        text = (
            "Dead letters removed permanently, because they were beyond DEAD_LETTERS_MAX (number) "
            "or DEAD_LETTERS_MAX_DAYS (age)."
        )
        self._removed = Counter("dead_letters_removed", text, [*own, "bound"], **known)
        for bound in ("number", "age"):
            self._removed.labels(integration, bound)
        for outcome in OUTCOMES:
            self._outcomes.labels(integration, str(outcome))
        for reason in DeadLetterReason:
            self._buried.labels(integration, str(reason))
        self._attempts.labels(integration)
        self._deliveries.labels(integration)
        ProcessCollector(registry=self.registry)

    def handled(self, message: Message, decision: Decision, outcome: Outcome | None) -> None:
        """Count an event that was handled. Never raises, since an error here could lose an event.

        The message is as it was before this attempt was counted.
        """
        self._outcomes.labels(self._integration, outcome_name(decision, outcome)).inc()
        if isinstance(decision, Bury):
            self._buried.labels(self._integration, str(decision.reason)).inc()
        if outcome and not isinstance(decision, Retry | Snooze):
            self._attempts.labels(self._integration).observe(message.attempts + 1)
        if outcome and isinstance(decision, Done) and message.retry_window_start is not None:
            self._deliveries.labels(self._integration).observe(
                max(0.0, self._clock() - message.retry_window_start)
            )

    def put_aside(self, reason: str) -> None:
        """Count a message that was buried unread, for `reason`."""
        self._outcomes.labels(self._integration, reason).inc()
        self._buried.labels(self._integration, reason).inc()

    def letter_removed(self, bound: str) -> None:
        """Count a dead letter that was removed beyond a bound, `number` or `age`."""
        self._removed.labels(self._integration, bound).inc()

    def asked(self, request: str, status: int | None, seconds: float) -> None:
        """Record a request to Mailgun; its status is None if no complete answer came."""
        self._requests.labels(
            self._integration, request, f"{status // 100}xx" if status else "none"
        ).observe(seconds)


def outcome_name(decision: Decision, outcome: Outcome | None) -> str:
    """Return the label for how an event was handled: the outcome, or why there was no attempt."""
    match decision:
        case _ if outcome:
            return str(outcome.kind)
        case Bury(reason):
            return str(reason)
        case Done(result):
            return result.replace(": ", "_")
        case Retry() | Snooze():
            return str(OutcomeKind.CRASHED)  # only a crash delays an event without an outcome


@dataclass(frozen=True)
class IntegrationGauges:
    """The state of an integration that Prometheus scrapes.

    Attributes:
        queued: Messages on the queue.
        oldest_age: Age in seconds of the event at the queue's front; None if it does not say.
        delayed: Messages in the delay queue.
        dead_letters: Reason -> number of dead letters.
        hold: The state of the gate.
        opt_outs_age: Seconds since the last complete opt-out scan began; None if there was none.
        workers: State -> number of live workers.
        not_understood: What was not understood -> number of events, since the first worker.
        memory: Used share of Redis's maxmemory; None if it has no limit or INFO is not allowed.
        letters_share: Used share of DEAD_LETTERS_MAX; None if there is no such limit.
    """

    queued: int
    oldest_age: float | None
    delayed: int
    dead_letters: dict[str, int]
    hold: HoldState
    opt_outs_age: float | None = None
    workers: dict[str, int] = field(default_factory=dict)
    not_understood: dict[str, int] = field(default_factory=dict)
    memory: float | None = None
    letters_share: float | None = None


def read_standing(settings: Settings, store: "redis.Redis") -> IntegrationGauges:
    """Return the integration's state now.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    where = settings.signal_integration, settings.queue
    queued = queued_messages(settings, store)
    opt_outs = opt_outs_read(settings, store)
    letters = DeadLetterQueue(store, *where).cached_counts()
    return IntegrationGauges(
        queued=queued,
        oldest_age=oldest_age(store, settings.queue, redis_now(store)) if queued else 0.0,
        delayed=DelayQueue(store, *where).count(),
        dead_letters=letters,
        hold=gate_for(settings, store).state(),
        workers=Counts(
            each.state for each in WorkerRegistry(store, settings.signal_integration).alive()
        ),
        not_understood=OutcomeStats(store, settings.signal_integration).not_understood(),
        opt_outs_age=opt_outs.age if opt_outs else None,
        memory=memory_share(store),
        letters_share=letters_share(settings, sum(letters.values())),
    )


class RedisCollector(Collector):
    """Gauges of the integration. A Redis that is down or hangs neither fails nor delays scrapes."""

    def __init__(
        self,
        integration: str,
        read: Callable[[], IntegrationGauges],
        clock: Callable[[], float] = time.monotonic,
    ):
        """Collect with `read`, which may raise or hang; it never runs twice at the same time."""
        self._integration = integration
        self._read = read
        self._clock = clock
        self._lock = Lock()
        self._reader: Thread | None = None
        self._last: IntegrationGauges | None = None
        self._read_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Return no metrics; without this method, registering would read from Redis."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the current gauges."""
        return families(self._integration, self._current())

    def _current(self) -> IntegrationGauges | None:
        with self._lock:
            if (
                not (self._reader and self._reader.is_alive())
                and self._clock() - self._read_at >= CACHE_SECONDS
            ):
                self._reader = Thread(target=self._renew, name="metrics-reader", daemon=True)
                self._reader.start()
            reader = self._reader
        if reader:
            reader.join(PATIENCE_SECONDS)
        return None if reader and reader.is_alive() else self._last

    def _renew(self) -> None:
        try:
            self._last = self._read()
        except (redis.RedisError, OSError) as error:
            self._last = None
            logger.debug("Redis does not answer", extra={"error": type(error).__name__})
        except Exception as error:  # noqa: BLE001  a bug must not fail the scrape
            self._last = None
            logger.error(
                "the integration's metrics cannot be read", extra={"error": whereabouts(error)}
            )
        self._read_at = self._clock()


def families(integration: str, found: IntegrationGauges | None) -> Iterator[Metric]:
    """Yield the integration's gauges; if `found` is None, only that Redis does not answer."""
    yield _gauge(
        integration,
        "redis_up",
        "Whether Redis answers this worker.",
        float(found is not None),
    )
    if found is None:
        return
    one, several = partial(_gauge, integration), partial(_gauges, integration)
    yield one("queued_events", "Messages on the queue, each of one event or many.", found.queued)
    yield one(
        "oldest_queued_age_seconds",
        "Age of the event at the queue's front.",
        found.oldest_age,
    )
    yield one("delayed_events", "Events that wait for their next try.", found.delayed)
    yield several(
        "dead_letters",
        "Dead letters on the dead-letter queue.",
        "reason",
        _by_reason(found.dead_letters),
    )
    workers = {state: float(found.workers.get(state, 0)) for state in get_args(WorkerState)}
    yield several("workers", "Workers that are alive, by state.", "state", workers)
    held = {kind: float(kind == found.hold.kind) for kind in HOLDS}
    yield several("held", "Whether the integration is on hold, by kind of hold.", "kind", held)
    text = "Members with failures since the last success; many of them begin a hold."
    yield one("failing_members", text, found.hold.members)
    text = "Requests a second that are allowed now; left out while nothing limits them."
    yield one("pace_requests_per_second", text, found.hold.rate)
    text = (
        "Seconds since the last complete reading of the unsubscribed members began; "
        "left out if they are not read."
    )
    yield one("opt_outs_age_seconds", text, found.opt_outs_age)
    text = (
        "Share of maxmemory that Redis uses; at 1 producers are refused. "
        "Left out if there is no limit."
    )
    yield one("redis_memory_used_ratio", text, found.memory)
    text = (
        "Share of DEAD_LETTERS_MAX that is used; at 1 the oldest are removed permanently. "
        "Left out if it is 0."
    )
    yield one("dead_letters_bound_ratio", text, found.letters_share)
    yield _not_understood(integration, found.not_understood)


def _gauge(integration: str, name: str, text: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=["integration"])
    if value is not None:
        family.add_metric([integration], value)
    return family


def _gauges(integration: str, name: str, text: str, label: str, values: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=["integration", label])
    for key, value in values.items():
        family.add_metric([integration, key], value)
    return family


def _not_understood(integration: str, counts: dict[str, int]) -> Metric:
    text = "Events in which a consent or a time stamp was there and not understood."
    family = CounterMetricFamily(f"{PREFIX}_not_understood", text, labels=["integration", "what"])
    for what in NOT_UNDERSTOOD:
        family.add_metric([integration, what], counts.get(what, 0))
    return family


def _by_reason(counts: dict[str, int]) -> dict[str, float]:
    # Another program may have written anything as a reason, an address too: it counts as unknown.
    known = {str(reason): float(counts.get(reason, 0)) for reason in DeadLetterReason}
    return {**known, UNKNOWN: sum(counts.values()) - sum(known.values())}


def serve_metrics(metrics: Metrics, settings: Settings) -> int | None:
    """Let Prometheus scrape this process until it ends.

    Returns:
        The port; None if METRICS_PORT is 0, or no port can be listened on.
    """
    if not settings.metrics_port:
        return None
    disable_created_metrics()  # type: ignore[no-untyped-call]
    store = connect(settings.redis_url, **REDIS_TIMEOUTS)
    metrics.registry.register(
        RedisCollector(settings.signal_integration, lambda: read_standing(settings, store))
    )
    return serve(metrics.registry, settings.metrics_host, settings.metrics_port)
