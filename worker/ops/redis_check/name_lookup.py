"""Protocol detection at a host and port at which a Redis client failed.

It finds out whether nothing answers there, or TLS, HTTP, another protocol, or Redis after all. It
sends no secret.
"""

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
    # It accepts the connection and sends nothing.
    SILENT = "silent"
    REDIS = "redis"
    TLS = "tls"
    HTTP = "http"
    # It closes the connection without an answer.
    CLOSED = "closed"
    # It answers in another protocol.
    OTHER = "other"


@dataclass(frozen=True)
class AddressLook:
    """What an address speaks and, if that is Redis, its reply to PING without credentials."""

    speaks: Speaks
    reply: str = ""


def look_at_address(host: str, port: int) -> AddressLook:
    """Connect up to three times, in plain text, with TLS and with HTTP; return what answers."""
    try:
        reply = _reply(host, port, b"PING\r\n")
    except socket.gaierror:
        return AddressLook(Speaks.UNRESOLVED)
    except ConnectionRefusedError:
        return AddressLook(Speaks.REFUSED)
    except OSError:  # such as a time-out of connecting
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
    """Send `question`, and return the answer.

    Returns:
        The answer's first bytes; empty if the connection is closed; None if there is no answer
        within `WAIT_SECONDS`.
    """
    with socket.create_connection((host, port), WAIT_SECONDS) as connection:
        try:
            connection.sendall(question)
            return connection.recv(READ_BYTES)
        except TimeoutError:
            return None
        except OSError:
            return b""


def _speaks_tls(host: str, port: int) -> bool:
    # Only the handshake counts, and nothing is sent after it, so the certificate is not checked.
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
        return "ALERT" in (error.reason or "")  # only TLS has alerts
    except OSError:
        return False


def _speaks_http(host: str, port: int) -> bool:
    try:
        return (_reply(host, port, b"GET / HTTP/1.0\r\n\r\n") or b"").startswith(b"HTTP/")
    except OSError:
        return False
