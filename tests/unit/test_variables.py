"""Names in the environment and in `.env` that look like settings: typos stop, others' variables only warn."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from worker.environment.variables import Strays, described, env_file, strays
from worker.settings import Settings

PROJECT = Path(__file__).parents[2]
KNOWN = [name.upper() for name in Settings.model_fields]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MAILGUN_API_KEYS", "MAILGUN_API_KEY"),
        ("mailgun_apikey", "MAILGUN_API_KEY"),
        ("MAILGUN_LIST_ADRESS", "MAILGUN_LIST_ADDRESS"),
        ("MAILGUN_BATCHSIZE", "MAILGUN_BATCH_SIZE"),
        ("SIGNAL_INTEGRATON", "SIGNAL_INTEGRATION"),
        ("RETRY_MAX_DELAY", "RETRY_MAX_DELAY_SECONDS"),
        ("INCIDENT_TRESHOLD", "INCIDENT_THRESHOLD"),
        ("LEDGER_DAY", "LEDGER_DAYS"),
    ],
)
def test_a_misspelt_setting_of_ours_is_a_typo(name: str, meant: str) -> None:
    found = strays([name], KNOWN)
    assert (found.typos, found.others) == ({name: meant}, {})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MAILGUN_API_URL", "MAILGUN_API_BASE_URL"),
        ("MAILGUN_TRACKING", ""),
        ("SIGNAL_CLI_CONFIG", ""),
        ("RETRY_POLICY", ""),
        ("REDIS_URLS", "REDIS_URL"),
        ("REDIS_URI", "REDIS_URL"),
        ("WORKER_CONCURENCY", "WORKER_CONCURRENCY"),
        ("VISIBILITY_TIMEOUT", "VISIBILITY_TIMEOUT_SECONDS"),
        ("MAIGUN_API_KEY", "MAILGUN_API_KEY"),
    ],
)
def test_variable_that_may_be_another_programs_only_warns(name: str, meant: str) -> None:
    found = strays([name], KNOWN)
    assert (found.typos, found.others) == ({}, {name: meant})


FOREIGN = (
    *(
        "MAILGUN_DOMAIN",
        "MAILGUN_SMTP_LOGIN",
        "MAILGUN_LIVE_API_KEY",
        "MAILGUN_LIVE_LIST_ADDRESS",
        "MAILGUN_SENDER_DOMAIN",
    ),
    *(
        "SIGNAL_MAILGUN_PORT_9808_TCP",
        "REDIS_PORT",
        "REDIS_SERVICE_HOST",
        "REDIS_HOST",
        "REDIS_PASSWORD",
        "LOG_DIR",
    ),
    *(
        "WORKER_CLASS",
        "METRICS_PATH",
        "PATH",
        "HOME",
        "TEST_REDIS_URL",
        "CELERY_BROKER_URL",
        "FLOWER_BASIC_AUTH",
    ),
)


@pytest.mark.parametrize("name", [*KNOWN, *map(str.lower, KNOWN), *FOREIGN])
def test_settings_and_other_programs_variables_are_not_mentioned(name: str) -> None:
    assert strays([name], KNOWN) == Strays({}, {})


def test_every_variable_set_by_the_project_is_a_setting() -> None:
    example = re.findall(r"^#?([A-Z_]+)=", (PROJECT / ".env.example").read_text(), re.MULTILINE)
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"].values()
    composed = [name for each in services for name in each.get("environment", {})]
    assert len(example) > 30
    assert len(composed) > 10
    assert strays([*example, *composed], KNOWN) == Strays({}, {})


def test_typo_line_names_some_variables_and_counts_the_rest() -> None:
    found = strays([f"MAILGUN_X{number}" for number in range(9)] + ["MAILGUN_\x1b[2J"], KNOWN)
    line = described(found.others)
    assert line.startswith("MAILGUN_X0, MAILGUN_X1")
    assert line.endswith(" and 4 more")
    assert described({"MAILGUN_\x1b": ""}) == r"MAILGUN_\x1b"


@given(
    st.text(max_size=30)
    | st.sampled_from(KNOWN).flatmap(lambda name: st.text(max_size=3).map(lambda end: name + end))
)
def test_variable_of_any_name_can_be_checked(name: str) -> None:
    described(strays([name], KNOWN).others).encode()


def test_an_env_file_is_read_with_comments_quotes_and_export() -> None:
    read = env_file("# a\n\nexport A=1\nB = 'two # 2'\nC=\"three\n3\"\nD=\nE\nfoo bar\nF=6 # six\n")
    assert read.names == {"A": 3, "B": 4, "C": 5, "D": 7, "F": 10}
    assert (read.bare, read.broken) == ({"E": 8}, (9,))
