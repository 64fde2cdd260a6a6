"""A real Flower for tests, queried over HTTP."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.integration.bench import Bench, clean_environment, until
from tests.preloaded import started
from tests.servers import RedisServer, eventually, free_port


@dataclass(frozen=True)
class Flower:
    """A running Flower."""

    url: str

    def page(self, path: str) -> str:
        """Return the page's text."""
        answer = requests.get(f"{self.url}{path}", timeout=30)
        answer.raise_for_status()
        return answer.text

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Return all tasks by id, as the API shows them."""
        found: dict[str, dict[str, Any]] = requests.get(f"{self.url}/api/tasks", timeout=30).json()
        return found

    def task(self, id: str, state: str) -> dict[str, Any]:
        """Return the task once it is in this state."""
        return (
            eventually(
                lambda: (found := self.tasks().get(id)) and found["state"] == state and found,
                what=f"{id} in {state}",
            )
            or {}
        )

    def info(self, id: str) -> dict[str, Any]:
        """Return one task, as the API shows it."""
        answer = requests.get(f"{self.url}/api/task/info/{id}", timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def knows_queue(self, name: str) -> bool:
        """Return True if the Broker tab has the queue, after Flower has inspected the workers."""
        requests.get(f"{self.url}/api/workers?refresh=1", timeout=30).raise_for_status()
        return name in self.page("/broker")

    def post(self, path: str, body: Any = None, **form: str) -> requests.Response:
        """Return Flower's answer; `body` is sent as JSON, `form` as a form."""
        return requests.post(f"{self.url}{path}", json=body, data=form or None, timeout=30)

    def worker(self) -> str:
        """Return the name of the only live worker."""
        [name] = requests.get(f"{self.url}/api/workers?refresh=1", timeout=30).json()
        return str(name)


@contextmanager
def flower_process(port: int, log: Path, **settings: str) -> Iterator[str]:
    """Run Flower in the folder of `log`, with these settings; yield its address once it answers."""
    command = [
        "-m",
        "celery",
        "-A",
        "worker.app",
        "flower",
        "--address=127.0.0.1",
        f"--port={port}",
    ]
    with log.open("ab") as output, Path(os.devnull).open() as nothing:
        process = started(
            command, clean_environment(**settings), log.parent, (nothing, output, output)
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (
            f"Flower has ended: {log.read_text(errors='replace')[-2000:]}"
        )
        try:
            return requests.get(f"{url}/healthcheck", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        until(answers, "Flower", 120)
        yield url
    finally:
        process.kill()
        process.wait(10)


def letters_settings(server: RedisServer) -> dict[str, str]:
    """Return the settings of a Flower with two users, of whom one may see events."""
    return {
        "REDIS_URL": server.url,
        "SIGNAL_INTEGRATION": "letters",
        "MAILGUN_LIST_ADDRESS": "newsletter@mg.example.com",
        "FLOWER_BASIC_AUTH": "ops:secret,eve:secret",
        "FLOWER_EVENT_VIEWERS": "ops",
    }


@contextmanager
def flower_of(bench: Bench, **settings: str) -> Iterator[Flower]:
    """Run Flower on this bench; it has found the worker and receives its events."""
    port = free_port()
    environment = bench.environment(FLOWER_UNAUTHENTICATED_API="true", **settings)
    with flower_process(port, bench.folder / f"flower-{port}.log", **environment) as url:
        running = Flower(url)
        until(
            lambda: requests.get(f"{running.url}/api/workers?refresh=1", timeout=30).json(),
            "a worker in Flower",
            60,
        )
        until(
            lambda: (
                bench.put({"type": "page", "messageId": "m-heard"}) and "m-heard" in running.tasks()
            ),
            "events",
        )
        yield running
