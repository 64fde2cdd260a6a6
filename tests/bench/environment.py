"""The environment that all competitors use: one server, one sandbox, one list, the same for each."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import redis
import requests

from tests.bench.competitors import Competitor
from tests.bench.people import Person
from tests.bench.processes import CompetitorProcesses, running_processes
from tests.integration.bench import KEY, LIST, printed_by
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer

AT_ONCE = 100  # Mailgun docs: up to 100 members are applied before the answer
STAGE = 1  # the database on which events are staged


@dataclass(frozen=True)
class Environment:
    """The server, the sandbox and the list with which competitors run, one after another."""

    server: RedisServer
    sandbox: RunningSandbox
    folder: Path
    bench_python: Path
    runs: Iterator[int]

    @cached_property
    def redis(self) -> "redis.Redis":
        """A client of the server that reads and writes bytes."""
        return redis.Redis.from_url(self.server.url)

    @property
    def stage_url(self) -> str:
        return f"{self.server.url.rpartition('/')[0]}/{STAGE}"

    def settings(self) -> dict[str, str]:
        """Return the environment variables of every competitor."""
        return {
            "REDIS_URL": self.server.url,
            "MAILGUN_API_KEY": KEY,
            "MAILGUN_API_BASE_URL": self.sandbox.base_url,
            "MAILGUN_ALLOW_CUSTOM_HOST": "true",
            "MAILGUN_LIST_ADDRESS": LIST,
            "METRICS_PORT": "0",
            "LOG_FORMAT": "json",
        }

    def prepare(self, competitor: Competitor, people: Iterable[Person]) -> None:
        """Delete all that is stored, put the people on the list, and fill a ledger.

        Raises:
            RuntimeError: If `sync` fails.
        """
        self.sandbox.control.reset()
        self.redis.flushall()
        fill(self.sandbox.base_url, people)
        if competitor.keeps_ledger and self._can_sync:
            printed = printed_by(
                "-m", "worker", "sync", folder=self.folder, **self.settings(), **competitor.settings
            )
            if printed.status:
                raise RuntimeError(f"the ledger could not be filled: {printed.everything}")

    @contextmanager
    def running(self, competitor: Competitor, workers: int) -> Iterator[CompetitorProcesses]:
        """Run the competitor's workers until the block ends; they are ready when it begins."""
        folder = self.folder / f"{next(self.runs):02} {competitor.name}, {workers}"
        with running_processes(
            competitor, workers, folder, self.bench_python, **self.settings()
        ) as started:
            yield started

    @cached_property
    def _can_sync(self) -> bool:
        return printed_by("-m", "worker", "sync", "--help", folder=self.folder).status == 0


@contextmanager
def environment(
    bench_python: Path, logs: Path | None, *, log_size: int = 0
) -> Iterator[Environment]:
    """Run the server and the sandbox until the block ends.

    Args:
        bench_python: Python with the other task queues.
        logs: The folder that keeps the competitors' output; None: a temporary one.
        log_size: The number of requests that the sandbox's log keeps; 0: all.
    """
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        RunningSandbox("--log-size", str(log_size)) as sandbox,
    ):
        kept = logs or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        server = RedisServer(Path(folder) / "redis").start()
        try:
            yield Environment(server, sandbox, kept, bench_python, count(1))
        finally:
            server.stop()


def fill(base_url: str, people: Iterable[Person]) -> None:
    """Put these people on the list."""
    with requests.Session() as session:
        session.auth, session.trust_env = ("api", KEY), False
        left = iter(people)
        while entries := [each.entry() for each in islice(left, AT_ONCE)]:
            form = {"members": json.dumps(entries), "upsert": "yes"}
            session.post(
                f"{base_url}/v3/lists/{LIST}/members.json", data=form, timeout=30
            ).raise_for_status()
