"""From settings to working parts: the one place that knows how everything is put together."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from worker.delivery.batch_policy import Batching
from worker.delivery.batch_write import OnHoldChange, ignore_hold_change
from worker.delivery.deliverer import Delivery
from worker.delivery.late_writes import LookAfter
from worker.delivery.member_store import Overwriting
from worker.delivery.outcome_stats import Tally
from worker.delivery.processor import Handling, Measured, unmeasured
from worker.delivery.retry_policy import Patience
from worker.delivery.waiting_events import Waiting
from worker.delivery.worker_registry import Roll
from worker.gate.config import Rules
from worker.gate.gate import Flow
from worker.mailgun.client import Mailgun, Observed, unobserved
from worker.members.ledger import Ledger
from worker.members.merge import Subscribing
from worker.members.opt_outs import OptOuts
from worker.members.page_import import Census
from worker.queue.dead_letters import DeadLetters
from worker.queue.delay_queue import Parking
from worker.queue.in_flight import in_flight_keys
from worker.queue.message import Limits
from worker.redis_client.client import connect
from worker.settings import Settings
from worker.signal.preset import load_preset

if TYPE_CHECKING:
    import redis

LEASE_MARGIN_SECONDS = 10.0
MOST_AT_ONCE = 64  # threads of a process that ask Mailgun for the members of a batch one by one


def utc_now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def handling_for(
    settings: Settings,
    clock: Callable[[], datetime] = utc_now,
    measured: Measured = unmeasured,
    observed: Observed = unobserved,
    told: OnHoldChange = ignore_hold_change,
) -> Handling:
    """How events are handled under `settings`. Raises `SettingsError` or `PresetError`; connects to nothing yet.

    `measured` is told how each event's handling ended, `observed` of each request to Mailgun, `told` of each hold that begins
    or ends.
    """
    store = connect(settings.redis_url)
    where = settings.signal_integration, settings.queue
    delivery, parking = delivery_for(settings, store, clock, observed, told), Parking(store, *where)
    ledger = delivery.desk if isinstance(delivery.desk, Ledger) else ledger_for(settings, delivery.flow)
    return Handling(
        preset=load_preset(settings.mailgun_preset),
        delivery=delivery,
        parking=parking,
        waiting=Waiting(ledger, parking, in_flight_keys(settings.signal_integration)),
        dead_letters=DeadLetters(store, *where),
        tally=Tally(store, settings.signal_integration),
        roll=Roll(store, settings.signal_integration),
        patience=Patience(
            settings.retry_base_seconds,
            settings.retry_max_delay_seconds,
            settings.retry_max_attempts,
            settings.retry_max_age_hours * 3600,
        ),
        digest_key=settings.digest_key,
        clock=clock,
        chance=random.random,
        measured=measured,
    )


def delivery_for(
    settings: Settings,
    store: "redis.Redis",
    clock: Callable[[], datetime],
    observed: Observed = unobserved,
    told: OnHoldChange = ignore_hold_change,
) -> Delivery:
    """How a patch is brought to Mailgun under `settings`. Raises `SettingsError`."""
    flow = flow_for(settings, store)
    return Delivery(
        mailgun=mailgun_for(settings, observed),
        flow=flow,
        desk=Overwriting(flow) if settings.mailgun_write_mode == "overwrite" else ledger_for(settings, flow),
        rules=Subscribing(settings.mailgun_subscribe_new, settings.mailgun_resubscribe),
        batching=Batching(settings.mailgun_batch_size, settings.mailgun_batch_linger_ms / 1000),
        pool=ThreadPoolExecutor(min(MOST_AT_ONCE, settings.worker_concurrency), "asking"),
        clock=clock,
        told=told,
        lag=settings.mailgun_read_lag_seconds,
    )


def flow_for(settings: Settings, store: "redis.Redis") -> Flow:
    """The hold and the pace of the integration."""
    return Flow(store, settings.signal_integration, rules_for(settings), random.random)


def limits_for(settings: Settings) -> Limits:
    """What a worker takes at most."""
    return Limits(settings.message_max_bytes, settings.message_max_events, settings.message_max_returns)


def rules_for(settings: Settings) -> Rules:
    """What the settings say of holds and pace."""
    return Rules(
        base=settings.retry_base_seconds,
        max_delay=settings.retry_max_delay_seconds,
        rate_limit=settings.mailgun_rate_limit,
        incident_threshold=settings.incident_threshold,
        rejected_threshold=settings.incident_rejected_threshold,
        incident_probe=settings.incident_probe_seconds,
        look_lease=settings.longest_delivery_seconds,
        event_cost=settings.requests_per_event,
    )


def ledger_for(settings: Settings, flow: Flow) -> Ledger:
    """The ledger of the integration. A lock's lease is longer than any delivery, so it is never lost while one is under way."""
    return Ledger(
        flow,
        settings.signal_integration,
        settings.digest_key,
        lease_seconds=settings.longest_delivery_seconds + LEASE_MARGIN_SECONDS,
        cache_seconds=settings.mailgun_member_cache_seconds,
        days=settings.ledger_days,
        settle_seconds=2 * settings.mailgun_read_timeout_seconds,
        refresh_seconds=settings.mailgun_opt_out_refresh_seconds if settings.trusts_ledger else None,
        lag_seconds=settings.mailgun_read_lag_seconds,
    )


def look_after_for(settings: Settings, delivery: Delivery) -> LookAfter:
    """How writes whose end is not known are looked after."""
    return LookAfter(delivery, ledger_for(settings, delivery.flow))


def opt_outs_for(settings: Settings, delivery: Delivery) -> OptOuts:
    """How those who unsubscribed are read. A lease is longer than any page takes."""
    ledger = ledger_for(settings, delivery.flow)
    census = Census(delivery.mailgun, ledger, delivery.clock, delivery.told)
    lease = settings.longest_delivery_seconds / 2 + LEASE_MARGIN_SECONDS
    return OptOuts(census, settings.mailgun_opt_out_refresh_seconds, lease)


def mailgun_for(settings: Settings, observed: Observed = unobserved) -> Mailgun:
    """The mailing list that `settings` name. Raises `SettingsError`."""
    return Mailgun(
        base_url=settings.mailgun_api_base_url,
        key=settings.mailgun_key,
        list_address=settings.list_address,
        connect_timeout=settings.mailgun_connect_timeout_seconds,
        read_timeout=settings.mailgun_read_timeout_seconds,
        observed=observed,
    )
