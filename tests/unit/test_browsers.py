"""Which Chromium the tests that click take, and what they say if there is none."""

from pathlib import Path

import pytest

from tests import browsers
from tests.browsers import NAMES, NONE, chromium, of_the_system


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only folder of programs."""
    monkeypatch.setattr(browsers, "NAMES", [each for each in NAMES if "/" not in each])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.delenv("CI", raising=False)
    return tmp_path


def program(path: Path) -> str:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize("name", ["chromium", "google-chrome", "microsoft-edge"])
def test_any_chromium_or_chrome_of_the_system_is_taken(folder: Path, name: str) -> None:
    assert of_the_system() is None
    found = program(folder / name)
    assert of_the_system() == found


def test_chromium_names_the_one_that_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(folder / "chromium")
    mine = program(folder / "my own chrome")
    monkeypatch.setenv("CHROMIUM", mine)
    assert of_the_system() == mine
    monkeypatch.setenv("CHROMIUM", str(folder / "nothing"))
    with pytest.raises(pytest.fail.Exception, match="is no program"):
        of_the_system()


def test_without_any_the_test_is_skipped_and_fails_in_ci(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(folder))
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"), chromium():
        pass
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"), chromium():
        pass
    assert NONE.isprintable()
