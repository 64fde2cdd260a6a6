"""The way to the mailing list on real sockets: what goes over the wire, through which proxy, trusting which certificates."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import raw_mailguns
from tests.proxies import TunnelProxy
from tests.raw_mailguns import NAMED, RawMailgun, answer, certified, resolve_named, said
from tests.servers import free_port
from worker import greenlets
from worker.mailgun.client import MailgunClient
from worker.mailgun.response import NoResponse, Response

LIST = "/v3/lists/news%2Beu@mg.example.com"
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
HEADERS = "User-Agent: signal-mailgun\r\nAccept-Encoding: gzip\r\nAccept: */*\r\nConnection: keep-alive\r\n"
KEY = "Authorization: Basic YXBpOmtleS01ZWNyZXQ=\r\n"  # api:key-5ecret
PROXYS_KEY = "Proxy-Authorization: Basic dXNlcjpwQHNz\r\n"  # user:p@ss
UNTRUSTED = NoResponse(
    "no secure connection: the certificate or the TLS handshake failed", asked=False
)

mailgun_at = partial(raw_mailguns.mailgun_at, list_address="news+eu@mg.example.com")
Ask = Callable[[MailgunClient], Response | NoResponse]


PARTS = (
    '--BOUNDARY\r\nContent-Disposition: form-data; name="members"\r\n\r\n[{"address":"jän"}]\r\n'
    '--BOUNDARY\r\nContent-Disposition: form-data; name="upsert"\r\n\r\ntrue\r\n--BOUNDARY--\r\n'
)
FORM = "address=jane%2Bn%40example.com&name=J%C3%A4ne+%26+Co&vars=%7B%22a%22%3A+%22~%22%7D"

PARTS_LENGTH = len(PARTS.encode()) + PARTS.count("BOUNDARY") * (32 - len("BOUNDARY"))

# Each kind of request: its method, its target below the list, the headers of its body, its body.
REQUESTS: dict[str, tuple[Ask, str, str, str, str]] = {
    "read_list": (lambda mailgun: mailgun.read_list(), "GET", "", "", ""),
    "read_member": (
        lambda mailgun: mailgun.read_member("jäne+x/..?y=1#~!$&'@example.com"),
        "GET",
        "/members/j%C3%A4ne%2Bx%2F..%3Fy%3D1%23~%21%24%26%27@example.com",
        "",
        "",
    ),
    "read_page": (
        lambda mailgun: mailgun.read_page({"limit": "100", "address": "jane+x&y= @example.com"}),
        "GET",
        "/members/pages?limit=100&address=jane%2Bx%26y%3D+%40example.com",
        "",
        "",
    ),
    "write": (
        lambda mailgun: mailgun.write(
            {"address": "jane+n@example.com", "name": "Jäne & Co", "vars": '{"a": "~"}'}
        ),
        "POST",
        "/members",
        f"Content-Length: {len(FORM)}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
        FORM,
    ),
    "upsert_many": (
        lambda mailgun: mailgun.upsert_many(['{"address":"jän"}']),
        "POST",
        "/members.json",
        f"Content-Length: {PARTS_LENGTH}\r\n"
        "Content-Type: multipart/form-data; boundary=BOUNDARY\r\n",
        PARTS,
    ),
    "delete_member": (
        lambda mailgun: mailgun.delete_member("jane@example.com"),
        "DELETE",
        "/members/jane@example.com",
        "Content-Length: 0\r\n",
        "",
    ),
}


def requests_sent(far: RawMailgun) -> list[str]:
    """Return the requests that came, without the random boundaries of their forms."""
    found = []
    for each in far.asked:
        text = each.decode()
        boundary = re.search("boundary=([0-9a-f]{32})\r\n", text)
        found.append(text.replace(boundary[1], "BOUNDARY") if boundary else text)
    return found


@pytest.mark.parametrize("kind", REQUESTS)
def test_request_is_these_bytes(kind: str) -> None:
    ask, method, below, about_body, body = REQUESTS[kind]
    with RawMailgun(said(answer())) as far:
        mailgun = mailgun_at(f"{far.url}/prefix")
        for _ in range(2):
            assert ask(mailgun) == Response(200, b"{}")
    head = f"{method} /prefix{LIST}{below} HTTP/1.1\r\nHost: 127.0.0.1:{far.port}\r\n"
    assert requests_sent(far) == [f"{head}{HEADERS}{about_body}{KEY}\r\n{body}"] * 2
    assert far.connections == 1


def test_head_and_body_leave_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[bytes] = []
    when_ready = greenlets.when_ready

    def recording(sock: Any, act: Any, wait: Any, ends: float) -> Any:
        if wait is greenlets.wait_to_write:
            pieces.append(bytes(*act.args))
        return when_ready(sock, act, wait, ends)

    monkeypatch.setattr(greenlets, "when_ready", recording)
    with RawMailgun(said(answer())) as far:
        assert mailgun_at(far.url).write({"address": "jane@example.com"}) == Response(200, b"{}")
    assert pieces == far.asked


@pytest.mark.parametrize("kind", REQUESTS)
def test_request_to_a_forwarding_proxy_names_the_whole_url(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, method, below, about_body, body = REQUESTS[kind]
    resolve_named(monkeypatch)
    with RawMailgun(said(answer())) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:p%40ss@127.0.0.1:{proxy.port}")
        mailgun = mailgun_at(f"http://{NAMED}:81")
        for _ in range(2):
            assert ask(mailgun) == Response(200, b"{}")
    head = f"{method} http://{NAMED}:81{LIST}{below} HTTP/1.1\r\nHost: {NAMED}:81\r\n"
    assert requests_sent(proxy) == [f"{head}{HEADERS}{about_body}{KEY}{PROXYS_KEY}\r\n{body}"] * 2
    assert proxy.connections == 1


def test_requests_over_tls_share_a_tunnel_that_only_knows_its_own_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_named(monkeypatch)
    context, trusted = certified(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with RawMailgun(said(answer()), context) as far, TunnelProxy(far.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        mailgun = mailgun_at(far.named_url)
        for _ in range(2):
            assert mailgun.read_list() == Response(200, b"{}")
    (connect,) = proxy.asked
    assert connect.decode().startswith(f"CONNECT {NAMED}:{far.port} HTTP/1.")
    assert PROXYS_KEY in connect.decode()
    assert KEY not in connect.decode()
    head = f"GET {LIST} HTTP/1.1\r\nHost: {NAMED}:{far.port}\r\n"
    assert requests_sent(far) == [f"{head}{HEADERS}{KEY}\r\n"] * 2


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [(NAMED, NAMED), (NAMED, ".test"), (NAMED, "*"), ("10.1.2.3", "10.0.0.0/8")],
)
def test_no_proxy_names_hosts_and_networks(
    host: str, no_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_named(monkeypatch, host)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with RawMailgun(said(answer())) as far:
        url = f"http://{host}:{far.port}"
        assert mailgun_at(url).read_list() == NoResponse(
            "no connection through the proxy", asked=False
        )
        monkeypatch.setenv("NO_PROXY", no_proxy)
        assert mailgun_at(url).read_list() == Response(200, b"{}")


@pytest.mark.parametrize("name", BUNDLES)
def test_certificates_of_the_environment_are_trusted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_named(monkeypatch)
    context, trusted = certified(tmp_path)
    with RawMailgun(said(answer()), context) as far:
        assert mailgun_at(far.named_url).read_list() == UNTRUSTED
        monkeypatch.setenv(name, str(trusted))
        assert mailgun_at(far.named_url).read_list() == Response(200, b"{}")
    assert len(far.asked) == 1


def test_environment_does_not_count_for_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_named(monkeypatch)
    context, trusted = certified(tmp_path)
    for name in BUNDLES:
        monkeypatch.setenv(name, str(trusted))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with RawMailgun(said(answer())) as far, RawMailgun(said(answer()), context) as over_tls:
        assert mailgun_at(far.url).read_list() == Response(200, b"{}")
        assert mailgun_at(over_tls.url).read_list() == UNTRUSTED


def test_netrc_file_does_not_replace_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_named(monkeypatch)
    (tmp_path / "netrc").write_text(f"machine {NAMED} login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with RawMailgun(said(answer())) as far:
        mailgun_at(far.named_url).read_list()
    assert KEY in requests_sent(far)[0]


def test_missing_file_of_certificates_fails_requests_until_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_named(monkeypatch)
    context, trusted = certified(tmp_path)
    later = tmp_path / "later.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(later))
    with RawMailgun(said(answer()), context) as far:
        mailgun = mailgun_at(far.named_url)
        for _ in range(2):
            assert mailgun.read_list() == NoResponse("no connection, or it broke (OSError)")
        later.write_bytes(trusted.read_bytes())
        assert mailgun.read_list() == Response(200, b"{}")
