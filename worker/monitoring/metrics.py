"""Prometheus metrics of a worker, at http://METRICS_HOST:METRICS_PORT/metrics. No personal data.

`Metrics` counts and measures what this process does, so sums over all workers are right. The state
of the whole integration is added from `integration_gauges.py`. Each metric carries the label
`integration`, except the process_* metrics of Prometheus's client. docs/metrics.md lists all of
them.
"""

import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from redis.backoff import NoBackoff
from redis.retry import Retry as CommandRetry

from worker.delivery.retry_policy import AGAIN, Bury, Decision, Done, Retry, Snooze
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.monitoring.integration_gauges import PREFIX, RedisCollector, read_gauges
from worker.monitoring.metrics_server import serve
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.message import Message
from worker.redis_client.client import connect
from worker.settings import Settings
from worker.signal.patch import SkipReason

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
BOUNDS = ("number", "age")
ATTEMPTS = (1, 2, 3, 5, 10, 20, 50)
DELIVERY_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
REQUEST_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)


class Metrics:
    """Counters and histograms of this process; safe to share between threads.

    The child of each label is looked up once: to look it up costs as much as to count.
    """

    def __init__(self, integration: str, clock: Callable[[], float] = time.time) -> None:
        """Start every outcome and reason at 0, so that Prometheus sees the first as an increase."""
        self.registry = CollectorRegistry()
        self._integration = integration
        self._clock = clock
        self._outcomes = self._counter("outcomes", "Events handled, by outcome.", "outcome")
        self._buried = self._counter("buried", "Events that became dead letters.", "reason")
        self._removed = self._counter(
            "dead_letters_removed",
            "Dead letters removed permanently, because they were beyond DEAD_LETTERS_MAX (number) "
            "or DEAD_LETTERS_MAX_DAYS (age).",
            "bound",
        )
        self._attempts = self._histogram(
            "event_attempts",
            "Attempts that an event took until it was done or became a dead letter.",
            ATTEMPTS,
        )
        self._deliveries = self._histogram(
            "delivery_duration_seconds",
            "Seconds from enqueue, or replay, until Mailgun holds what the event says.",
            DELIVERY_SECONDS,
        )
        self._requests = self._histogram(
            "request_duration_seconds",
            "Seconds that a request to Mailgun took; status none: no whole answer came.",
            REQUEST_SECONDS,
            "request",
            "status",
        )
        self._start_at_zero()
        ProcessCollector(registry=self.registry)

    def _counter(self, name: str, help: str, label: str) -> Callable[[str], Counter]:
        labels = ("integration", label)
        counter = Counter(name, help, labels, namespace=PREFIX, registry=self.registry)
        return cache(partial(counter.labels, self._integration))

    def _histogram(
        self, name: str, help: str, buckets: tuple[float, ...], *labels: str
    ) -> Callable[..., Histogram]:
        names = ("integration", *labels)
        histogram = Histogram(
            name, help, names, buckets=buckets, namespace=PREFIX, registry=self.registry
        )
        return cache(partial(histogram.labels, self._integration))

    def _start_at_zero(self) -> None:
        for outcome in OUTCOMES:
            self._outcomes(str(outcome))
        for reason in DeadLetterReason:
            self._buried(str(reason))
        for bound in BOUNDS:
            self._removed(bound)
        self._attempts()
        self._deliveries()

    def count_event(self, message: Message, decision: Decision, outcome: Outcome | None) -> None:
        """Count an event that was handled. Never raises, since an error here could lose an event.

        The message is as it was before this attempt was counted.
        """
        self._outcomes(outcome_name(decision, outcome)).inc()
        if isinstance(decision, Bury):
            self._buried(str(decision.reason)).inc()
        if outcome and not isinstance(decision, AGAIN):
            self._attempts().observe(message.attempts + 1)
        if outcome and isinstance(decision, Done) and message.retry_window_start is not None:
            self._deliveries().observe(max(0.0, self._clock() - message.retry_window_start))

    def count_put_aside(self, reason: str) -> None:
        """Count a message that was buried unread, for `reason`."""
        self._outcomes(reason).inc()
        self._buried(reason).inc()

    def count_removed_letter(self, bound: str) -> None:
        """Count a dead letter that was removed beyond a bound, `number` or `age`."""
        self._removed(bound).inc()

    def record_request(self, request: str, status: int | None, seconds: float) -> None:
        """Record a request to Mailgun; its status is None if no complete answer came."""
        self._requests(request, f"{status // 100}xx" if status else "none").observe(seconds)


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
        RedisCollector(settings.signal_integration, lambda: read_gauges(settings, store))
    )
    return serve(metrics.registry, settings.metrics_host, settings.metrics_port)
