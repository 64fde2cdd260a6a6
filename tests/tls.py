"""TLS before a server that has none: certificates, and a relay that ends TLS and keeps what it read."""

import asyncio
import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

TLS_HANDSHAKE = b"\x16"  # how a TLS connection begins


@dataclass(frozen=True)
class Certificates:
    """Files in PEM form, all from one authority."""

    ca: Path
    server: Path  # for localhost and 127.0.0.1, with its key
    elsewhere: Path  # for another host
    client: Path
    client_key: Path
    self_signed: Path  # with its key


def certificates(folder: Path) -> Certificates:
    """Make them all in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Certificates(
        *(folder / f"{name}.pem" for name in ("ca", "server", "elsewhere", "client", "client-key", "self-signed"))
    )
    authority, itself, client = trustme.CA(), trustme.CA(), None
    authority.cert_pem.write_to_path(found.ca)
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(found.server)
    authority.issue_cert("redis.example.com").private_key_and_cert_chain_pem.write_to_path(found.elsewhere)
    client = authority.issue_cert("worker@example.com")
    client.cert_chain_pems[0].write_to_path(found.client)
    client.private_key_pem.write_to_path(found.client_key)
    found.self_signed.write_bytes(itself.private_key_pem.bytes() + itself.cert_pem.bytes())
    return found


class TlsRelay:
    """What listens on `port` with a certificate and passes all on to a plain server on loopback.

    `read` is what clients sent through TLS, `plain` what they sent without any, which is passed on only if `plain_too`.
    """

    def __init__(
        self, target: int, certificate: Path, *, client_ca: Path | None = None, plain_too: bool = False
    ) -> None:
        self.target = target
        self.read, self.plain = bytearray(), bytearray()
        self._plain_too = plain_too
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
        self._context.load_cert_chain(certificate)
        if client_ca:
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0)
        self.port = int(self._listening.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # a client that refuses the certificate is no news
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ends.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        self._ends = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()
        accepting = self._loop.create_task(self._accept(tasks))
        await self._ends.wait()
        for task in (accepting, *tasks):
            task.cancel()
        await asyncio.gather(accepting, *tasks, return_exceptions=True)
        self._listening.close()

    async def _accept(self, tasks: "set[asyncio.Task[None]]") -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listening)
            task = self._loop.create_task(self._relay(client))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _relay(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, EOFError):
            over_tls = await self._begins_with_tls(client)
            reader = asyncio.StreamReader()
            transport, protocol = await self._loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader), client, ssl=self._context if over_tls else None
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
            try:
                await self._pass_on(reader, writer, self.read if over_tls else self.plain, open_=over_tls)
            finally:
                writer.close()

    async def _begins_with_tls(self, client: socket.socket) -> bool:
        readable = asyncio.Event()
        self._loop.add_reader(client, readable.set)
        try:
            await readable.wait()
        finally:
            self._loop.remove_reader(client)
        return client.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray, *, open_: bool
    ) -> None:
        if not open_ and not self._plain_too:
            seen += await reader.read(65536)
            return
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        pumps = [
            self._loop.create_task(_pump(reader, to_server, seen)),
            self._loop.create_task(_pump(from_server, writer, bytearray())),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        to_server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
    while data := await reader.read(65536):
        seen += data
        writer.write(data)
        await writer.drain()
