"""What the settings say reaches the parts that act on it: handling as assembled for a worker, with Mailgun's far side faked."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import urllib3

from tests.adapters import Far, HoldsOneMember, Sent, answered, asking
from tests.integrations import OwnIntegration, process_one
from tests.servers import RedisServer
from worker.delivery.collaborators import ignore_hold_change
from worker.delivery.event_delivery import Buried, Rescheduled
from worker.delivery.processor import EventProcessor
from worker.delivery.retry_policy import Done
from worker.mailgun.client import ignore_request
from worker.queue.codec import decode
from worker.queue.message import Message
from worker.settings import Settings
from worker.wiring import list_mark_for, opt_outs_for, processor_for

EVENT = {"type": "identify", "traits": {"email": "jane@example.com", "plan": "pro"}}
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
MESSAGE = Message(id="m-1", args=(EVENT,), kind="identify", enqueued_at=NOW.timestamp() - 60)
SLOW_MACHINE_SECONDS = 60

Assembled = Callable[..., EventProcessor]


@pytest.fixture
def assembled(own: OwnIntegration, server: RedisServer) -> Assembled:
    """How events are handled under these settings, when `far` answers for Mailgun."""

    def made(far: Far, **settings: Any) -> EventProcessor:
        given = {
            "mailgun_api_key": "key",
            "mailgun_list_address": "newsletter@mg.example.com",
            **settings,
        }
        parts = processor_for(
            Settings(_env_file=None, redis_url=server.url, signal_integration=own.name, **given),
            on_processed=lambda *_: None,
            on_request=ignore_request,
            on_hold_change=ignore_hold_change,
            clock=lambda: NOW,
        )
        return replace(
            parts, delivery=replace(parts.delivery, mailgun=asking(far)), jitter=lambda: 0.0
        )

    return made


def always(status: int) -> Far:
    return Far(lambda _: answered(status, b"{}"))


def raising(error: Exception) -> Far:
    """Mailgun's client breaks with a bug of our own."""

    def answer(_: Sent) -> urllib3.HTTPResponse:
        raise error

    return Far(answer)


def test_an_event_is_merged_unless_overwriting_is_set(assembled: Assembled) -> None:
    held = {
        "address": "jane@example.com",
        "name": "Jane",
        "subscribed": True,
        "vars": {"company": "Acme"},
    }
    for mode, variables in (
        ("merge", {"company": "Acme", "plan": "pro"}),
        ("overwrite", {"plan": "pro"}),
    ):
        there = HoldsOneMember(held)
        assert process_one(assembled(there.far, mailgun_write_mode=mode), MESSAGE) == Done(
            "delivered"
        )
        assert there.held
        assert there.held["vars"] == variables


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 2), (1, 4), (9, 1024), (40, 1800)])
def test_retry_delay_is_between_half_the_doubled_base_and_the_ceiling(
    own: OwnIntegration, assembled: Assembled, attempts: int, seconds: float
) -> None:
    parts = assembled(always(503))
    before = own.now()
    process_one(parts, replace(MESSAGE, attempts=attempts))
    due = parts.delay_queue.next_due()
    assert due
    assert seconds - 0.001 <= due - before <= seconds + SLOW_MACHINE_SECONDS


@pytest.mark.parametrize(
    ("settings", "attempts", "handled"),
    [
        ({}, 48, Rescheduled),
        ({}, 49, Buried),
        ({"retry_max_attempts": 3}, 1, Rescheduled),
        ({"retry_max_attempts": 3}, 2, Buried),
    ],
)
def test_retry_window_ends_with_the_last_attempt(
    assembled: Assembled, settings: dict[str, Any], attempts: int, handled: type
) -> None:
    assert isinstance(
        process_one(assembled(always(503), **settings), replace(MESSAGE, attempts=attempts)),
        handled,
    )


@pytest.mark.parametrize(
    ("settings", "hours", "handled"),
    [
        ({}, 23.9, Rescheduled),
        ({}, 24, Buried),
        ({"retry_max_age_hours": 1}, 0.9, Rescheduled),
        ({"retry_max_age_hours": 1}, 1.1, Buried),
    ],
)
def test_retry_window_ends_its_hours_after_the_first_attempt(
    own: OwnIntegration, assembled: Assembled, settings: dict[str, Any], hours: float, handled: type
) -> None:
    own.redis.hset(f"signal:{own.name}:hold", "open_seconds", 1000 + hours * 3600)
    old = replace(MESSAGE, enqueued_at=0.0, first_tried=1000.0)
    assert isinstance(process_one(assembled(always(503), **settings), old), handled)


def test_first_attempt_of_an_old_event_does_not_end_its_retry_window(
    own: OwnIntegration, assembled: Assembled
) -> None:
    own.redis.hset(f"signal:{own.name}:hold", "open_seconds", 1e6)
    assert isinstance(
        process_one(assembled(always(503)), replace(MESSAGE, enqueued_at=0.0)), Rescheduled
    )
    assert isinstance(
        process_one(assembled(always(429)), replace(MESSAGE, enqueued_at=0.0)), Rescheduled
    )


@pytest.mark.parametrize(
    "error", [ValueError("jane@example.com"), RecursionError(), KeyError(1), MemoryError()]
)
def test_bug_delays_the_event_and_quotes_nothing(
    assembled: Assembled, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    parts = assembled(raising(error))
    handled = process_one(parts, MESSAGE)
    [(raw, _)] = parts.delay_queue.waiting()
    assert isinstance(handled, Rescheduled)
    assert handled.why.startswith(f"crashed: {type(error).__name__} at test_wiring.py:")
    assert decode(raw)[0].args == (EVENT,)
    assert "jane@example.com" not in caplog.text


def test_bug_in_reading_an_event_costs_no_event(
    assembled: Assembled, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("worker.delivery.processor.parse_event", bug)
    parts = assembled(always(200))
    assert isinstance(process_one(parts, MESSAGE), Rescheduled)
    assert parts.delay_queue.count() == 1


def test_bug_that_stays_makes_the_event_a_dead_letter(assembled: Assembled) -> None:
    parts = assembled(raising(KeyError("x")), retry_max_attempts=1)
    assert isinstance(process_one(parts, MESSAGE), Buried)
    [buried] = parts.dead_letters.oldest_first()
    assert (buried.letter.reason, buried.letter.status) == ("retries_exhausted", None)
    assert buried.message.args == (EVENT,)


@pytest.mark.parametrize("mode", ["merge", "overwrite"])
def test_settings_reach_the_opt_out_scan_and_its_lease_outlives_a_page(
    own: OwnIntegration, assembled: Assembled, mode: str
) -> None:
    given: dict[str, Any] = {
        "mailgun_write_mode": mode,
        "ledger_days": 7,
        "mailgun_opt_out_refresh_seconds": 30,
    }
    settings = Settings(_env_file=None, signal_integration=own.name, **given)
    reading = opt_outs_for(settings, assembled(always(503), **given).delivery)
    assert reading.refresh_seconds == 30
    assert reading.page_importer.ledger.days == 7
    longest_page = (
        settings.mailgun_connect_timeout_seconds + 3 * settings.mailgun_read_timeout_seconds
    )
    assert longest_page < reading.lease_seconds < 2 * longest_page


def test_mark_of_the_list_follows_its_address_region_and_digest_key() -> None:
    def mark(address: str, region: str = "https://api.mailgun.net", key: str | None = None) -> str:
        given: dict[str, Any] = {
            "mailgun_list_address": address,
            "mailgun_api_base_url": region,
            "signal_digest_key": key,
        }
        return list_mark_for(Settings(_env_file=None, **given))

    assert mark("news@example.com") == mark("News@Example.com")
    assert mark("news@example.com") != mark("other@example.com")
    assert mark("news@example.com") != mark("news@example.com", "https://api.eu.mailgun.net")
    assert mark("news@example.com") != mark("news@example.com", key="secret")
