"""What holds for all tests: signals as in a terminal, and the report of the chaos suite.

The report has the figures of all processes of pytest-xdist.
"""

import pickle
import signal
from typing import Any

import pytest

FIGURES = pytest.StashKey[list[Any]]()  # of tests.chaos.checks.Figures
LINES = pytest.StashKey[list[str]]()


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
