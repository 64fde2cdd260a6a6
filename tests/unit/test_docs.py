"""The pages in docs/ say what the code has: settings with their defaults, metrics, links that lead somewhere."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from worker.gate.holds import HoldState
from worker.monitoring.integration_gauges import IntegrationGauges, gauge_families
from worker.monitoring.metrics import Metrics
from worker.redis_client.keys import Key, Keys
from worker.settings import Settings

PROJECT = Path(__file__).parents[2]
PAGES = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
DECISIONS = sorted((PROJECT / "docs" / "decisions").glob("[0-9]*.md"))
DECISION = re.compile(r"# (\d{4})\. (.+)\n\nDate: (\d{4}-\d{2}-\d{2})\n")
SECTIONS = ["Question", "Choice", "Reason", "Cost"]
ROW = re.compile(r"^\| (`.+?`) \|(.*?)\|", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)(?:#[^)]*)?\)")
DEFAULTS_IN_WORDS = {
    "signal_digest_key": "derived from the integration's name",
    "mailgun_preset": "the Default preset",
    "worker_concurrency": "ten times `MAILGUN_BATCH_SIZE`; at least 64",
}


def rows(page: str) -> list[tuple[list[str], str]]:
    """The names in the first column of the page's tables, and the second column."""
    found = ROW.findall((PROJECT / "docs" / page).read_text())
    return [(re.findall(r"`([^`]+)`", names), second) for names, second in found]


def documented(value: Any) -> str:
    """A default as the table spells it."""
    text = (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
    return "" if value is None else f"`{text}`"


def test_the_table_of_settings_is_the_codes() -> None:
    told = {
        name.lower(): default.strip()
        for names, defaults in rows("settings.md")
        for name, default in zip(names, defaults.split(", "), strict=True)
    }
    defaults = {name: documented(field.default) for name, field in Settings.model_fields.items()}
    assert told == {**defaults, **DEFAULTS_IN_WORDS}


def test_the_table_of_metrics_is_the_codes() -> None:
    told = {re.sub(r"\{.*", "", names[0]) for names, _ in rows("metrics.md")}
    hold = HoldState(None, "", None, None, 1.0)
    state = IntegrationGauges(
        queued=0, oldest_age=0, delayed=0, dead_letters={}, hold=hold, opt_outs_age=0
    )
    counted = re.findall(
        rb"^# TYPE (signal_mailgun_\S+) ",
        generate_latest(Metrics("default").registry),
        re.MULTILINE,
    )
    gauges = {
        f"{each.name}_total" if each.type == "counter" else each.name
        for each in gauge_families("default", state)
    }
    assert told == {each.decode() for each in counted if not each.endswith(b"_created")} | gauges


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_every_link_leads_to_a_file(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert broken == []


def test_the_index_names_every_page() -> None:
    index = (PROJECT / "docs" / "index.md").read_text()
    assert {page.name for page in (PROJECT / "docs").glob("*.md")} - set(LINK.findall(index)) == {
        "index.md"
    }


def test_decisions_are_numbered_in_the_order_of_their_dates() -> None:
    heads = [DECISION.match(page.read_text()) for page in DECISIONS]
    assert [head and int(head[1]) for head in heads] == list(range(1, len(DECISIONS) + 1))
    assert [page.name[:4] for page in DECISIONS] == [head[1] for head in heads if head]
    dates = [date.fromisoformat(head[3]) for head in heads if head]
    assert dates == sorted(dates)


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_decision_has_question_choice_reason_and_cost(page: Path) -> None:
    assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == SECTIONS


def test_index_of_decisions_is_the_pages() -> None:
    index = (PROJECT / "docs" / "decisions" / "index.md").read_text()
    listed = re.findall(r"^\| (\d{4}) \| \[(.+)\]\((.+)\) \| ([\d-]+) \|$", index, re.MULTILINE)
    heads = [(page.name, DECISION.match(page.read_text())) for page in DECISIONS]
    assert listed == [(head[1], head[2], name, head[3]) for name, head in heads if head]


def test_the_readme_is_short() -> None:
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 150


def test_table_of_redis_keys_is_the_codes() -> None:
    page = (PROJECT / "docs" / "architecture.md").read_text()
    shown = page.partition("<!-- keys -->\n")[2].partition("\n<!-- /keys -->")[0]
    keys = [each for each in vars(Keys).values() if isinstance(each, Key)]
    rows = [f"| `{each.pattern}` | {each.kind} | {each.holds} | {each.lives} |" for each in keys]
    assert shown.splitlines() == ["| key | type | holds | lives |", "|---|---|---|---|", *rows]
