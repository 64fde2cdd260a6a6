"""Servers that are no Redis, or not one that workers can use.

Some send one line, some speak TLS, some relay to a real server and change its answers.
"""

import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import trustme

from tests.listening import serve_each

Answering = Callable[[socket.socket], None]


class OddServer:
    """A loopback port; `answer` handles each connection in a thread of its own."""

    def __init__(self, answer: Answering) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        serve_each(self._listening, self._serve)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError), client:
            self._answer(client)


def saying(line: bytes) -> OddServer:
    """Send `line` at once, as Redis does when it refuses a connection, and close."""

    def answer(client: socket.socket) -> None:
        client.sendall(line)
        client.recv(4096)  # else the close would discard the line

    return OddServer(answer)


def http() -> OddServer:
    """Answer any input as a web server does, and close."""

    def answer(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    return OddServer(answer)


def silent() -> OddServer:
    """Accept connections, read, and answer nothing."""

    def answer(client: socket.socket) -> None:
        while client.recv(4096):
            pass

    return OddServer(answer)


def closing() -> OddServer:
    """Close each connection at its first input."""

    def answer(client: socket.socket) -> None:
        client.recv(4096)

    return OddServer(answer)


def tls(folder: Path) -> OddServer:
    """Speak TLS with a certificate that no system trusts, and answer nothing over it."""
    file = folder / "server.pem"
    trustme.CA().issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        file
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)

    def answer(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as within:
            while within.recv(4096):
                pass

    return OddServer(answer)


def old_redis(target: int) -> OddServer:
    """Relay to the server at `target`, and answer as Redis 6.0 does.

    INFO names that version, and BLMOVE and LMOVE are unknown.
    """
    return _relay(
        target,
        _unknown("BLMOVE", "LMOVE"),
        lambda reply: re.sub(rb"(redis_version:)\d\.\d\.\d", rb"\g<1>6.0.9", reply),
    )


def proxy_without(target: int, *commands: str) -> OddServer:
    """Relay to the server at `target`, and refuse `commands` as some proxies do."""
    return _relay(target, _unknown(*commands))


def proxy_that_forgets_transactions(target: int) -> OddServer:
    """Answer MULTI with OK and do not relay it to the server at `target`.

    The server executes the commands that follow at once.
    """
    return _relay(target, {"MULTI": b"+OK\r\n"})


def _unknown(*commands: str) -> dict[str, bytes]:
    return {
        each: f"-ERR unknown command '{each}', with args beginning with: \r\n".encode()
        for each in commands
    }


def _relay(
    target: int,
    own_answers: dict[str, bytes],
    rewritten: Callable[[bytes], bytes] = lambda reply: reply,
) -> OddServer:
    """Read commands one by one, answer those in `own_answers`, and relay the others."""

    def answer(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", target)) as server:
            for command in _commands(client):
                own = own_answers.get(command.split(b"\r\n")[2].decode().upper())
                if own is None:
                    server.sendall(command)
                client.sendall(own or rewritten(_reply(server)))

    return OddServer(answer)


def _commands(client: socket.socket) -> Iterator[bytes]:
    """Yield each command as it was sent (RESP arrays of bulk strings)."""
    reader = client.makefile("rb")
    while first := reader.readline():
        command = first
        for _ in range(int(first[1:])):
            length = reader.readline()
            command += length + reader.read(int(length[1:]) + 2)
        yield command


def _reply(server: socket.socket) -> bytes:
    """Return what the server sends until it pauses."""
    reply = server.recv(65536)
    server.settimeout(0.01)
    with contextlib.suppress(TimeoutError):
        while more := server.recv(65536):
            reply += more
    server.settimeout(None)
    return reply
