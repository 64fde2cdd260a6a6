"""What holds for all tests: their order, signals as in a terminal, the report of the chaos suite.

The report has the figures of all processes of pytest-xdist.
"""

import pickle
import signal
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

FIGURES = pytest.StashKey[list[Any]]()  # of tests.chaos.checks.Figures
LINES = pytest.StashKey[list[str]]()


# Modules whose tests mostly wait, for minutes together. They are spread over the run, so that
# tests of other modules compute meanwhile.
MOSTLY_WAITING = frozenset(
    {
        *("test_acknowledgement", "test_chaos", "test_clocks", "test_failover", "test_hot_member"),
        *("test_foreign_messages", "test_hostile_answers", "test_memory", "test_redis_silent"),
        *("test_retry_window", "test_run", "test_stopped_worker"),
    }
)


class FromProcesses:
    """A plug-in that collects the figures of pytest-xdist's processes at their end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:  # noqa: ARG002  pytest-xdist's
        handed_over = getattr(node, "workeroutput", {}).get("chaos")
        # The pickled data are this run's own.
        figures, lines = pickle.loads(handed_over) if handed_over else ([], [])  # noqa: S301
        self._config.stash.setdefault(FIGURES, []).extend(figures)
        self._config.stash.setdefault(LINES, []).extend(lines)


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts the tests in the background has SIGINT ignored, and each program that
    # the tests start and interrupt would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(FromProcesses(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    modules = defaultdict[Path, list[pytest.Item]](list)
    for item in items:
        modules[item.path].append(item)
    waiting = [tests for path, tests in modules.items() if path.stem in MOSTLY_WAITING]
    others = [tests for path, tests in modules.items() if path.stem not in MOSTLY_WAITING]
    distance = len(others) / (len(waiting) or 1)
    for number, tests in enumerate(waiting):
        others.insert(int(number * distance) + number, tests)
    items[:] = [test for tests in others for test in tests]


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Return a headless Chromium."""
    from tests.browsers import chromium  # noqa: PLC0415  only few tests need it

    with chromium() as running:
        yield running


def pytest_sessionfinish(session: pytest.Session) -> None:
    stash = session.config.stash
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["chaos"] = pickle.dumps(
            (stash.get(FIGURES, []), stash.get(LINES, []))
        )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if figures := config.stash.get(FIGURES, []):
        from tests.chaos.report import table  # noqa: PLC0415  only the chaos suite needs it

        terminalreporter.section("chaos")
        terminalreporter.write_line(table(figures))
    for line in config.stash.get(LINES, []):
        terminalreporter.write_line(line)
