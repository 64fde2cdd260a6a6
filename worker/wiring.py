"""Composition root: makes the objects of the program from its settings."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from worker.delivery.batch_policy import BatchPolicy
from worker.delivery.bulk_trust import BulkTrust
from worker.delivery.collaborators import OnHoldChange, ignore_hold_change
from worker.delivery.deliverer import Deliverer
from worker.delivery.late_writes import LateWrites
from worker.delivery.member_store import NoLedger
from worker.delivery.outcome_stats import OutcomeStats
from worker.delivery.processor import EventProcessor, OnProcessed
from worker.delivery.retry_policy import RetryPolicy
from worker.delivery.waiting_events import Waiting
from worker.delivery.worker_registry import WorkerRegistry
from worker.gate.config import GateConfig
from worker.gate.gate import Gate
from worker.greenlet_pool import Pool
from worker.mailgun.client import MailgunClient, OnRequest, ignore_request
from worker.members.ledger import Ledger
from worker.members.merge import SubscriptionRules
from worker.members.opt_outs import OptOutScanner
from worker.members.page_import import PageImporter
from worker.members.sync import ListSync
from worker.privacy import digest
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.in_flight import in_flight_keys
from worker.queue.message import Limits
from worker.redis_client.client import connect
from worker.settings import LEAST_IN_HAND, ROOM_TO_GROW, Settings
from worker.signal.preset import load_preset

if TYPE_CHECKING:
    import redis

LEASE_MARGIN_SECONDS = 10.0
# The most requests for single members of batches that a process has under way: as many as without
# batches, where each event in hand has one.
MOST_AT_ONCE = ROOM_TO_GROW * LEAST_IN_HAND


def utc_now() -> datetime:
    """Return the time of the wall clock, in UTC."""
    return datetime.now(UTC)


def processor_for(
    settings: Settings,
    on_processed: OnProcessed,
    on_request: OnRequest,
    on_hold_change: OnHoldChange,
    clock: Callable[[], datetime] = utc_now,
) -> EventProcessor:
    """Return the processor of events for these settings. It connects to nothing yet.

    Raises:
        SettingsError: A setting is wrong.
        PresetError: The preset cannot be read.
    """
    store = connect(settings.redis_url)
    where = settings.signal_integration, settings.queue
    delivery = deliverer_for(settings, store, clock, on_request, on_hold_change)
    delay_queue = DelayQueue(store, *where)
    ledger = (
        delivery.member_store
        if isinstance(delivery.member_store, Ledger)
        else ledger_for(settings, delivery.gate)
    )
    return EventProcessor(
        preset=load_preset(settings.mailgun_preset),
        delivery=delivery,
        delay_queue=delay_queue,
        waiting=Waiting(ledger, delay_queue, in_flight_keys(settings.signal_integration)),
        dead_letters=DeadLetterQueue(store, *where),
        outcome_stats=OutcomeStats(store, settings.signal_integration),
        worker_registry=WorkerRegistry(store, settings.signal_integration),
        retry_policy=RetryPolicy(
            settings.retry_base_seconds,
            settings.retry_max_delay_seconds,
            settings.retry_max_attempts,
            settings.retry_max_age_hours * 3600,
        ),
        digest_key=settings.digest_key,
        clock=clock,
        jitter=random.random,
        on_processed=on_processed,
    )


def deliverer_for(
    settings: Settings,
    store: "redis.Redis",
    clock: Callable[[], datetime],
    on_request: OnRequest = ignore_request,
    on_hold_change: OnHoldChange = ignore_hold_change,
) -> Deliverer:
    """Return what delivers patches to Mailgun.

    Raises:
        SettingsError: A setting is wrong.
    """
    gate = gate_for(settings, store)
    return Deliverer(
        mailgun=mailgun_for(settings, on_request),
        gate=gate,
        member_store=NoLedger(gate)
        if settings.mailgun_write_mode == "overwrite"
        else ledger_for(settings, gate),
        rules=SubscriptionRules(settings.mailgun_subscribe_new, settings.mailgun_resubscribe),
        batch_policy=BatchPolicy(
            settings.mailgun_batch_size, settings.mailgun_batch_linger_ms / 1000
        ),
        bulk_trust=BulkTrust(store, settings.signal_integration),
        pool=Pool(min(MOST_AT_ONCE, settings.worker_concurrency)),
        clock=clock,
        on_hold_change=on_hold_change,
        lag=settings.mailgun_read_lag_seconds,
    )


def gate_for(settings: Settings, store: "redis.Redis") -> Gate:
    """Return the gate of the integration: its circuit breaker and rate limiter."""
    return Gate(store, settings.signal_integration, gate_config_for(settings), random.random)


def limits_for(settings: Settings) -> Limits:
    """Return the limits of the messages that a worker fetches."""
    return Limits(
        settings.message_max_bytes, settings.message_max_events, settings.message_max_returns
    )


def gate_config_for(settings: Settings) -> GateConfig:
    """Return the settings of the gate.

    When it is fetched, an event is charged with the read of its member, if each member is read, and
    its share of a full batch's write. So no read is sent whose write would have to wait.
    """
    reads = settings.mailgun_write_mode == "merge" and not settings.trusts_ledger
    return GateConfig(
        base=settings.retry_base_seconds,
        max_delay=settings.retry_max_delay_seconds,
        rate_limit=settings.mailgun_rate_limit,
        incident_threshold=settings.incident_threshold,
        rejected_threshold=settings.incident_rejected_threshold,
        incident_probe=settings.incident_probe_seconds,
        look_lease=settings.longest_delivery_seconds,
        event_cost=reads + 1.0 / settings.mailgun_batch_size,
    )


def ledger_for(settings: Settings, gate: Gate) -> Ledger:
    """Return the ledger of the integration.

    A member's lease is longer than any delivery, so no delivery loses it on the way.
    """
    return Ledger(
        gate,
        settings.signal_integration,
        settings.digest_key,
        lease_seconds=settings.longest_delivery_seconds + LEASE_MARGIN_SECONDS,
        cache_seconds=settings.mailgun_member_cache_seconds,
        days=settings.ledger_days,
        settle_seconds=2 * settings.mailgun_read_timeout_seconds,
        refresh_seconds=settings.mailgun_opt_out_refresh_seconds
        if settings.trusts_ledger
        else None,
        lag_seconds=settings.mailgun_read_lag_seconds,
        list_mark=list_mark_for(settings),
    )


def list_mark_for(settings: Settings) -> str:
    """Return a mark of the mailing list, the same for each worker that delivers to it.

    It is keyed as the members' digests are: under another SIGNAL_DIGEST_KEY the ledger finds none
    of the members that were read, so they count as those of another list.
    """
    named = f"{settings.mailgun_api_base_url} {settings.mailgun_list_address or ''}"
    return digest(named, settings.digest_key)


def late_writes_for(settings: Settings, delivery: Deliverer) -> LateWrites:
    """Return the check of writes whose end is not known."""
    return LateWrites(delivery, ledger_for(settings, delivery.gate))


def opt_outs_for(settings: Settings, delivery: Deliverer) -> OptOutScanner:
    """Return the scan of members who unsubscribed.

    Its lease is longer than reading a page takes.
    """
    ledger = ledger_for(settings, delivery.gate)
    page_importer = PageImporter(delivery.mailgun, ledger, delivery.clock, delivery.on_hold_change)
    lease = settings.longest_delivery_seconds / 2 + LEASE_MARGIN_SECONDS
    return OptOutScanner(page_importer, settings.mailgun_opt_out_refresh_seconds, lease)


def list_sync_for(settings: Settings, delivery: Deliverer) -> ListSync:
    """Return the sync of the whole list."""
    opt_outs = opt_outs_for(settings, delivery)
    return ListSync(opt_outs.page_importer, opt_outs)


def mailgun_for(settings: Settings, on_request: OnRequest = ignore_request) -> MailgunClient:
    """Return the client of the mailing list.

    Args:
        settings: The settings of the integration.
        on_request: Called after each request.

    Raises:
        SettingsError: A setting is wrong.
    """
    return MailgunClient(
        base_url=settings.mailgun_api_base_url,
        key=settings.mailgun_key,
        list_address=settings.list_address,
        connect_timeout=settings.mailgun_connect_timeout_seconds,
        read_timeout=settings.mailgun_read_timeout_seconds,
        on_request=on_request,
    )
