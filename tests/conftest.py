"""What holds for all tests: their order, signals as in a terminal, the report of the chaos suite.

The report has the figures of all processes of pytest-xdist.
"""

import gc
import pickle
import signal
from collections import defaultdict
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

FIGURES = pytest.StashKey[list[Any]]()  # of tests.chaos.checks.Figures
LINES = pytest.StashKey[list[str]]()


# Modules whose tests mostly wait, the longest first. Each of these tests may run in any process.
MOSTLY_WAITING = (
    *("test_chaos", "test_acknowledgement", "test_stopped_worker", "test_memory"),
    *("test_redis_silent", "test_hot_member", "test_failover", "test_clocks"),
    *("test_retry_window", "test_run"),
)
# The share of a run in which the modules of a folder, or the tests that mostly wait, begin. All are
# spread evenly over it, so that some compute while others wait, and no long one is alone at the end.
SPREAD = {"waiting": 0.85, "integration": 0.9}


class WaitingTestsAlone(LoadScopeScheduling):
    """Gives processes of pytest-xdist whole modules, but tests that mostly wait one by one."""

    def _split_scope(self, nodeid: str) -> str:
        module = super()._split_scope(nodeid)
        return nodeid if Path(module).stem in MOSTLY_WAITING else module


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
    gc.disable()  # Else it would go through all tests again and again while they are collected.


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return WaitingTestsAlone(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # By kind, the parts that begin one after the other: modules, and single tests that wait.
    kinds: dict[str, dict[object, list[pytest.Item]]] = defaultdict(lambda: defaultdict(list))
    for test in sorted(
        items, key=lambda each: [*MOSTLY_WAITING, each.path.stem].index(each.path.stem)
    ):
        waits = test.path.stem in MOSTLY_WAITING
        kind, part = ("waiting", test) if waits else (test.path.parent.name, test.path)
        kinds[kind][part].append(test)
    begins = [
        (SPREAD.get(kind, 1.0) * number / len(parts), tests)
        for kind, parts in sorted(kinds.items())
        for number, tests in enumerate(parts.values())
    ]
    items[:] = [test for _, tests in sorted(begins, key=itemgetter(0)) for test in tests]


def pytest_collection_finish() -> None:
    gc.freeze()  # Else each collection would go through all that thousands of tests are made of.
    gc.enable()


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
