"""Fixtures of integration tests: one server, one sandbox, one shared worker.

Each test starts clean.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest

from tests.integration.bench import Bench
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer
from tests.workers import RunningWorker

numbers = count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox("--log-size", "0") as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def the_bench(
    server: RedisServer, running_sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Bench:
    return Bench(server, running_sandbox, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def worker(the_bench: Bench) -> Iterator[RunningWorker]:
    """Return the shared worker, of the integration `default`."""
    with the_bench.worker() as running:
        yield running


@pytest.fixture
def bench(the_bench: Bench, worker: RunningWorker) -> Iterator[Bench]:
    """Return a clean bench with the shared worker."""
    the_bench.clear()
    yield the_bench
    the_bench.settle()
    the_bench.clear()


@pytest.fixture
def own(the_bench: Bench) -> Iterator[Bench]:
    """Return a clean bench of an integration that no other test uses.

    It has no worker until the test starts one.
    """
    alone = replace(the_bench, integration=f"own{next(numbers)}", workers=[])
    alone.clear()
    yield alone
    alone.end_workers()
    alone.clear()
