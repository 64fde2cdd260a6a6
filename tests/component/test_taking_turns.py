"""Greenlets wait for Redis and for Mailgun on real sockets, and the others go on meanwhile."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from tests.proxies import TunnelProxy
from tests.raw_mailguns import NAMED, RawMailgun, answer, certified, resolve_named, said
from tests.relays import Relay
from tests.servers import RedisServer, eventually
from tests.tls import TlsRelay, certificates
from worker.greenlets import Hub, Pool, current_hub, hub, sleep
from worker.mailgun.client import MailgunClient
from worker.mailgun.response import Response
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


def in_greenlet(act: Callable[[], Any]) -> Any:
    """Return what `act` returns in a greenlet of its own, or raise what it raises."""
    (found,) = Pool(1).map(lambda _: act(), [None])
    return found


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


def others_go_on() -> None:
    """Wait until other greenlets got fifty turns."""
    for _ in range(50):
        turned = begin(lambda: sleep(0.001))
        eventually(lambda turned=turned: turned, 10, what="a turn")  # type: ignore[misc]


def test_reply_that_comes_in_parts_delays_no_other_greenlet(relayed: tuple[Relay, str]) -> None:
    relay, url = relayed
    client = connect(url, socket_timeout=60)
    in_greenlet(lambda: client.set("parts", "0123456789"))
    relay.hold_back()
    asked = begin(lambda: client.get("parts"))
    eventually(lambda: relay.holds_back, what="the first part of the reply")
    others_go_on()
    assert asked == []
    relay.resume()
    eventually(lambda: asked, what="a reply")
    assert asked == ["0123456789"]


def test_command_that_redis_does_not_read_delays_no_other_greenlet(
    relayed: tuple[Relay, str],
) -> None:
    relay, url = relayed
    client = connect(url, socket_timeout=60)
    assert in_greenlet(client.ping)
    relay.silence()
    asked = begin(lambda: client.set("large", "x" * LARGE))
    others_go_on()
    assert asked == []
    relay.cut()
    eventually(lambda: asked, 20, what="a reply on another connection")
    assert asked == [True]
    client.delete("large")


def test_silence_of_a_connection_delays_no_other_greenlet(relayed: tuple[Relay, str]) -> None:
    relay, url = relayed
    client = connect(url, socket_timeout=60)
    assert in_greenlet(client.ping)
    relay.silence()
    asked = begin(client.ping)
    others_go_on()
    assert asked == []
    relay.cut()
    eventually(lambda: asked, 20, what="a reply on another connection")
    assert asked == [True]


@pytest.mark.parametrize("fall_silent", [Relay.hold_back, partial(Relay.silence, new=True)])
def test_reply_that_does_not_come_whole_times_out_and_is_nobody_elses(
    fall_silent: Callable[[Relay], None], relayed: tuple[Relay, str]
) -> None:
    relay, url = relayed
    client = connect(url, socket_timeout=0.2)
    in_greenlet(lambda: client.set("parts", "0123456789"))
    fall_silent(relay)
    asked = begin(lambda: client.get("parts"))
    eventually(lambda: asked, 20, what="a time-out")
    assert issubclass(asked[0], redis.TimeoutError | redis.ConnectionError)
    relay.resume()
    assert in_greenlet(lambda: client.set("other", "5"))
    assert in_greenlet(lambda: client.get("other")) == "5"


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


def test_large_request_through_a_proxy_with_tls_arrives_whole(
    files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        mailgun = MailgunClient(
            base_url=far.named_url,
            key=SecretStr("key-5ecret"),
            list_address="news@mg.example.com",
            connect_timeout=20,
            read_timeout=20,
        )
        for call in (in_greenlet, lambda act: act()):
            assert call(lambda: mailgun.upsert_many([entry])) == Response(200, b"{}")
    assert all(entry.encode() in each for each in far.asked)
    assert NAMED.encode() in proxy.asked[0]
