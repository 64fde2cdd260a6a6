"""Fixtures of component tests: real servers for each module, an integration for each test."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.integrations import OwnIntegration
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer

numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield running
    running.stop()


@pytest.fixture
def own(server: RedisServer) -> Iterator[OwnIntegration]:
    """Return an integration that no other test uses."""
    client = server.client()
    yield OwnIntegration(client, f"own{next(numbers)}")
    client.close()


@pytest.fixture(scope="module")
def running_sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: RunningSandbox) -> RunningSandbox:
    """Return the module's sandbox as it was at its start."""
    running_sandbox.control.reset()
    return running_sandbox
