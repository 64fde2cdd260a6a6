"""One server and one sandbox for all storms."""

from collections.abc import Iterator

import pytest

from tests.chaos.verdict import Figures
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
    """The sandbox as it was at its start."""
    running_sandbox.control.reset()
    return running_sandbox


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> list[Figures]:
    """Where a storm's figures go, to be printed."""
    return request.config.stash.setdefault(FIGURES, [])


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> list[str]:
    """Further lines to be printed below the table."""
    return request.config.stash.setdefault(LINES, [])
