"""What Prometheus is told: what is counted, the gauges while Redis is there, slow or away, and the port that it is told at."""

import socket
import struct
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any, cast
from wsgiref.simple_server import make_server

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.adapters import Far, answered, asking
from tests.integrations import OwnIntegration, delay_one
from tests.integrations import answered as reported
from tests.servers import eventually, free_port
from worker.delivery import retry_policy as deciding
from worker.delivery.retry_policy import Bury, Done, Retry, RetryPolicy, Snooze, decide
from worker.gate.holds import HoldState
from worker.mailgun.member import Member
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.monitoring import integration_gauges, metrics_server
from worker.monitoring.integration_gauges import IntegrationGauges, RedisCollector, read_gauges
from worker.monitoring.metrics import OUTCOMES, Metrics, serve_metrics
from worker.queue.codec import encode
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.message import Message
from worker.settings import Settings
from worker.signal.patch import SkipReason

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)
OPEN = HoldState(None, "", None, None, None)
STANDING = IntegrationGauges(
    queued=3,
    oldest_age=12.5,
    delayed=2,
    dead_letters={"rejected": 4},
    hold=OPEN,
    workers={"consuming": 2},
)


def samples(text: str) -> dict[str, float]:
    """Every sample under its name and labels but `integration`, such as `buried_total rejected`."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = [
                value for name, value in sorted(sample.labels.items()) if name != "integration"
            ]
            found[" ".join([sample.name.removeprefix("signal_mailgun_"), *labels])] = sample.value
    return found


def scraped(registry: CollectorRegistry) -> dict[str, float]:
    """What a scrape of `registry` gives."""
    return samples(generate_latest(registry).decode())


def page(port: int, path: str = "/metrics") -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    text = answer.read().decode()
    connection.close()
    return text


def settings_with(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


def event(**fields: Any) -> Message:
    return Message(id="m-1", args=({},), retry_window_start=1000.0, **fields)


# --- what a process counts


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_outcome_is_counted_under_its_own_name(kind: OutcomeKind) -> None:
    metrics = Metrics("default")
    before = scraped(metrics.registry)
    decision = decide(Outcome(kind), deciding.RetryState(0, 0, 0), RetryPolicy(), now=NOW, jitter=0)
    metrics.count_event(event(), decision, Outcome(kind))
    after = scraped(metrics.registry)
    grown = {
        name for name in after if name.startswith("outcomes_total") and after[name] != before[name]
    }
    assert grown == {f"outcomes_total {kind}"}


@pytest.mark.parametrize(
    ("decision", "name"),
    [
        *((Done(f"skipped: {skip}"), f"skipped_{skip}") for skip in SkipReason),
        (Bury(DeadLetterReason.MALFORMED_EVENT), "malformed_event"),
        (Bury(DeadLetterReason.MALFORMED_EMAIL), "malformed_email"),
    ],
)
def test_event_that_never_reached_mailgun_is_counted_apart(
    decision: Done | Bury, name: str
) -> None:
    metrics = Metrics("default")
    metrics.count_event(event(), decision, None)
    found = scraped(metrics.registry)
    assert found[f"outcomes_total {name}"] == 1
    assert found["event_attempts_count"] == found["delivery_duration_seconds_count"] == 0


def test_every_counter_is_exported_from_the_start_at_zero() -> None:
    found = scraped(Metrics("default").registry)
    assert {name for name in found if name.startswith("outcomes_total")} == {
        f"outcomes_total {o}" for o in OUTCOMES
    }
    assert {name for name in found if name.startswith("buried_total")} == {
        f"buried_total {r}" for r in DeadLetterReason
    }
    assert not any(
        value for name, value in found.items() if "_total" in name and "process" not in name
    )


@pytest.mark.parametrize("reason", DeadLetterReason)
def test_dead_letters_are_counted_by_reason(reason: DeadLetterReason) -> None:
    metrics = Metrics("default")
    metrics.count_event(event(), Bury(reason), None)
    metrics.count_event(event(), Bury(reason), Outcome(OutcomeKind.UNAVAILABLE))
    assert scraped(metrics.registry)[f"buried_total {reason}"] == 2


def test_attempts_are_observed_when_an_event_has_ended() -> None:
    metrics = Metrics("default")
    metrics.count_event(event(attempts=1), Retry(1), Outcome(OutcomeKind.UNAVAILABLE))
    assert scraped(metrics.registry)["event_attempts_count"] == 0
    metrics.count_event(event(attempts=2), Done("delivered"), Outcome(OutcomeKind.DELIVERED))
    metrics.count_event(
        event(attempts=49),
        Bury(DeadLetterReason.RETRIES_EXHAUSTED),
        Outcome(OutcomeKind.UNAVAILABLE),
    )
    found = scraped(metrics.registry)
    assert (found["event_attempts_sum"], found["event_attempts_count"]) == (53, 2)
    assert (found["event_attempts_bucket 2.0"], found["event_attempts_bucket 3.0"]) == (0, 1)


def test_the_time_to_delivery_counts_from_enqueue_or_replay() -> None:
    metrics = Metrics("default", clock=lambda: 1060.0)
    metrics.count_event(event(), Done("delivered"), Outcome(OutcomeKind.DELIVERED))
    metrics.count_event(
        event().reset_for_replay(1059.0), Done("unchanged"), Outcome(OutcomeKind.UNCHANGED)
    )
    metrics.count_event(event(), Bury(DeadLetterReason.REJECTED), Outcome(OutcomeKind.REJECTED))
    metrics.count_event(event(), Snooze(1), Outcome(OutcomeKind.ON_HOLD))
    found = scraped(metrics.registry)
    assert (found["delivery_duration_seconds_sum"], found["delivery_duration_seconds_count"]) == (
        61,
        2,
    )


def test_a_producers_clock_that_is_ahead_gives_no_negative_time() -> None:
    metrics = Metrics("default", clock=lambda: 900.0)
    metrics.count_event(event(), Done("delivered"), Outcome(OutcomeKind.DELIVERED))
    assert scraped(metrics.registry)["delivery_duration_seconds_sum"] == 0


def test_request_is_counted_by_the_class_of_its_status() -> None:
    metrics = Metrics("default")
    for status in (None, *range(100, 600)):
        metrics.record_request("upsert", status, 0.3)
    found = scraped(metrics.registry)
    counts = {
        name: value
        for name, value in found.items()
        if name.startswith("request_duration_seconds_count")
    }
    classes = {"1xx": 100, "2xx": 100, "3xx": 100, "4xx": 100, "5xx": 100, "none": 1}
    assert counts == {
        f"request_duration_seconds_count upsert {name}": count for name, count in classes.items()
    }
    assert found["request_duration_seconds_bucket 0.25 upsert none"] == 0
    assert found["request_duration_seconds_bucket 0.5 upsert none"] == 1


def test_client_reports_every_request_answered_or_not() -> None:
    def answer(request: Any) -> Any:
        if request.method == "POST":
            raise ConnectionResetError
        return answered(404 if "members" in request.url else 200, b"{}")

    seen: list[tuple[str, int | None]] = []
    mailgun = asking(Far(answer))
    mailgun._on_request = lambda request, status, seconds: (
        seen.append((request, status)) if seconds >= 0 else None
    )
    mailgun.read_list()
    mailgun.read_member("jane@example.com")
    mailgun.upsert(Member("jane@example.com"))
    assert seen == [("read_list", 200), ("read_member", 404), ("upsert", None)]


# --- how the integration stands


@pytest.fixture
def settings(own: OwnIntegration) -> Settings:
    return settings_with(signal_integration=own.name)


def gauges(collector: RedisCollector) -> dict[str, float]:
    """What a scrape gives of the integration."""
    return scraped(cast("CollectorRegistry", collector))


def test_gauges_show_the_integration_as_it_is_in_redis(
    own: OwnIntegration, settings: Settings
) -> None:
    delay_queue, letters = (
        DelayQueue(own.redis, own.name, own.queue),
        DeadLetterQueue(own.redis, own.name, own.queue),
    )
    own.redis.lpush(
        own.queue, *(encode(event(enqueued_at=own.now() - 100), own.queue) for _ in range(3))
    )
    delay_one(delay_queue, event(), 600)
    for reason in (
        DeadLetterReason.REJECTED,
        DeadLetterReason.REJECTED,
        DeadLetterReason.UNAUTHORIZED,
    ):
        letter = dead_letter(
            reason, event(), status=400, answer="", died_at=0, integration=own.name
        )
        letters.bury([(event(), letter)])
    found = gauges(RedisCollector(own.name, lambda: read_gauges(settings, own.redis)))
    assert found.pop("oldest_queued_age_seconds") >= 99
    assert {name: value for name, value in found.items() if value} == {
        "redis_up": 1,
        "queued_events": 3,
        "delayed_events": 1,
        "dead_letters rejected": 2,
        "dead_letters unauthorized": 1,
    }


def test_gauges_of_an_empty_integration_are_zero(own: OwnIntegration, settings: Settings) -> None:
    found = gauges(RedisCollector(own.name, lambda: read_gauges(settings, own.redis)))
    assert found.pop("redis_up") == 1
    assert set(found.values()) == {0}
    assert {"queued_events", "delayed_events", "oldest_queued_age_seconds"} <= found.keys()
    assert {f"dead_letters {reason}" for reason in DeadLetterReason} | {
        "dead_letters unknown"
    } <= found.keys()
    assert {f"on_hold {kind}" for kind in integration_gauges.HOLDS} <= found.keys()


HOLDS: dict[str, Any] = {
    "paused": lambda gate: gate.pause(),
    "incident": lambda gate: reported(gate, OutcomeKind.UNAUTHORIZED, times=3),
    "throttled": lambda gate: reported(gate, OutcomeKind.THROTTLED, hint=1000),
    "unavailable": lambda gate: reported(gate, OutcomeKind.UNAVAILABLE, times=10),
}


@pytest.mark.parametrize("kind", HOLDS)
def test_hold_is_exported_by_its_kind(own: OwnIntegration, settings: Settings, kind: str) -> None:
    HOLDS[kind](own.gate())
    found = gauges(RedisCollector(own.name, lambda: read_gauges(settings, own.redis)))
    assert [name for name, value in found.items() if name.startswith("on_hold") and value] == [
        f"on_hold {kind}"
    ]


def test_rate_limit_is_exported_when_there_is_one(own: OwnIntegration) -> None:
    limited = settings_with(signal_integration=own.name, mailgun_rate_limit=120)
    found = gauges(RedisCollector(own.name, lambda: read_gauges(limited, own.redis)))
    assert found["pace_requests_per_second"] == 2


def test_foreign_dead_letter_is_counted_as_unknown_and_not_read(
    own: OwnIntegration, settings: Settings
) -> None:
    own.redis.lpush(f"{own.queue}.dead_letter", "what is this", "and this")
    own.redis.hset(f"signal:{own.name}:dead_letter_counts", "jane@example.com", "1")
    collector = RedisCollector(own.name, lambda: read_gauges(settings, own.redis))
    found = gauges(collector)
    assert found["dead_letters unknown"] == 2
    assert not [name for name in found if "@" in name]
    assert own.redis.hgetall(f"signal:{own.name}:dead_letter_counts") == {"jane@example.com": "1"}


def test_deleted_dead_letter_queue_is_counted_as_empty(
    own: OwnIntegration, settings: Settings
) -> None:
    own.redis.hset(f"signal:{own.name}:dead_letter_counts", "rejected", "7")
    assert read_gauges(settings, own.redis).dead_letters == {}


def test_reading_of_redis_serves_all_scrapes_of_one_second() -> None:
    now, readings = [0.0], [STANDING, STANDING]
    collector = RedisCollector("default", readings.pop, clock=lambda: now[0])
    assert gauges(collector)["queued_events"] == gauges(collector)["queued_events"] == 3
    assert len(readings) == 1
    now[0] += 1
    gauges(collector)
    assert readings == []


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), ValueError("jane@example.com"), KeyError()]
)
def test_failed_reading_leaves_the_scrape_whole_without_old_values(
    error: Exception,
) -> None:
    now = [0.0]

    def read() -> IntegrationGauges:
        if now[0]:
            raise error
        return STANDING

    collector = RedisCollector("default", read, clock=lambda: now[0])
    assert gauges(collector)["redis_up"] == 1
    now[0] += 5
    assert gauges(collector) == {"redis_up": 0}


def test_hanging_reading_delays_no_scrape_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(integration_gauges, "WAIT_SECONDS", 0.05)
    begun, go_on, now = [], threading.Event(), [0.0]

    def read() -> IntegrationGauges:
        begun.append(now[0])
        assert go_on.wait(60)
        return STANDING

    collector = RedisCollector("default", read, clock=lambda: now[0])
    for _ in range(3):
        assert gauges(collector) == {"redis_up": 0}
        now[0] += 5
    assert begun == [0.0]
    go_on.set()
    eventually(lambda: gauges(collector)["redis_up"], what="a reading")
    assert gauges(collector)["queued_events"] == 3


# --- where it is told


@pytest.fixture
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Servers that the test started listen no more when it is over."""
    started: list[Any] = []

    def remembered(*arguments: Any) -> Any:
        started.append(make_server(*arguments))
        return started[-1]

    monkeypatch.setattr(metrics_server, "make_server", remembered)
    yield
    for server in started:
        server.shutdown()
        server.server_close()


pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def serving(first: int, **settings: Any) -> int | None:
    return serve_metrics(Metrics("default"), settings_with(metrics_port=first, **settings))


def test_processes_on_one_host_get_successive_ports_with_their_own_counts() -> None:
    first = free_port()
    ports: list[int] = []
    for count in range(3):
        metrics = Metrics("default")
        for _ in range(count):
            metrics.count_event(event(), Done("delivered"), Outcome(OutcomeKind.DELIVERED))
        ports.append(cast("int", serve_metrics(metrics, settings_with(metrics_port=first))))
    assert len(set(ports)) == 3
    assert sorted(ports) == ports
    assert all(first <= port <= first + metrics_server.PORTS_AFTER for port in ports)
    assert [samples(page(port))["outcomes_total delivered"] for port in ports] == [0, 1, 2]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  taken for this test only
def test_port_of_another_program_is_skipped(address: str) -> None:
    with socket.create_server((address, 0)) as other:
        port = serving(other.getsockname()[1])
        assert port is not None
        assert port > other.getsockname()[1]
        assert "signal_mailgun" in page(port)


def test_metrics_server_listens_on_loopback_by_default() -> None:
    assert settings_with().metrics_host == "127.0.0.1"


def test_an_address_of_ipv6_is_listened_on_too() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    port = serving(free_port(), metrics_host="::1")
    assert port is not None
    socket.create_connection(("::1", port)).close()


def test_metrics_are_off_with_a_log_line_when_no_port_is_free(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics_server, "PORTS_AFTER", 0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert serving(other.getsockname()[1]) is None
    assert "no metrics" in caplog.text


def test_foreign_metrics_host_costs_only_the_metrics(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert serving(free_port(), metrics_host="192.0.2.1") is None  # of TEST-NET-1, RFC 5737
    assert "no metrics" in caplog.text


def test_port_0_turns_metrics_off() -> None:
    threads = threading.active_count()
    assert serving(0) is None
    assert threading.active_count() == threads


def test_scrape_is_whole_when_redis_refuses_the_connection() -> None:
    port = serving(free_port(), redis_url=f"redis://127.0.0.1:{free_port()}/0")
    assert port is not None
    found = samples(page(port))
    assert found["redis_up"] == 0
    assert "outcomes_total delivered" in found
    assert "queued_events" not in found


def test_scrape_is_whole_when_redis_accepts_but_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = serving(free_port(), redis_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        assert port is not None
        assert samples(page(port))["redis_up"] == 0


def test_metrics_have_no_created_samples() -> None:
    port = serving(free_port())
    assert port is not None
    assert "_created" not in page(port)


def test_silent_client_of_the_metrics_server_delays_no_other() -> None:
    port = serving(free_port())
    assert port is not None
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    assert "signal_mailgun_outcomes_total" in page(port)
    for each in idle:
        each.close()


def test_connection_without_a_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = metrics_server._Handler
    monkeypatch.setattr(handler, "timeout", handler.timeout / 100)
    port = serving(free_port())
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=30) as idle:
        assert idle.recv(1) == b""


def test_connection_reset_within_a_request_prints_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    port = serving(free_port())
    assert port is not None
    threads = threading.active_count()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /me")
        eventually(lambda: threading.active_count() > threads, what="the request's thread")
        # With no time to linger, closing the connection resets it.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: threading.active_count() == threads, what="the end of that thread")
    assert capfd.readouterr().err == ""


def test_metrics_never_carry_the_text_of_a_message() -> None:
    metrics = Metrics("default")
    message = SimpleNamespace(
        id="jane@example.com", kind="jane@example.com", attempts=0, retry_window_start=1.0
    )
    outcome = Outcome(OutcomeKind.REJECTED, 400, "jane@example.com is no address")
    metrics.count_event(cast("Message", message), Bury(DeadLetterReason.REJECTED), outcome)
    assert not [name for name in scraped(metrics.registry) if "jane" in name]
