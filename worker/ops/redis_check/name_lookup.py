"""What answers at a host and port where a Redis client failed: nothing, TLS, HTTP, or Redis after all. No secret is sent."""

import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum

WAIT_SECONDS = 1.5
READ_BYTES = 512


class Speaks(StrEnum):
    """What an address speaks."""

    UNRESOLVED = "unresolved"
    REFUSED = "refused"
    # No route, or packets are dropped.
    UNREACHABLE = "unreachable"
    # The connection is accepted; no word follows.
    SILENT = "silent"
    REDIS = "redis"
    TLS = "tls"
    HTTP = "http"
    # It closes the connection without a word.
    CLOSED = "closed"
    # It answers in another protocol.
    OTHER = "other"


@dataclass(frozen=True)
class AddressLook:
    """What an address speaks and, if that is Redis, its reply to a PING without credentials."""

    speaks: Speaks
    reply: str = ""


def look_at_address(host: str, port: int) -> AddressLook:
    """Connect up to three times, in plain, with TLS and with HTTP, and return what answered."""
    try:
        reply = _reply(host, port, b"PING\r\n")
    except socket.gaierror:
        return AddressLook(Speaks.UNRESOLVED)
    except ConnectionRefusedError:
        return AddressLook(Speaks.REFUSED)
    except OSError:  # a time-out of the connecting itself is one
        return AddressLook(Speaks.UNREACHABLE)
    if reply and reply[:1] in b"+-":
        return AddressLook(
            Speaks.REDIS, reply.decode("utf-8", "replace").splitlines()[0][1:].removeprefix("ERR ")
        )
    if _speaks_tls(host, port):
        return AddressLook(Speaks.TLS)
    if _speaks_http(host, port):
        return AddressLook(Speaks.HTTP)
    if reply is None:
        return AddressLook(Speaks.SILENT)
    return AddressLook(Speaks.OTHER if reply else Speaks.CLOSED)


def _reply(host: str, port: int, question: bytes) -> bytes | None:
    """Return what is said to `question`, empty if the connection is closed, None if nothing is said in time."""
    with socket.create_connection((host, port), WAIT_SECONDS) as connection:
        try:
            connection.sendall(question)
            return connection.recv(READ_BYTES)
        except TimeoutError:
            return None
        except OSError:
            return b""


def _speaks_tls(host: str, port: int) -> bool:
    # Only the handshake is looked at, and nothing is sent over it: whom the certificate names does not matter here.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), WAIT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # only TLS has those
    except OSError:
        return False


def _speaks_http(host: str, port: int) -> bool:
    try:
        return (_reply(host, port, b"GET / HTTP/1.0\r\n\r\n") or b"").startswith(b"HTTP/")
    except OSError:
        return False
