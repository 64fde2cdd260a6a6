"""Gauges of the integration for Prometheus, read from Redis at a scrape.

Every worker reports the same gauges, so queries take `max by (integration)`.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import get_args

import redis
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from worker.delivery.outcome_stats import OutcomeStats
from worker.delivery.worker_registry import WorkerRegistry, WorkerState
from worker.gate.holds import HoldState
from worker.monitoring.redis_memory import memory_share
from worker.monitoring.status import (
    by_known_reason,
    letters_share,
    oldest_age,
    opt_outs_read,
    queued_messages,
)
from worker.privacy import whereabouts
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.redis_client.clock import redis_now
from worker.settings import Settings
from worker.signal.patch import NOT_UNDERSTOOD
from worker.wiring import gate_for

logger = logging.getLogger("signal_mailgun.metrics")

PREFIX = "signal_mailgun"
CACHE_SECONDS = 1.0  # one reading serves every scrape for so long
WAIT_SECONDS = 2.0  # a scrape waits so long for Redis; Prometheus's default timeout is 10 s
HOLDS = ("paused", "incident", "throttled", "unavailable")


@dataclass(frozen=True)
class IntegrationGauges:
    """The state of an integration that Prometheus scrapes.

    Fields that are not described here mean the same as those of `Status`.

    Attributes:
        opt_outs_age: Seconds since the last complete opt-out scan began; None if there was none.
        workers: State -> number of live workers.
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


@dataclass(frozen=True)
class Gauge:
    """A gauge with one value, or with one for each value of a label.

    Attributes:
        name: Its name, without the prefix.
        help: What Prometheus shows of it.
        value: Returns its value, None to leave it out; of a labelled one, the values by label.
        label: The name of the label; "" if it has none.
        family: The kind of metric that Prometheus knows it as.
    """

    name: str
    help: str
    value: Callable[[IntegrationGauges], float | Mapping[str, float] | None]
    label: str = ""
    family: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily


GAUGES = (
    Gauge(
        "queued_events",
        "Messages on the queue, each of one event or many.",
        lambda read: read.queued,
    ),
    Gauge(
        "oldest_queued_age_seconds",
        "Age of the event at the queue's front.",
        lambda read: read.oldest_age,
    ),
    Gauge("delayed_events", "Events that wait for their next try.", lambda read: read.delayed),
    Gauge(
        "failing_members",
        "Members with failures since the last success; many of them begin a hold.",
        lambda read: read.hold.members,
    ),
    Gauge(
        "pace_requests_per_second",
        "Requests a second that are allowed now; left out while nothing limits them.",
        lambda read: read.hold.rate,
    ),
    Gauge(
        "opt_outs_age_seconds",
        "Seconds since the last complete reading of the unsubscribed members began; "
        "left out if they are not read.",
        lambda read: read.opt_outs_age,
    ),
    Gauge(
        "redis_memory_used_ratio",
        "Share of maxmemory that Redis uses; at 1 producers are refused. "
        "Left out if there is no limit.",
        lambda read: read.memory,
    ),
    Gauge(
        "dead_letters_bound_ratio",
        "Share of DEAD_LETTERS_MAX that is used; at 1 the oldest are removed permanently. "
        "Left out if it is 0.",
        lambda read: read.letters_share,
    ),
    Gauge(
        "dead_letters",
        "Dead letters on the dead-letter queue.",
        lambda read: by_known_reason(read.dead_letters),
        "reason",
    ),
    Gauge(
        "workers",
        "Workers that are alive, by state.",
        lambda read: {state: read.workers.get(state, 0) for state in get_args(WorkerState)},
        "state",
    ),
    Gauge(
        "on_hold",
        "Whether the integration is on hold, by kind of hold.",
        lambda read: {kind: float(kind == read.hold.kind) for kind in HOLDS},
        "kind",
    ),
    Gauge(
        "not_understood",
        "Events in which a consent or a time stamp was there and not understood.",
        lambda read: {what: read.not_understood.get(what, 0) for what in NOT_UNDERSTOOD},
        "what",
        CounterMetricFamily,
    ),
)
REDIS_UP = Gauge("redis_up", "Whether Redis answers this worker.", lambda _: 1.0)


def read_gauges(settings: Settings, store: "redis.Redis") -> IntegrationGauges:
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
        workers=Counter(
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
        return gauge_families(self._integration, self._current())

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
            reader.join(WAIT_SECONDS)
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


def gauge_families(integration: str, gauges: IntegrationGauges | None) -> Iterator[Metric]:
    """Yield the integration's gauges; if `gauges` is None, only that Redis does not answer."""
    yield _family(integration, REDIS_UP, float(gauges is not None))
    if gauges is not None:
        for each in GAUGES:
            yield _family(integration, each, each.value(gauges))


def _family(integration: str, gauge: Gauge, value: float | Mapping[str, float] | None) -> Metric:
    labels = ["integration", *filter(None, [gauge.label])]
    family = gauge.family(f"{PREFIX}_{gauge.name}", gauge.help, labels=labels)
    values = value if isinstance(value, Mapping) else {"": value}
    for label, each in values.items():
        if each is not None:
            family.add_metric([integration, *filter(None, [label])], each)
    return family
