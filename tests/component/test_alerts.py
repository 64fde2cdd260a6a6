"""deploy/: alert rules and dashboard ask for metrics and labels that exist, and promtool finds the rules right."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from worker.gate.holds import HoldState
from worker.monitoring.integration_gauges import IntegrationGauges, gauge_families
from worker.monitoring.metrics import Metrics

if TYPE_CHECKING:
    from prometheus_client import Metric

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
TESTS = (PROMETHEUS / "alerts_test.yml").read_text()
SCRAPED = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)"
)


def exported() -> dict[str, set[str]]:
    """Every sample's name, and the labels that it has."""
    metrics = Metrics("default")
    metrics.record_request("upsert", 200, 0.1)
    gauges = IntegrationGauges(
        0, 0.0, 0, {}, HoldState(None, "", None, None, 1.0), 1.0, memory=0.5, letters_share=0.5
    )
    found: dict[str, set[str]] = {}
    every: list[Metric] = [*metrics.registry.collect(), *gauge_families("default", gauges)]
    for family in every:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


EXPORTED = exported()
SELECTOR = re.compile(r"\b((?:signal_mailgun|process)_\w+|up)\b(?:\{([^}]*)\})?")


def dashboard_queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"].removeprefix("label_values(").partition(",")[0]


QUERIES = [*(rule["expr"] for rule in RULES), *dashboard_queries()]


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_uses_metrics_and_labels_that_a_worker_exports(query: str) -> None:
    asked = SELECTOR.findall(query)
    assert asked, query
    for name, labels in asked:
        assert name == "up" or name in EXPORTED, name
        of_prometheus = {"job", "instance"}
        assert set(re.findall(r"(\w+)\s*=", labels)) <= EXPORTED.get(name, set()) | of_prometheus, (
            query
        )
    grouped = {
        each.strip()
        for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", query)
        for each in labels.split(",")
    }
    known = {label for name, _ in asked for label in EXPORTED.get(name, set())}
    assert grouped <= known | {"le"}, query


def test_every_metric_of_the_program_is_on_the_dashboard() -> None:
    shown = {name for query in dashboard_queries() for name, _ in SELECTOR.findall(query)}
    plain = {re.sub("_(bucket|sum|count|total)$", "", name) for name in shown}
    ours = {
        re.sub("_(bucket|sum|count|total|created)$", "", name)
        for name in EXPORTED
        if "signal_mailgun" in name
    }
    assert ours <= plain


def test_label_values_that_rules_select_exist() -> None:
    values: dict[str, set[str]] = {}
    gauges = IntegrationGauges(
        0, 0.0, 0, {}, HoldState(None, "", None, None, 1.0), 1.0, memory=0.5, letters_share=0.5
    )
    for family in [*Metrics("default").registry.collect(), *gauge_families("default", gauges)]:
        for sample in family.samples:
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    for rule in RULES:
        for label, value in re.findall(r'(kind|outcome|reason)="(\w+)"', rule["expr"]):
            assert value in values[label], rule["alert"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_has_severity_meaning_advice_and_a_test(
    rule: dict[str, Any],
) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description"}
    assert re.search(rf"{rule['alert']}\b|SignalMailgunSlow\.\*", TESTS), (
        "alerts_test.yml does not know it"
    )


def test_alerts_are_named_once() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)


def test_alerts_and_dashboard_select_workers_by_the_job_of_the_example() -> None:
    [job] = SCRAPED["scrape_configs"]
    for query in QUERIES:
        assert set(re.findall(r'job="([^"]*)"', query)) <= {job["job_name"]}, query


def test_the_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_grafana_finds_dashboard_and_prometheus_where_compose_puts_them() -> None:
    compose = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]
    provisioning = DEPLOY / "grafana/provisioning"
    [provider] = yaml.safe_load((provisioning / "dashboards/signal-mailgun.yml").read_text())[
        "providers"
    ]
    [source] = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    mounted = dict(each.split(":")[:2] for each in compose["grafana"]["volumes"])
    assert mounted["./deploy/grafana/dashboard.json"].startswith(provider["options"]["path"])
    assert source["url"] == "http://prometheus:9090"


def promtool(*words: str) -> str:
    """What promtool says; fails where it is not content."""
    assert PROMTOOL
    ended = subprocess.run(
        [PROMTOOL, *words], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "alerts.yml")


@needs_promtool
def test_every_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


@needs_promtool
def test_promtool_accepts_the_scrape_configuration() -> None:
    assert "is valid" in promtool("check", "config", "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("query", sorted(set(dashboard_queries())))
def test_promtool_can_read_every_query_of_the_dashboard(query: str, tmp_path: Path) -> None:
    plain = query.replace("$integration", ".*").replace("$__rate_interval", "5m")
    file = tmp_path / "queries.yml"
    rule = {"record": "dashboard:query", "expr": plain}
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": [rule]}]}))
    promtool("check", "rules", str(file))
