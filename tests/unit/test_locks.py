"""What is installed is pinned by hash, what installs it too, and what runs in continuous integration by commit."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
LOCKS = [
    PROJECT / each
    for each in ("requirements.lock", "tests/bench/requirements.lock", ".ci/audit.lock")
]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
REQUIREMENT = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z,]+\])?==\S+", re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.relative_to(PROJECT).as_posix())
def test_lock_pins_version_and_hash_of_each_package_without_a_registry(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    requirements = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert requirements
    for each in requirements:
        assert REQUIREMENT.match(each), each[:80]
        assert "--hash=sha256:" in each, each[:80]


def test_lock_covers_the_installers_and_build_tools() -> None:
    names = set(REQUIREMENT.findall(LOCKS[0].read_text()))
    assert {"pip", "setuptools", "hatchling", "uv", "editables"} <= names


def steps() -> list[dict[str, Any]]:
    jobs = [job for each in WORKFLOWS for job in yaml.safe_load(each.read_text())["jobs"].values()]
    return [step for job in jobs for step in job["steps"]]


def test_actions_are_pinned_by_commit() -> None:
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", each)] == []


def test_every_lock_is_audited() -> None:
    assert "make audit" in {step.get("run") for step in steps()}
    audited = re.findall(r"pip-audit .*-r (\S+)", (PROJECT / "Makefile").read_text())
    assert {PROJECT / each for each in audited} == set(LOCKS)
