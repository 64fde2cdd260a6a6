"""Servers in Mailgun's place, byte by byte.

Each is a loopback port that sends what the test tells it to, over HTTP or TLS.
"""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, repeat
from pathlib import Path
from typing import Any, Self

import pytest
import trustme
from pydantic import SecretStr

from worker.mailgun.client import MailgunClient

DRIP_SECONDS = 0.05
NAMED = "mailgun.test"
# What an environment says of the way to a host that is not on loopback.
WAYS = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "requests_ca_bundle",
    "curl_ca_bundle",
)

# Called with the number of a request, from 1; yields what is sent to it.
Saying = Callable[[int], Iterator[bytes]]


def said(*parts: bytes) -> Saying:
    """Send `parts` to each request, each in a packet of its own."""
    return lambda _: iter(parts)


def in_turn(*answers: bytes) -> Saying:
    """Send to each request the answer at its place, to all further requests the last one."""
    return lambda number: iter([answers[min(number, len(answers)) - 1]])


def dripping(before: bytes, forever: bytes, seconds: float = DRIP_SECONDS) -> Saying:
    """Send `before`, then one byte of `forever` every `seconds`, without end."""

    def drip(_: int) -> Iterator[bytes]:
        yield before
        for part in repeat(forever):
            for byte in part or [None]:
                time.sleep(seconds)
                yield b"" if byte is None else bytes([byte])

    return drip


def pouring(before: bytes, forever: bytes) -> Saying:
    """Send `before`, then `forever` again and again as fast as the client reads."""

    def pour(_: int) -> Iterator[bytes]:
        yield before
        yield from repeat(forever)

    return pour


def answer(body: bytes = b"{}", status: str = "200 OK", *headers: str) -> bytes:
    """Return an ordinary answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def member_answer(address: str, **fields: Any) -> bytes:
    """Return Mailgun's answer about a member."""
    member = {"address": address, "name": "", "subscribed": True, "vars": {}, **fields}
    return answer(json.dumps({"member": member}).encode())


def mailgun_at(
    url: str,
    *,
    list_address: str = "news@mg.example.com",
    connect: float = 10.0,
    read: float = 10.0,
) -> MailgunClient:
    """Return the real client for a Mailgun at `url`; the time-outs are in seconds."""
    return MailgunClient(
        base_url=url,
        key=SecretStr("key-5ecret"),
        list_address=list_address,
        connect_timeout=connect,
        read_timeout=read,
    )


class RawMailgun:
    """A loopback port that answers requests as `saying` tells it.

    Attributes:
        port: The port.
        url: The base URL.
        named_url: The base URL with the name `NAMED`, see `resolve_named`.
        connections: The number of connections so far.
        asked: The requests, head and body.
        sent: The number of bytes sent.
        current: Its `request` is the one that this thread answers, `client` the socket to answer on.
    """

    def __init__(
        self, saying: Saying, tls: ssl.SSLContext | None = None, handshake: Saying | None = None
    ) -> None:
        """Open the port.

        Args:
            saying: What is sent to each request.
            tls: The context that wraps each connection; None: plain HTTP.
            handshake: What is sent to each connection before it asks, in place of all else.
        """
        self._saying, self._tls, self._handshake = saying, tls, handshake
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._numbers = count(1)
        self._clients: list[socket.socket] = []
        self.port = int(self._listening.getsockname()[1])
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.named_url = f"{scheme}://{NAMED}:{self.port}"
        self.connections = 0
        self.asked: list[bytes] = []
        self.sent = 0
        self.current = threading.local()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in [self._listening, *self._clients]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.connections += 1
                self._clients.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, ValueError), client:
            if self._handshake:
                self._say(client, self._handshake(0))
            elif self._tls:
                with self._tls.wrap_socket(client, server_side=True) as within:
                    self._converse(within)
            else:
                self._converse(client)

    def _converse(self, client: socket.socket) -> None:
        while request := request_on(client):
            self.asked.append(request)
            self.current.request, self.current.client = request, client
            self._say(client, self._saying(next(self._numbers)))

    def _say(self, client: socket.socket, parts: Iterator[bytes]) -> None:
        for part in parts:
            client.sendall(part)
            self.sent += len(part)


def request_on(client: socket.socket) -> bytes:
    """Read one request; return b"" if the connection ended."""
    request = b""
    while b"\r\n\r\n" not in request:
        if not (more := client.recv(65536)):
            return b""
        request += more
    head, _, body = request.partition(b"\r\n\r\n")
    lengths = [
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    ]
    while len(body) < sum(lengths):
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


def resolve_named(monkeypatch: pytest.MonkeyPatch, name: str = NAMED) -> None:
    """Let `name` be this machine, and the environment, which counts for it, say nothing.

    Names that end with `.invalid` are unknown.
    """
    for each in WAYS:
        monkeypatch.delenv(each, raising=False)
        monkeypatch.delenv(each.upper(), raising=False)
    ask = socket.getaddrinfo

    def resolve(host: str, *place: Any, **options: Any) -> Any:
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return ask("127.0.0.1" if host == name else host, *place, **options)

    monkeypatch.setattr("worker.mailgun.connection.socket.getaddrinfo", resolve)


def certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a context for a server on loopback, and the CA file that its clients must trust."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost", NAMED).configure_cert(context)
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    return context, trusted
