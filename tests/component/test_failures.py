"""What a request fails with on real sockets: in which words, and whether it may have reached Mailgun."""

import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxies import TunnelProxy
from tests.raw_mailguns import (
    NAMED,
    RawMailgun,
    Saying,
    answer,
    certified,
    dripping,
    mailgun_at,
    resolve_named,
    said,
)
from tests.servers import free_port
from worker.mailgun.response import NoResponse, Response

BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
BAD_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)  # TLS data that does not decrypt
BROKE = "no connection, or it broke (ConnectionError)"
NO_ANSWER = "no usable answer: the answer is not HTTP/1.1, or it was cut off"
TLS_FAILED = "no secure connection: the certificate or the TLS handshake failed"
PROXY_FAILED = "no connection through the proxy"
SILENT = "time-out: connected, but no answer in time; Mailgun may have stored it"


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_named(monkeypatch)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A context whose certificate clients trust."""
    context, file = certified(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    return context


def ask(url: str, *, connect: float = 10, read: float = 10) -> Response | NoResponse:
    return mailgun_at(url, connect=connect, read=read).write({"address": "jane@example.com"})


def test_refused_connection_was_never_sent() -> None:
    assert ask(f"http://{NAMED}:{free_port()}") == NoResponse(BROKE, asked=False)


def test_unknown_host_was_never_sent() -> None:
    assert ask("https://unknown.invalid") == NoResponse(BROKE, asked=False)


def test_certificate_of_another_authority_was_never_sent(
    tmp_path: Path, trusted: ssl.SSLContext
) -> None:
    (tmp_path / "other").mkdir()
    other, _ = certified(tmp_path / "other")
    for context, expected in (
        (other, NoResponse(TLS_FAILED, asked=False)),
        (trusted, Response(200, b"{}")),
    ):
        with RawMailgun(said(answer()), context) as far:
            assert ask(far.named_url) == expected


def test_certificate_of_another_host_was_never_sent(
    tmp_path: Path, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_named(monkeypatch, "other.test")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    with RawMailgun(said(answer()), trusted) as far:
        assert ask(f"https://other.test:{far.port}") == NoResponse(TLS_FAILED, asked=False)


@pytest.mark.parametrize(
    ("handshake", "reason"),
    [
        (dripping(b"HTTP/1.1 400 Bad Request\r\n\r\n", b""), TLS_FAILED),
        (dripping(b"\x15\x03\x03\x00\x02\x02\x28", b""), TLS_FAILED),
        (
            dripping(b"\x16\x03\x03\x40\x00", b"\x02"),
            "time-out: no connection to Mailgun in time",
        ),
    ],
    ids=["no TLS", "an alert", "it drips"],
)
def test_failed_handshake_was_never_sent(
    handshake: Saying, reason: str, trusted: ssl.SSLContext
) -> None:
    with RawMailgun(said(answer()), trusted, handshake) as far:
        assert ask(far.named_url, connect=0.5) == NoResponse(reason, asked=False)


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\xff\x00"])
def test_certificates_that_cannot_be_read_were_never_sent_to(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: ssl.SSLContext
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with RawMailgun(said(answer()), trusted) as far:
        assert ask(far.named_url) == NoResponse(TLS_FAILED, asked=False)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy", ["127.0.0.1:{port}", "unknown.invalid:3128"])
def test_proxy_that_cannot_be_reached_was_never_sent(
    scheme: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", f"http://{proxy.format(port=free_port())}")
    assert ask(f"{scheme}://{NAMED}") == NoResponse(PROXY_FAILED, asked=False)


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required"])
def test_proxy_that_makes_no_tunnel_was_never_sent(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TunnelProxy(0, f"HTTP/1.1 {status}\r\n\r\n".encode()) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert ask(f"https://{NAMED}") == NoResponse(PROXY_FAILED, asked=False)


def test_untrusted_certificate_behind_a_proxy_was_never_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, _ = certified(tmp_path)
    with RawMailgun(said(answer()), context) as far, TunnelProxy(far.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert ask(far.named_url) == NoResponse(TLS_FAILED, asked=False)


def ended(said_before: bytes) -> Saying:
    """Say that much, and end the connection."""

    def saying(_: int) -> Iterator[bytes]:
        yield said_before
        raise ConnectionError

    return saying


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("saying", "reason"),
    [
        (dripping(b"", b""), SILENT),
        (dripping(BEGUN, b""), "time-out: the answer did not end in time"),
        (ended(b""), NO_ANSWER),
        (ended(BEGUN[:20]), NO_ANSWER),
        (ended(BEGUN), NO_ANSWER),
        (ended(b"SSH-2.0-OpenSSH_9.2\r\n"), NO_ANSWER),
    ],
    ids=["silence", "silence in the body", "the end", "part of a head", "part of a body", "SSH"],
)
def test_request_without_a_whole_answer_may_have_been_stored(
    saying: Saying, reason: str, scheme: str, trusted: ssl.SSLContext
) -> None:
    with RawMailgun(saying, trusted if scheme == "https" else None) as far:
        assert ask(far.named_url, read=0.5) == NoResponse(reason, asked=True)


@pytest.mark.parametrize("before", [b"", BEGUN[:20], BEGUN])
def test_reset_connection_may_have_been_stored(before: bytes) -> None:
    def saying(_: int) -> Iterator[bytes]:
        yield before
        reset_at_close = struct.pack("ii", 1, 0)
        far.current.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_close)
        raise ConnectionError

    with RawMailgun(saying) as far:
        found = ask(far.named_url)
    # The reset may overtake what was sent before it.
    reasons = [BROKE, "no answer (ProtocolError)"] if before == BEGUN else [BROKE]
    assert found in [NoResponse(each, asked=True) for each in reasons]


@pytest.mark.parametrize(
    ("before", "reason"), [(b"", BROKE), (BEGUN, "no answer (SSLError)")], ids=["head", "body"]
)
def test_tls_that_breaks_after_the_request_may_have_been_stored(
    before: bytes, reason: str, trusted: ssl.SSLContext
) -> None:
    def saying(_: int) -> Iterator[bytes]:
        yield before
        socket.socket.sendall(far.current.client, BAD_RECORD)  # under TLS, not in it

    with RawMailgun(saying, trusted) as far:
        assert ask(far.named_url) == NoResponse(reason, asked=True)
