"""The table of docs/redis.md: each kind of Redis by each part of the program, and what each part says of a wrong one."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.bench import KEY, identified, printed_by, until
from tests.integration.redis_kinds import KINDS, LOGIN, Parts, Place, Servers, status_of
from tests.redis_servers import PASSWORD, SENTINEL_PASSWORD
from tests.sandboxes import RunningSandbox
from tests.servers import eventually
from tests.tls import TlsRelay
from tests.workers import RunningWorker
from worker.queue.codec import encode
from worker.queue.producer import message_for
from worker.redis_client.address import redis_address

DOCS = Path(__file__).parents[2] / "docs/redis.md"
SECRETS = (PASSWORD, SENTINEL_PASSWORD, "s3cret", LOGIN)


@dataclass
class Running:
    """All parts on one kind of Redis."""

    parts: Parts
    place: Place
    worker: RunningWorker
    name: str

    def address(self, what: str) -> str:
        return f"{what}.{self.name}@example.com"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("servers"), stack)


@pytest.fixture(scope="module", params=KINDS)
def running(
    request: pytest.FixtureRequest,
    servers: Servers,
    running_sandbox: RunningSandbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    number = list(KINDS).index(request.param)
    place = KINDS[request.param](servers)
    parts = Parts(place.url, f"kind{number}", running_sandbox, tmp_path_factory.mktemp("parts"))
    running_sandbox.control.reset()
    with parts.worker() as worker, parts.flower():
        yield Running(parts, place, worker.ready(), f"kind{number}")


def test_worker_delivers_from_each_kind_of_redis(running: Running) -> None:
    event = identified(running.address("worker"))
    running.place.client.lpush(running.parts.queue, encode(message_for(event), running.parts.queue))
    until(lambda: running.parts.holds(running.address("worker")), "the member")


def test_flower_shows_queue_depths_of_each_kind_of_redis(running: Running) -> None:
    dead_letters = f"{running.parts.queue}.dead_letter"
    running.place.client.lpush(dead_letters, "{}", "{}", "{}")
    try:
        until(
            lambda: running.parts.flower_depths().get(dead_letters) == 3,
            "three dead letters in Flower",
            60,
        )
        row = running.parts.flower_page().partition(dead_letters)[2].partition("</tr>")[0]
        assert ">3</td>" in row
    finally:
        running.place.client.delete(dead_letters)


def test_command_line_enqueues_on_each_kind_of_redis_and_sees_the_worker(running: Running) -> None:
    sent = running.parts.command(
        "send", "-", given=f'{{"type":"identify","traits":{{"email":"{running.address("cli")}"}}}}'
    )
    assert sent.status == 0, sent.everything
    until(lambda: running.parts.holds(running.address("cli")), "the member")
    until(
        lambda: status_of(running.parts.command("status", "--json"))["workers"],
        "the worker in `status`",
    )


def test_producer_enqueues_on_each_kind_of_redis(running: Running) -> None:
    printed = running.parts.producer(
        {**identified(running.address("producer")), "messageId": "m-1"}
    )
    assert (printed.status, printed.out.strip()) == (0, "m-1"), printed.everything
    until(lambda: running.parts.holds(running.address("producer")), "the member")


def test_metrics_show_that_redis_is_up(running: Running) -> None:
    until(lambda: running.parts.redis_up() == 1, "a metric that says so")


def test_worker_and_flower_print_no_secret(running: Running) -> None:
    printed = (
        running.worker.printed()
        + running.parts.flower_log.read_text()
        + running.parts.flower_page()
    )
    assert not [each for each in (*SECRETS, KEY) if each in printed]


def test_worker_inspection_shows_no_secret(running: Running) -> None:
    told = (
        eventually(
            lambda: (found := running.parts.inspected()).keys() >= {"stats", "conf"} and found, 60
        )
        or {}
    )
    host = redis_address(running.place.url).servers[0].host
    assert told["stats"]["broker"]["hostname"] == host
    assert not [each for each in SECRETS if each in json.dumps(told)]


def test_unverified_tls_is_warned_about_once_by_each_program(running: Running) -> None:
    expected = int("ssl_cert_reqs=none" in running.place.url)
    told = "is not verified (ssl_cert_reqs=none)"
    assert running.worker.printed().count(told) == expected
    assert running.parts.flower_log.read_text().count(told) == expected
    status = running.parts.command("status", "--json")
    assert status.err.count(told) == expected
    assert len(status.err.splitlines()) == expected
    assert running.parts.producer(identified(running.address("told"))).err.count(told) == expected


def test_connections_to_each_kind_of_redis_are_made_alike(running: Running) -> None:
    options = running.place.client.connection_pool.connection_kwargs
    clients = [
        each
        for each in running.place.client.client_list()
        if int(each["db"]) == options["db"]
        and each["cmd"] != "client|list"
        and not each["name"].startswith("sentinel-")
    ]
    assert len(clients) >= 4  # the worker's loop and its deliveries, Flower's loop and its commands
    assert {each["user"] for each in clients} == {options.get("username") or "default"}
    assert {each["name"] for each in clients} == {
        "signal" if "client_name=signal" in running.place.url else ""
    }
    assert {each["resp"] for each in clients} == {"2" if "protocol=2" in running.place.url else "3"}


def test_documented_table_lists_the_tested_kinds_of_redis() -> None:
    rows = re.findall(
        r"^\| (.+?) \| ✓ \| ✓ \| ✓ \| ✓ \| ✓ \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert rows == list(KINDS)


# -- TLS that must not come about ------------------------------------------------------------------------------------


@dataclass
class Interceptor:
    """What answers in place of Redis with a certificate that no client should trust."""

    relay: TlsRelay
    parts: Parts
    # What redis-py's error says, and what operators are told.
    raised: str
    told: str


BAD = {
    "unknown authority": (
        "server",
        "",
        "unable to get local issuer certificate",
        "unable to get local issuer",
    ),
    "other host": (
        "elsewhere",
        "ssl_ca_certs={ca}",
        "Hostname mismatch",
        "is for another host name",
    ),
    "self-signed": ("self_signed", "", "self-signed certificate", "self-signed certificate"),
}


@pytest.fixture(scope="module", params=BAD)
def interceptor(
    request: pytest.FixtureRequest,
    servers: Servers,
    running_sandbox: RunningSandbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Interceptor]:
    certificate, options, raised, told = BAD[request.param]
    with TlsRelay(servers.with_users.port, getattr(servers.certificates, certificate)) as relay:
        url = (
            f"rediss://{LOGIN}localhost:{relay.port}/9?{options.format(ca=servers.certificates.ca)}"
        )
        parts = Parts(url, "intercepted", running_sandbox, tmp_path_factory.mktemp("intercepted"))
        yield Interceptor(relay, parts, raised, told)
        assert (bytes(relay.read), bytes(relay.plain)) == (b"", b"")


def test_worker_behind_an_interceptor_ends_and_sends_no_byte(interceptor: Interceptor) -> None:
    with interceptor.parts.worker() as worker:
        assert worker.process.wait(60) == 1
    last = worker.printed().splitlines()[-1]
    assert last.startswith("signal-mailgun: Redis: the certificate of rediss://")
    assert interceptor.told in last
    assert bytes(interceptor.relay.read) == b""


def test_running_worker_behind_an_interceptor_sends_no_byte(interceptor: Interceptor) -> None:
    # As a worker that runs when the certificate is replaced: nothing looks at Redis before its loop and its metrics do.
    program = (
        "import worker.consumer.startup as startup; startup.check_redis = lambda _settings: None\n"
        "from worker.app import app; app.worker_main(['worker', '--without-gossip', '--without-mingle'])"
    )
    with interceptor.parts.worker("-c", program) as worker:
        until(lambda: interceptor.raised in worker.printed(), "the reason in the worker's log", 60)
        assert interceptor.parts.redis_up() == 0
        assert worker.process.poll() is None
        assert "Traceback" not in worker.printed()
    assert bytes(interceptor.relay.read) == b""


def test_flower_behind_an_interceptor_sends_no_byte(interceptor: Interceptor) -> None:
    with interceptor.parts.flower():
        interceptor.parts.flower_page()
        assert interceptor.raised in interceptor.parts.flower_log.read_text()
    assert bytes(interceptor.relay.read) == b""


@pytest.mark.parametrize("command", ["status", "check"])
def test_command_behind_an_interceptor_fails_and_sends_no_byte(
    interceptor: Interceptor, command: str
) -> None:
    printed = interceptor.parts.command(command)
    assert printed.status == 1
    assert interceptor.told in printed.everything
    assert command == "check" or len(printed.err.splitlines()) == 1
    assert bytes(interceptor.relay.read) == b""


def test_producer_behind_an_interceptor_raises_and_sends_no_byte(interceptor: Interceptor) -> None:
    printed = interceptor.parts.producer(identified("intercepted@example.com"))
    assert printed.status == 1
    assert interceptor.raised in printed.err
    assert bytes(interceptor.relay.read) == b""


# -- what is refused at start, by every part ---------------------------------------------------------------------------

COMMANDS = {
    "worker": ("-m", "worker", "worker"),
    "celery worker": ("-m", "celery", "-A", "worker.app", "worker"),
    "celery flower": ("-m", "celery", "-A", "worker.app", "flower"),
    "run": ("-m", "worker", "run", "--once"),
    **{
        " ".join(each): ("-m", "worker", *each)
        for each in (
            ("send", "-"),
            ("preview", "-"),
            ("check",),
            ("status",),
            ("sync",),
            ("explain", "a@example.com"),
            ("forget", "a@example.com", "--yes"),
            ("pause",),
            ("resume",),
            ("dead-letters", "list"),
        )
    },
    "enqueue": ("-c", "from worker import enqueue; enqueue({'type': 'page'})"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_unsupported_redis_option_is_refused_at_start_by_name(command: str, tmp_path: Path) -> None:
    url = "redis://:s3cret@127.0.0.1:1/0?max_connections=s3cret"
    printed = printed_by(*COMMANDS[command], folder=tmp_path, REDIS_URL=url, given="{}")
    assert printed.status == 1
    assert "s3cret" not in printed.everything
    last = printed.err.splitlines()[-1]
    assert "REDIS_URL: the option max_connections is not supported" in last
    assert command == "enqueue" or printed.err.splitlines() == [last]


@pytest.mark.parametrize(
    "command", ["worker", "celery worker", "celery flower", "status", "enqueue"]
)
def test_missing_certificate_file_is_named_at_start(command: str, tmp_path: Path) -> None:
    url = f"rediss://127.0.0.1:1/0?ssl_ca_certs={tmp_path}/none.pem"
    printed = printed_by(*COMMANDS[command], folder=tmp_path, REDIS_URL=url)
    assert printed.status == 1
    assert (
        f"REDIS_URL: the option ssl_ca_certs: {tmp_path}/none.pem cannot be read"
        in printed.err.splitlines()[-1]
    )


SENTINEL_TROUBLE = {
    "unknown master": (
        ";127.0.0.1:{sentinel}?master_name=other",
        "the sentinels know no master other",
        True,
    ),
    "no sentinel": (";127.0.0.1:2", "no sentinel answers", True),
    "a Redis instead": (";127.0.0.1:{server}", "is Redis itself, not a Sentinel", False),
}


@pytest.mark.parametrize("trouble", SENTINEL_TROUBLE)
def test_useless_sentinels_are_reported_in_one_line(
    trouble: str, servers: Servers, running_sandbox: RunningSandbox, tmp_path: Path
) -> None:
    more, says, waits = SENTINEL_TROUBLE[trouble]
    on = servers.plain_sentinel
    url = f"sentinel://127.0.0.1:1{more.format(sentinel=on.ports[0], server=on.servers[0].port)}"
    parts = Parts(url, "lost", running_sandbox, tmp_path)
    printed = parts.command("status")
    assert printed.status == 1
    [line] = printed.err.splitlines()
    assert says in line
    with parts.worker() as worker:
        until(lambda: says in worker.printed(), "the reason in the worker's log")
        assert waits or worker.process.wait(60) == 1
        assert (worker.process.poll() is None) == waits
        assert "Traceback" not in worker.printed()
