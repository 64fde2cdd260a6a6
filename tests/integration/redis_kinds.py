"""The kinds of Redis that operators run, and the parts of the program on one of them."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from tests.integration.bench import KEY, LIST, QUICK, Printed, printed_by
from tests.integration.flowers import flower_process
from tests.redis_servers import (
    PASSWORD,
    SENTINEL_PASSWORD,
    USER,
    Process,
    Watched,
    server_with_users,
    watched,
)
from tests.sandboxes import RunningSandbox
from tests.servers import eventually, free_port
from tests.tls import Certificates, TlsRelay, certificates
from tests.workers import RunningWorker

LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"
SENTINEL_LOGIN = f"sentinel_password={quote(SENTINEL_PASSWORD, safe='')}"


@dataclass(frozen=True)
class Place:
    """A REDIS_URL, and a client of the database to which it must lead."""

    url: str
    client: Any


@dataclass
class Servers:
    """Servers, started when a test first needs them and ended with `stack`."""

    folder: Path
    stack: ExitStack

    @cached_property
    def certificates(self) -> Certificates:
        return certificates(self.folder / "certificates")

    @cached_property
    def with_users(self) -> Process:
        server = server_with_users(self.folder / "users")
        self.stack.callback(server.kill)
        return server

    @cached_property
    def plain_sentinel(self) -> Watched:
        return self._stopped_later(watched(self.folder / "plain-sentinel"))

    @cached_property
    def three_sentinels(self) -> Watched:
        return self._stopped_later(
            watched(
                self.folder / "three-sentinels",
                "signal",
                sentinels=3,
                users=True,
                own_password=True,
            )
        )

    def _stopped_later(self, started: Watched) -> Watched:
        self.stack.callback(started.stop)
        return started.ready()

    def relay(self, target: int, certificate: Path, **options: Any) -> TlsRelay:
        return self.stack.enter_context(TlsRelay(target, certificate, **options))

    def admin(self, db: int, server: Process | None = None, *, login: bool = True) -> Any:
        who = {"username": USER, "password": PASSWORD} if login else {}
        return (server or self.with_users).client(db, **who)


def user_and_database(on: Servers) -> Place:
    return Place(f"redis://{LOGIN}127.0.0.1:{on.with_users.port}/1", on.admin(1))


def every_option(on: Servers) -> Place:
    options = (
        "socket_timeout=5&socket_connect_timeout=2.5&health_check_interval=7"
        "&protocol=2&client_name=signal&db=2"
    )
    return Place(f" REDIS://{LOGIN}localhost:{on.with_users.port}?{options}\n", on.admin(2))


def newest_protocol(on: Servers) -> Place:
    return Place(
        f"redis://{LOGIN}127.0.0.1:{on.with_users.port}/3?protocol=3&socket_timeout=0.6",
        on.admin(3),
    )


def private_ca(on: Servers) -> Place:
    relay = on.relay(on.with_users.port, on.certificates.server)
    return Place(
        f"rediss://{LOGIN}localhost:{relay.port}/4?ssl_ca_certs={on.certificates.ca}", on.admin(4)
    )


def client_certificate(on: Servers) -> Place:
    own = on.certificates
    relay = on.relay(on.with_users.port, own.server, client_ca=own.ca)
    files = (
        f"ssl_ca_certs={own.ca}&ssl_certfile={own.client}&ssl_keyfile={own.client_key}"
        "&ssl_cert_reqs=CERT_REQUIRED"
    )
    return Place(f"rediss://{LOGIN}127.0.0.1:{relay.port}/5?{files}", on.admin(5))


def not_verified(on: Servers) -> Place:
    relay = on.relay(on.with_users.port, on.certificates.self_signed)
    return Place(f"rediss://{LOGIN}localhost:{relay.port}/6?ssl_cert_reqs=none", on.admin(6))


def one_sentinel(on: Servers) -> Place:
    [server] = on.plain_sentinel.servers
    return Place(
        f"sentinel://127.0.0.1:{on.plain_sentinel.ports[0]}", on.admin(0, server, login=False)
    )


def three_sentinels_one_dead(on: Servers) -> Place:
    ports = on.three_sentinels.ports
    hosts = (
        f"127.0.0.1:{free_port()};nowhere.invalid:26379;"
        f"sentinel://127.0.0.1:{ports[1]};127.0.0.1:{ports[2]}"
    )
    url = f"sentinel://{LOGIN}{hosts}/7?master_name=signal&{SENTINEL_LOGIN}"
    return Place(url, on.admin(7, on.three_sentinels.servers[0]))


def sentinel_over_tls(on: Servers) -> Place:
    own, master = on.certificates, server_with_users(on.folder / "tls-master")
    on.stack.callback(master.kill)
    # The sentinel itself connects without TLS.
    front = on.relay(master.port, own.server, plain_too=True)
    behind = on._stopped_later(_watching(on.folder / "tls-sentinel", front.port, master))
    sentinel = on.relay(behind.ports[0], own.server)
    url = f"sentinel://{LOGIN}localhost:{sentinel.port}/8?ssl=true&ssl_ca_certs={own.ca}"
    return Place(url, on.admin(8, master))


def _watching(folder: Path, port: int, master: Process) -> Watched:
    lines = (
        f"sentinel monitor mymaster 127.0.0.1 {port} 1",
        f"sentinel auth-user mymaster {USER}",
        f'sentinel auth-pass mymaster "{PASSWORD}"',
    )
    return Watched(
        folder, "mymaster", [master], [Process(folder, lines, ("--sentinel",)).start()], {}
    )


KINDS: dict[str, Callable[[Servers], Place]] = {
    "user, password, database": user_and_database,
    "every option": every_option,
    "RESP3, short time-out": newest_protocol,
    "TLS, private CA": private_ca,
    "TLS, client certificate": client_certificate,
    "TLS, not verified": not_verified,
    "one sentinel, no option": one_sentinel,
    "three sentinels, first dead": three_sentinels_one_dead,
    "sentinel over TLS": sentinel_over_tls,
}


@dataclass
class Parts:
    """The parts of the program on one Redis: worker, metrics, Flower, commands, a producer.

    Each is started when a test asks for it.
    """

    url: str
    integration: str
    sandbox: RunningSandbox
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    metrics_port: int = field(default_factory=free_port)
    flower_port: int = field(default_factory=free_port)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **QUICK,
            "REDIS_URL": self.url,
            "SIGNAL_INTEGRATION": self.integration,
            "MAILGUN_API_KEY": KEY,
            "MAILGUN_API_BASE_URL": self.sandbox.base_url,
            "MAILGUN_ALLOW_CUSTOM_HOST": "true",
            "MAILGUN_LIST_ADDRESS": LIST,
            **self.settings,
        }

    @property
    def queue(self) -> str:
        return f"mailgun.{self.integration}"

    @property
    def flower_log(self) -> Path:
        return self.folder / f"flower-{self.integration}.log"

    @contextmanager
    def worker(self, *command: str) -> Iterator[RunningWorker]:
        """Run a worker until the block ends; without a `command`, this program's."""
        settings = {**self.environment, "METRICS_PORT": str(self.metrics_port)}
        output = self.folder / f"worker-{self.integration}.log"
        worker = RunningWorker(settings, output, command=command or ("-m", "worker", "worker"))
        try:
            yield worker
        finally:
            worker.kill()

    @contextmanager
    def flower(self) -> Iterator[None]:
        """Run Flower until the block ends; its pages are there when it begins."""
        settings = {**self.environment, "FLOWER_UNAUTHENTICATED_API": "true"}
        with flower_process(self.flower_port, self.flower_log, **settings):
            yield

    def _flower(self, path: str) -> str:
        return f"http://127.0.0.1:{self.flower_port}{path}"

    def flower_page(self) -> str:
        """Return Flower's Broker tab on one line."""
        return " ".join(requests.get(self._flower("/broker"), timeout=30).text.split())

    def flower_depths(self) -> dict[str, int]:
        """Return each queue's depth by Flower's API, after it has inspected the workers."""
        requests.get(self._flower("/api/workers?refresh=1"), timeout=30).raise_for_status()
        answer = requests.get(self._flower("/api/queues/length"), timeout=30)
        answer.raise_for_status()
        return {each["name"]: each["messages"] for each in answer.json()["active_queues"]}

    def command(self, *arguments: str, given: str | None = None) -> Printed:
        """Run `signal-mailgun ARGUMENTS` to its end."""
        return printed_by(
            "-m", "worker", *arguments, given=given, folder=self.folder, **self.environment
        )

    def inspected(self) -> dict[str, Any]:
        """Return what Flower shows of the only worker: its settings, its connection and so on."""
        answer = requests.get(self._flower("/api/workers?refresh=1"), timeout=30)
        answer.raise_for_status()
        [found] = answer.json().values() or [{}]
        return dict(found)

    def producer(self, event: dict[str, Any]) -> Printed:
        """Run a producer that enqueues the event and prints its id.

        It is a process of its own with only REDIS_URL and SIGNAL_INTEGRATION set.
        """
        text = f"from worker import enqueue; print(enqueue({event!r}))"
        settings = {"REDIS_URL": self.url, "SIGNAL_INTEGRATION": self.integration}
        return printed_by("-c", text, folder=self.folder, **settings)

    def redis_up(self) -> float:
        """Return the metric `signal_mailgun_redis_up` once it can be scraped."""
        return eventually(self._scraped, 60, "metrics")[0]

    def _scraped(self) -> list[float]:
        try:
            page = requests.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30).text
        except requests.ConnectionError:
            return []
        return [
            float(line.rpartition(" ")[2])
            for line in page.splitlines()
            if line.startswith("signal_mailgun_redis_up{")
        ]

    def holds(self, address: str) -> bool:
        """Return True if the list has the member."""
        return address in self.sandbox.control.members()


def status_of(printed: Printed) -> dict[str, Any]:
    """Return what `status --json` printed."""
    assert printed.status == 0, printed.everything
    found: dict[str, Any] = json.loads(printed.out)
    return found
