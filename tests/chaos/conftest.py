"""Fixtures of the chaos suite: one server and one sandbox for all faults."""

from collections.abc import Iterator

import pytest

from tests.chaos.checks import Figures
from tests.conftest import FIGURES, LINES
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox("--log-size", "0") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: RunningSandbox) -> RunningSandbox:
    """Return the sandbox in the state of its start."""
    running_sandbox.control.reset()
    return running_sandbox


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> list[Figures]:
    """Return the list that collects the figures of all runs, to be printed."""
    return request.config.stash.setdefault(FIGURES, [])


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> list[str]:
    """Return the list of further lines to be printed below the table."""
    return request.config.stash.setdefault(LINES, [])
