"""Greenlets wait for Redis and for Mailgun on real sockets, and the others go on meanwhile."""

import _thread
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from urllib3.util.ssltransport import SSLTransport

from tests.greenlets import in_greenlet, no_thread
from tests.proxies import TunnelProxy
from tests.raw_mailguns import NAMED, RawMailgun, answer, certified, mailgun_at, resolve_named, said
from tests.relays import Relay
from tests.servers import RedisServer, eventually
from tests.tls import TlsRelay, certificates
from worker.greenlet_pool import Pool
from worker.greenlets import Hub, current_hub, hub, sleep
from worker.mailgun.response import NoResponse, Response
from worker.redis_client.client import connect

LARGE = 30_000_000  # bytes, more than sockets take without being read


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["plain", "tls"])
def relayed(
    request: pytest.FixtureRequest, server: RedisServer, files: Any
) -> Iterator[tuple[Relay, str]]:
    """A relay before Redis, and the URL to reach it, also over TLS."""
    with Relay(server.port) as relay:
        if request.param == "plain":
            yield relay, relay.url
            return
        with TlsRelay(relay.port, files.server) as tls:
            yield relay, f"rediss://localhost:{tls.port}?ssl_ca_certs={files.ca}"


def begin(act: Callable[[], Any]) -> list[Any]:
    """Call `act` in a greenlet; return a list that will hold what it returned or raised."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append(act())
        except redis.RedisError as error:
            ended.append(type(error))

    hub().spawn(run)
    return ended


def begin_in_part(relay: Relay, url: str, socket_timeout: float) -> list[Any]:
    """Begin to ask for a value of which only the first part comes; return a list as `begin`."""
    client = connect(url, socket_timeout=socket_timeout)
    in_greenlet(lambda: client.set("parts", "0123456789"))
    relay.hold_back()
    asked = begin(lambda: client.get("parts"))
    eventually(lambda: relay.holds_back, what="the first part of the reply")
    return asked


def others_go_on() -> None:
    """Wait until other greenlets got fifty turns."""
    for _ in range(50):
        turned = begin(lambda: sleep(0.001))
        eventually(lambda turned=turned: turned, 10, what="a turn")  # type: ignore[misc]


def test_reply_that_comes_in_parts_delays_no_other_greenlet(relayed: tuple[Relay, str]) -> None:
    relay, url = relayed
    asked = begin_in_part(relay, url, socket_timeout=60)
    others_go_on()
    assert asked == []
    relay.resume()
    eventually(lambda: asked, what="a reply")
    assert asked == ["0123456789"]


@pytest.mark.parametrize(
    "ask",
    [lambda client: client.set("large", "x" * LARGE), lambda client: client.ping()],
    ids=["does not read", "does not answer"],
)
def test_redis_that_falls_silent_delays_no_other_greenlet(
    ask: Callable[[Any], Any], relayed: tuple[Relay, str]
) -> None:
    relay, url = relayed
    client = connect(url, socket_timeout=60)
    assert in_greenlet(client.ping)
    relay.silence()
    asked = begin(lambda: ask(client))
    others_go_on()
    assert asked == []
    relay.cut()
    eventually(lambda: asked, 20, what="a reply on another connection")
    assert asked == [True]
    client.delete("large")


def test_reply_that_comes_slowly_is_waited_for(relayed: tuple[Relay, str]) -> None:
    relay, url = relayed
    asked = begin_in_part(relay, url, socket_timeout=2)
    for _ in range(5):
        time.sleep(0.5)
        relay.pass_on(1)
    assert asked == []
    relay.resume()
    eventually(lambda: asked, what="a reply")
    assert asked == ["0123456789"]


@pytest.mark.parametrize("fall_silent", [Relay.hold_back, Relay.silence])
def test_reply_that_does_not_come_whole_times_out_and_is_nobody_elses(
    fall_silent: Callable[[Relay], None], relayed: tuple[Relay, str]
) -> None:
    relay, url = relayed
    pool: Any = connect(url, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)).connection_pool

    def ask() -> type[Exception] | None:
        connection = pool.get_connection()
        connection.send_command("PING")
        assert connection.read_response() == "PONG"
        fall_silent(relay)
        connection.send_command("PING")
        try:
            connection.read_response()
        except redis.RedisError as error:
            return None if connection._sock else type(error)
        return None

    assert in_greenlet(ask) is redis.TimeoutError


def test_command_that_redis_never_reads_times_out(relayed: tuple[Relay, str]) -> None:
    relay, url = relayed
    pool: Any = connect(url, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)).connection_pool

    def send() -> type[Exception] | None:
        connection = pool.get_connection()
        relay.silence()
        try:
            connection.send_command("SET", "large", "x" * LARGE)
        except redis.RedisError as error:
            return None if connection._sock else type(error)
        return None

    assert in_greenlet(send) is redis.TimeoutError


def test_idle_connection_is_tried_before_it_is_used(
    relayed: tuple[Relay, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = relayed
    pool: Any = connect(url, health_check_interval=25).connection_pool

    def ask() -> list[str]:
        connection = pool.get_connection()
        sent: list[str] = []
        send = connection._send_ping

        def note_ping() -> None:
            sent.append("PING")
            send()

        monkeypatch.setattr(connection, "_send_ping", note_ping)
        connection.send_command("ECHO", "5")
        assert (sent, connection.read_response()) == ([], "5")
        connection.next_health_check = 1
        connection.send_command("ECHO", "5")
        assert connection.read_response() == "5"
        return sent

    assert in_greenlet(ask) == ["PING"]


def test_no_thread_left_is_an_outage_of_redis(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_greenlet(current_hub)  # the hub has its thread
    monkeypatch.setattr(_thread, "start_new_thread", no_thread)
    with pytest.raises(redis.ConnectionError):
        in_greenlet(connect(server.url, retry=Retry(NoBackoff(), 0)).ping)


def test_large_command_and_reply_arrive_whole(relayed: tuple[Relay, str]) -> None:
    _, url = relayed
    client = connect(url, socket_timeout=20)
    assert in_greenlet(lambda: client.set("large", "x" * LARGE))
    assert in_greenlet(lambda: client.get("large")) == "x" * LARGE
    assert client.get("large") == "x" * LARGE  # a thread on the same connection
    client.delete("large")


def test_error_of_redis_keeps_its_connection(relayed: tuple[Relay, str]) -> None:
    _, url = relayed
    client = connect(url)

    client.set("parts", "5")

    def fail() -> Any:
        before = client.client_id()
        with pytest.raises(redis.ResponseError):
            client.hget("parts", "field")
        return before == client.client_id()

    assert in_greenlet(fail)


def test_connection_that_broke_is_made_again_in_a_thread(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hubs: list[Hub | None] = []
    connects = redis.Connection._connect

    def noting(self: Any) -> Any:
        hubs.append(current_hub())
        return connects(self)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(redis.Connection, "_connect", noting)
    with Relay(server.port) as relay:
        client = connect(relay.url)
        assert in_greenlet(client.ping)
        relay.lose_replies(1)
        assert in_greenlet(client.ping)
    assert hubs == [None, None]


# Mailgun


def test_no_thread_left_is_a_request_that_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    in_greenlet(current_hub)  # the hub has its thread
    with RawMailgun(said(answer())) as far, monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", no_thread)
        found = in_greenlet(mailgun_at(far.url).read_list)
        assert isinstance(found, NoResponse)
        assert not found.asked


def test_connections_share_the_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trusted = certified(tmp_path)
    resolve_named(monkeypatch)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    called: list[str] = []

    def counting(name: str) -> Callable[..., None]:
        act = getattr(ssl.SSLContext, name)

        def call(*args: Any) -> None:
            called.append(name)
            act(*args)

        return call

    # A context that others use must not be changed while they connect.
    for name in ("load_verify_locations", "set_alpn_protocols"):
        monkeypatch.setattr(ssl.SSLContext, name, counting(name))
    with RawMailgun(said(answer()), context) as far:
        mailgun = mailgun_at(far.named_url)
        found = Pool(8).map(lambda _: mailgun.read_list(), range(8))
        assert found == [Response(200, b"{}")] * 8
        assert far.connections > 1
    assert sorted(called) == ["load_verify_locations", "set_alpn_protocols"]


@pytest.mark.parametrize("call", [in_greenlet, lambda act: act()], ids=["greenlet", "thread"])
def test_large_request_through_a_proxy_with_tls_arrives_whole(
    call: Any, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_named(monkeypatch)
    context, trusted = certified(tmp_path)
    trusted.write_bytes(trusted.read_bytes() + files.ca.read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    entry = '{"address": "jane@example.com", "vars": {"x": "%s"}}' % ("y" * 8_000_000)
    with (
        RawMailgun(said(answer()), context) as far,
        TunnelProxy(far.port) as proxy,
        TlsRelay(int(proxy.url.rpartition(":")[2]), files.server) as tls,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"https://localhost:{tls.port}")
        hubs: list[Hub | None] = []
        sends = SSLTransport.sendall

        def noting(self: Any, data: bytes, flags: int = 0) -> None:
            hubs.append(current_hub())
            sends(self, data, flags)

        monkeypatch.setattr(SSLTransport, "sendall", noting)
        mailgun = mailgun_at(far.named_url, connect=20, read=20)
        assert call(lambda: mailgun.upsert_many([entry])) == Response(200, b"{}")
    assert entry.encode() in far.asked[0]
    assert NAMED.encode() in proxy.asked[0]
    assert set(hubs) == {None}
