"""The figures of the storms, printed at the end, also of those that ran in other processes (pytest-xdist)."""

import pickle
from typing import Any

import pytest

FIGURES = pytest.StashKey[list[Any]]()  # of tests.chaos.verdict.Figures
LINES = pytest.StashKey[list[str]]()


class FromProcesses:
    """Collects what the processes of pytest-xdist hand over at their end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:  # noqa: ARG002  pytest-xdist's
        handed_over = getattr(node, "workeroutput", {}).get("chaos")
        figures, lines = pickle.loads(handed_over) if handed_over else ([], [])  # noqa: S301  this run's own
        self._config.stash.setdefault(FIGURES, []).extend(figures)
        self._config.stash.setdefault(LINES, []).extend(lines)


def pytest_configure(config: pytest.Config) -> None:
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
        from tests.chaos.report import table  # noqa: PLC0415  a run without storms needs none of it

        terminalreporter.section("chaos")
        terminalreporter.write_line(table(figures))
    for line in config.stash.get(LINES, []):
        terminalreporter.write_line(line)
