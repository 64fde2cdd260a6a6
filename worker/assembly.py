"""From settings to working parts: the one place that knows how everything is put together."""

import random
from collections.abc import Callable
from datetime import UTC, datetime

from worker.delivery.attempt import Delivery
from worker.delivery.dead_letters import DeadLetters
from worker.delivery.decision import Patience
from worker.delivery.handling import Handling
from worker.delivery.merge import Subscribing
from worker.delivery.parking import Parking
from worker.delivery.tally import Tally
from worker.mailgun.client import Mailgun
from worker.settings import Settings
from worker.signal.preset import load_preset
from worker.store import connect


def utc_now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def handling_for(settings: Settings, clock: Callable[[], datetime] = utc_now) -> Handling:
    """How events are handled under `settings`. Raises `SettingsError` or `PresetError`; connects to nothing yet."""
    store = connect(settings.redis_url)
    where = settings.signal_integration, settings.queue
    return Handling(
        delivery=delivery_for(settings, clock),
        parking=Parking(store, *where),
        dead_letters=DeadLetters(store, *where),
        tally=Tally(store, settings.signal_integration),
        patience=Patience(
            settings.retry_base_seconds,
            settings.retry_max_delay_seconds,
            settings.retry_max_attempts,
            settings.retry_max_age_hours * 3600,
        ),
        digest_key=settings.digest_key,
        clock=clock,
        chance=random.random,
    )


def delivery_for(settings: Settings, clock: Callable[[], datetime] = utc_now) -> Delivery:
    """How an event is brought to Mailgun under `settings`. Raises `SettingsError` or `PresetError`."""
    return Delivery(
        mailgun=mailgun_for(settings),
        preset=load_preset(settings.mailgun_preset),
        rules=Subscribing(settings.mailgun_subscribe_new, settings.mailgun_resubscribe),
        overwrite=settings.mailgun_write_mode == "overwrite",
        clock=clock,
    )


def mailgun_for(settings: Settings) -> Mailgun:
    """The mailing list that `settings` name. Raises `SettingsError`."""
    return Mailgun(
        base_url=settings.mailgun_api_base_url,
        key=settings.mailgun_key,
        list_address=settings.list_address,
        connect_timeout=settings.mailgun_connect_timeout_seconds,
        read_timeout=settings.mailgun_read_timeout_seconds,
    )
