"""TLS before a plain server: certificates, and a relay that ends TLS and keeps what it read."""

import contextlib
import select
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import trustme

from tests.listening import serve_each

TLS_HANDSHAKE = b"\x16"  # the first byte of a TLS connection
READ_BYTES = 65536


@dataclass(frozen=True)
class Certificates:
    """Files in PEM form.

    All but `self_signed` come from one authority.

    Attributes:
        ca: The authority's certificate.
        server: The certificate of localhost and 127.0.0.1, with its key.
        elsewhere: The certificate of another host, with its key.
        client: A client's certificate.
        client_key: Its key.
        self_signed: Another authority's certificate, with its key.
    """

    ca: Path
    server: Path
    elsewhere: Path
    client: Path
    client_key: Path
    self_signed: Path


def certificates(folder: Path) -> Certificates:
    """Write all certificates to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Certificates(
        *(
            folder / f"{name}.pem"
            for name in ("ca", "server", "elsewhere", "client", "client-key", "self-signed")
        )
    )
    authority, itself, client = trustme.CA(), trustme.CA(), None
    authority.cert_pem.write_to_path(found.ca)
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        found.server
    )
    authority.issue_cert("redis.example.com").private_key_and_cert_chain_pem.write_to_path(
        found.elsewhere
    )
    client = authority.issue_cert("worker@example.com")
    client.cert_chain_pems[0].write_to_path(found.client)
    client.private_key_pem.write_to_path(found.client_key)
    found.self_signed.write_bytes(itself.private_key_pem.bytes() + itself.cert_pem.bytes())
    return found


class TlsRelay:
    """A port with a certificate that relays to a plain server on loopback.

    Attributes:
        target: The plain server's port.
        read: What clients sent through TLS.
        plain: What clients sent without TLS; it is relayed only with `plain_too`.
        port: The relay's port.
    """

    def __init__(
        self,
        target: int,
        certificate: Path,
        *,
        client_ca: Path | None = None,
        plain_too: bool = False,
    ) -> None:
        self.target = target
        self.read, self.plain = bytearray(), bytearray()
        self._plain_too = plain_too
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
        self._context.load_cert_chain(certificate)
        if client_ca:
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        serve_each(self._listening, self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in tuple(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # ends its thread, which closes it

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        # A client that refuses the certificate is no error here.
        with contextlib.suppress(OSError), client:
            if client.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE:
                with self._context.wrap_socket(client, server_side=True) as within:
                    self._pass_on(within, self.read)
            elif self._plain_too:
                self._pass_on(client, self.plain)
            else:
                self.plain += client.recv(READ_BYTES)
        self._open.discard(client)

    def _pass_on(self, client: socket.socket, seen: bytearray) -> None:
        """Relay both ways in this one thread, until one side ends.

        OpenSSL's connections cannot be used by two threads at once.
        """
        with socket.create_connection(("127.0.0.1", self.target)) as server:
            while True:
                readable = select.select([client, server], [], [])[0]
                if client in readable:
                    if not (data := _read(client)):
                        return
                    seen += data
                    server.sendall(data)
                if server in readable:
                    if not (data := server.recv(READ_BYTES)):
                        return
                    client.sendall(data)


def _read(client: socket.socket) -> bytes:
    """Return what has come, with what OpenSSL has buffered, which `select` does not show."""
    data = client.recv(READ_BYTES)
    while isinstance(client, ssl.SSLSocket) and client.pending():
        data += client.recv(READ_BYTES)
    return data
