"""Fixtures of integration tests: one server, one sandbox, one shared worker.

Each test starts clean.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.bench import Bench
from tests.integration.flowers import flower_process, letters_settings
from tests.integration.visitors import Visitor
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer, free_port
from tests.workers import RunningWorker
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.redis_client.client import connect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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


@pytest.fixture(scope="session")
def flower_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flower") / "flower.log"


@pytest.fixture(scope="session")
def letters_flower(server: RedisServer, flower_log: Path) -> Iterator[str]:
    """Return a Flower with two users, of whom one may see events."""
    with flower_process(free_port(), flower_log, **letters_settings(server)) as running:
        yield running


@pytest.fixture
def letters(server: RedisServer) -> Iterator[DeadLetterQueue]:
    store = connect(server.url)
    store.flushdb()
    yield DeadLetterQueue(store, "letters", "mailgun.letters")
    store.flushdb()


@pytest.fixture
def delayed(letters: DeadLetterQueue) -> DelayQueue:
    return DelayQueue(letters.redis, letters.integration, letters.queue)


@pytest.fixture
def page(browser: "Browser", letters_flower: str, letters: DeadLetterQueue) -> "Iterator[Page]":
    """Return a browser's page of that Flower for the user who may see events."""
    from tests.browsers import visit  # noqa: PLC0415  only few tests need it

    with visit(browser, letters_flower) as opened:
        yield opened


@pytest.fixture
def visitor(letters_flower: str, flower_log: Path, letters: DeadLetterQueue) -> Visitor:
    return Visitor(letters_flower, flower_log)


@pytest.fixture
def logged(server: RedisServer, letters: DeadLetterQueue, tmp_path: Path) -> Iterator[Visitor]:
    """Return a visitor of a Flower whose log has every request."""
    log = tmp_path / "flower.log"
    with flower_process(
        free_port(), log, **letters_settings(server), FLOWER_DEBUG="true"
    ) as running:
        yield Visitor(running, log)
