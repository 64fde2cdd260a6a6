"""HTTP connections with hard deadlines for urllib3: to connect, to send, for the whole answer.

Every wait for bytes ends at the deadline of its step, however slowly the bytes arrive, also in TLS
and through a proxy. A connection is reused only if its last answer has certainly ended and nothing
came after it.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from functools import partial
from typing import IO, TYPE_CHECKING, Any, cast

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family, create_connection
from urllib3.util.ssltransport import SSLTransport

from worker.greenlets import NoThreadLeft, in_thread, send_all, wait_to_read, when_ready
from worker.mailgun.http_answer import HttpAnswer

if TYPE_CHECKING:
    import h11
    from urllib3.poolmanager import PoolManager

CHUNK = 16 * 1024  # bytes that are read at once
# More than a worker has batches under way (consumer/batch_consumer.py).
MOST_CONNECTIONS = 1100
SHORTEST_SECONDS = 0.001  # a time-out of 0 would make the socket non-blocking


class BoundedConnection(HTTPConnection):
    """Connection with a deadline for each step: `timeout` seconds, which urllib3 sets before it."""

    # The deadline of the current step, by the monotonic clock.
    _ends = 0.0
    _last: HttpAnswer | None = None
    # The parts of a request while http.client writes them: head and body leave together.
    _gathered: list[bytes] | None = None

    def connect(self) -> None:
        """Connect within `timeout` seconds in all: to the proxy, through it, and with TLS.

        Raises:
            urllib3.exceptions.HTTPError: There is no connection: `ConnectTimeoutError` after the
                deadline, else `NewConnectionError` or one of the errors of TLS and proxies.
            OSError: The proxy refused, or TLS failed.
        """
        self._begin_step()
        self._last = None
        try:
            in_thread(super().connect)
        except NoThreadLeft as error:
            raise NewConnectionError(self, "no thread to connect in") from error
        except TimeoutError as error:
            # A time-out in TLS, which urllib3 would take for one while it waits for the answer.
            raise ConnectTimeoutError(self, "no connection in time") from error

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request within `timeout` seconds, in addition to those to connect.

        Raises:
            TimeoutError: The deadline passed before all bytes were sent.
            OSError: The connection broke.
        """
        if self.sock is None:
            self.connect()
        self._begin_step()
        parts: list[bytes] = []
        self._gathered = parts
        try:
            super().request(*args, **options)
        finally:
            self._gathered = None
        try:
            self.send(b"".join(parts))
        except ssl.SSLError as error:
            raise _broken(error) from error

    def send(self, data: Any) -> None:
        """Send `data`, which is bytes; gather it if it is a part of a request.

        Raises:
            TimeoutError: The deadline passed before all bytes were sent.
        """
        if self._gathered is not None:
            self._gathered.append(data)
            return
        if isinstance(self.sock, SSLTransport):
            in_thread(partial(self._send_within_tls, data))
            return
        send_all(self.sock, data, self._ends)
        self.sock.settimeout(self._left())  # http.client reads a proxy's reply itself

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Return the answer, whose body must be read within `timeout` seconds from now.

        Raises:
            TimeoutError: The deadline passed. Reading the body raises the same errors.
            OSError: The connection broke.
            BrokenAnswer: The bytes are not an HTTP/1.1 answer, or too many.
        """
        self._begin_step()
        self._expect_request()
        self._last = answer = HttpAnswer(self._receive, self.close)
        try:
            head = answer.read_head()
        except ssl.SSLError as error:
            raise _broken(error) from error
        return _response(head, answer)

    @property
    def is_connected(self) -> bool:
        """Return True if the connection is open, its last answer ended and nothing came since."""
        known = self._last is None or self._last.was_the_last
        unread = getattr(self.sock, "pending", lambda: 0)  # what TLS has decrypted already
        return known and super().is_connected and not unread()

    def _new_conn(self) -> socket.socket:
        """Return a socket connected to one of the host's addresses.

        Each address gets an equal share of the time that is left when its turn comes.
        """
        try:
            found = socket.getaddrinfo(
                self._dns_host.strip("[]"), self.port, allowed_gai_family(), socket.SOCK_STREAM
            )
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        failed: OSError = OSError("no address")
        for number, each in enumerate(found):
            share = self._left() / (len(found) - number)
            try:
                sock = create_connection(
                    (str(each[4][0]), self.port), share, None, self.socket_options
                )
            except OSError as error:
                failed = error
            else:
                sock.settimeout(self._left())  # for TLS
                return sock
        if isinstance(failed, TimeoutError):
            raise ConnectTimeoutError(self, "no connection in time") from failed
        raise NewConnectionError(self, "no connection") from failed

    def _tunnel(self) -> None:
        """Ask the proxy for a tunnel. A timer ends the wait: http.client reads the reply itself."""
        timer = threading.Timer(self._left(), _cut, [self.sock])
        try:
            timer.start()
        except RuntimeError as error:
            raise NoThreadLeft from error
        try:
            super()._tunnel()
        finally:
            timer.cancel()
        self.sock.settimeout(self._left())

    def _begin_step(self) -> None:
        self._ends = time.monotonic() + float(self.timeout or 0)

    def _left(self) -> float:
        return max(SHORTEST_SECONDS, self._ends - time.monotonic())

    def _send_within_tls(self, data: bytes) -> None:
        """Send over TLS within TLS, where urllib3 loses bytes that the socket does not take."""
        for start in range(0, len(data), CHUNK):
            self.sock.settimeout(self._left())
            self.sock.sendall(data[start : start + CHUNK])

    def _receive(self) -> bytes:
        receive = partial(self.sock.recv, CHUNK)
        received: bytes = when_ready(self.sock, receive, wait_to_read, self._ends)
        return received

    def _expect_request(self) -> None:
        """Let http.client accept the next request, although it did not read the answer itself."""
        sock, self.sock = self.sock, None
        http.client.HTTPConnection.close(self)
        self.sock = sock


class BoundedTLSConnection(BoundedConnection, HTTPSConnection):
    """Connection over TLS with a deadline for each step."""


class BoundedPool(HTTPConnectionPool):
    """Pool of bounded connections to one host."""

    ConnectionCls = BoundedConnection


class BoundedTLSPool(HTTPSConnectionPool):
    """Pool of bounded connections to one host over TLS."""

    ConnectionCls = BoundedTLSConnection


class BoundedAdapter(HTTPAdapter):
    """What `requests` opens connections with: its pools hold bounded connections to one host."""

    def __init__(self) -> None:
        """Keep as many connections as ever were in use at once."""
        super().__init__(pool_connections=1, pool_maxsize=MOST_CONNECTIONS, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Create the pools for connections without a proxy."""
        super().init_poolmanager(*args, **options)
        _bound(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> "PoolManager":
        """Return the pools for `proxy`. A SOCKS proxy keeps the pools that it brings."""
        manager: PoolManager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            _bound(manager)
        return manager


def _bound(manager: "PoolManager") -> None:
    manager.pool_classes_by_scheme = {"http": BoundedPool, "https": BoundedTLSPool}


def _response(head: "h11.Response", body: HttpAnswer) -> HTTPResponse:
    """Return the answer as urllib3's type, without the headers of the framing that is undone."""
    headers = HTTPHeaderDict()
    for name, value in head.headers:
        if name not in {b"transfer-encoding", b"content-length"}:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
    file = cast("IO[bytes]", body)
    return HTTPResponse(
        file, headers, head.status_code, preload_content=False, decode_content=False
    )


def _broken(error: ssl.SSLError) -> OSError:
    """Return what urllib3 does not take for a failed handshake: the request may have arrived."""
    return ConnectionAbortedError(f"TLS broke after the handshake: {error.reason}")


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
