"""Real workers, scraped: by a plain GET, and two on one host by a real Prometheus with the alert rules of deploy/."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.bench import Bench, identified, until
from tests.servers import RedisServer, eventually, free_port
from tests.workers import RunningWorker

RULES = Path(__file__).parents[2] / "deploy/prometheus/alerts.yml"
PROMETHEUS = shutil.which("prometheus")
STOP_SECONDS = 20


def address_of(worker: RunningWorker) -> str:
    """Where the worker says that it can be scraped."""
    return eventually(lambda: _announced(worker), what="an address in the log")


def _announced(worker: RunningWorker) -> str:
    lines = [json.loads(line) for line in worker.printed().splitlines() if line.startswith("{")]
    return next(
        (line["address"] for line in lines if line["message"] == "metrics for Prometheus"), ""
    )


def page(worker: RunningWorker) -> str:
    answer = requests.get(f"http://{address_of(worker)}/metrics", timeout=30)
    assert answer.status_code == 200
    return answer.text


def samples(worker: RunningWorker) -> dict[str, float]:
    """What the worker tells, by name and the values of all labels but the integration's."""
    return {
        " ".join(
            [
                sample.name,
                *(v for k, v in sorted(sample.labels.items()) if k not in {"integration", "le"}),
            ]
        ): (sample.value)
        for family in text_string_to_metric_families(page(worker))
        for sample in family.samples
    }


def ours(found: dict[str, float], start: str) -> dict[str, float]:
    """What is not 0 of the samples whose name starts so."""
    start = f"signal_mailgun_{start} "
    return {
        name.removeprefix(start): value
        for name, value in found.items()
        if name.startswith(start) and value
    }


def test_metrics_count_events_by_outcome(own: Bench) -> None:
    faults: dict[str, dict[str, Any]] = {
        "refused": {"kind": "status", "status": 400},
        "later": {"kind": "status", "status": 503, "count": 2},
        "waiting": {"kind": "status", "status": 429, "count": 1},
    }
    for name, fault in faults.items():
        own.sandbox.control.add_fault(address=f"{name}@example.com", **fault)
    with own.working(METRICS_PORT=str(free_port())) as worker:
        own.put(*(identified(f"{name}@example.com") for name in ("jane", *faults)))
        own.put({"type": "identify"}, identified("no address"))
        own.put_raw("thimble")
        own.ended()
        until(lambda: own.totals().get("delivered") == 3, "all of it stored")
        found, text = samples(worker), page(worker)
    outcomes = ours(found, "outcomes_total")
    outcomes.pop("on_hold", None)  # as often as the 429 came before the others
    assert outcomes == {
        "delivered": 3,
        "rejected": 1,
        "unavailable": 2,
        "throttled": 1,
        "skipped_no_email": 1,
        "malformed_email": 1,
        "unreadable_message": 1,
    }
    letters = {"rejected": 1, "malformed_email": 1, "unreadable_message": 1}
    assert ours(found, "buried_total") == ours(found, "dead_letters") == letters
    names = {"GET": "read_member", "POST": "upsert"}
    received = Counter(
        f"{names[each.method]} {each.status // 100}xx"
        for each in own.requests()
        if isinstance(each.status, int)
    )
    assert ours(found, "request_duration_seconds_count") == received
    assert received["upsert 2xx"] == 3
    assert found["signal_mailgun_delivery_duration_seconds_count"] == 3
    assert found["signal_mailgun_event_attempts_count"] == 4
    assert found["signal_mailgun_event_attempts_sum"] == 1 + 1 + 1 + 3
    assert (found["signal_mailgun_queued_events"], found["signal_mailgun_delayed_events"]) == (0, 0)
    assert found["signal_mailgun_redis_up"] == 1
    assert [word for word in ("@", "example.com", "jane", "thimble") if word in text] == []


def test_metrics_show_waiting_events_and_the_hold(own: Bench) -> None:
    with own.working(METRICS_PORT=str(free_port())) as worker:
        assert own.run("pause").status == 0
        own.put(*(identified(f"{name}@example.com") for name in range(4)))
        until(
            lambda: samples(worker)["signal_mailgun_queued_events"] == 4, "four events on the queue"
        )
        assert ours(samples(worker), "on_hold") == {"paused": 1}
        assert own.run("resume").status == 0
        own.ended()
        until(lambda: samples(worker)["signal_mailgun_queued_events"] == 0, "an empty queue")
        assert ours(samples(worker), "on_hold") == {}


def test_metrics_are_served_while_redis_is_away(own: Bench, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis").start()
    try:
        with own.working(METRICS_PORT=str(free_port()), REDIS_URL=server.url) as worker:
            assert samples(worker)["signal_mailgun_redis_up"] == 1
            server.kill()
            until(lambda: samples(worker)["signal_mailgun_redis_up"] == 0, "a word of it")
            assert "signal_mailgun_queued_events" not in samples(worker)
            server.start()
            until(lambda: samples(worker)["signal_mailgun_redis_up"] == 1, "its return")
    finally:
        server.stop()


def test_port_0_turns_metrics_off(own: Bench) -> None:
    with own.working(METRICS_PORT="0") as worker:
        assert "metrics for Prometheus" not in worker.printed()


# --- two on one host, and a real Prometheus


@contextmanager
def prometheus(targets: list[str], folder: Path) -> Iterator[str]:
    """A Prometheus that scrapes `targets` every second; gives its address."""
    assert PROMETHEUS
    address = f"127.0.0.1:{free_port()}"
    job = {"job_name": "signal-mailgun", "static_configs": [{"targets": targets}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [job],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump({**config, "rule_files": [str(RULES)]}))
    options = [
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([PROMETHEUS, *options], stdout=log, stderr=log)
    try:
        until(lambda: process.poll() is not None or _ready(address), "a ready Prometheus", 60)
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _ready(address: str) -> bool:
    try:
        return requests.get(f"http://{address}/-/ready", timeout=10).status_code == 200
    except requests.ConnectionError:
        return False


def asked(address: str, query: str) -> dict[str, float]:
    """What Prometheus answers, by the values of the labels."""
    answer = requests.get(
        f"http://{address}/api/v1/query", params={"query": query}, timeout=30
    ).json()
    assert answer["status"] == "success", answer
    return {
        " ".join(each["metric"].values()): float(each["value"][1])
        for each in answer["data"]["result"]
    }


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed (Debian: prometheus)")
def test_prometheus_scrapes_two_workers_on_one_host_and_loads_the_rules(
    own: Bench, tmp_path: Path
) -> None:
    port = str(free_port())
    own.sandbox.control.add_fault("status", status=400, address="refused@example.com")
    with own.working(METRICS_PORT=port) as one, own.working(METRICS_PORT=port) as two:
        targets = [address_of(one), address_of(two)]
        assert len(set(targets)) == 2
        with prometheus(targets, tmp_path) as address:
            until(
                lambda: asked(address, 'sum(up{job="signal-mailgun"})') == {"": 2},
                "two targets that are up",
                60,
            )
            own.put(
                *(identified(f"{number}@example.com") for number in range(60)),
                identified("refused@example.com"),
            )
            own.ended()
            delivered = f'sum(signal_mailgun_outcomes_total{{outcome="delivered", integration="{own.integration}"}})'
            until(lambda: asked(address, delivered) == {"": 60}, "the sum of both", 60)
            each = 'count(signal_mailgun_outcomes_total{outcome="delivered"})'
            assert asked(address, each) == {"": 2}
            by_reason = "max by (reason) (signal_mailgun_dead_letters) > 0"
            until(lambda: asked(address, by_reason) == {"rejected": 1}, "the dead letter, once", 60)
            alert = 'count(ALERTS{alertname="SignalMailgunDeadLetters", alertstate="firing", reason="rejected"})'
            until(lambda: asked(address, alert) == {"": 1}, "the alert", 60)
            groups = requests.get(f"http://{address}/api/v1/rules", timeout=30).json()["data"][
                "groups"
            ]
            rules = [rule for group in groups for rule in group["rules"]]
            assert {rule["health"] for rule in rules} == {"ok"}
            assert {rule["name"] for rule in rules if rule["state"] == "firing"} == {
                "SignalMailgunDeadLetters"
            }
