"""Why a request has no whole answer, in words that are safe to show, and whether it was sent.

An error's own text may quote the address from the URL, so only its kind is shown.
"""

from http.client import HTTPException

from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from worker.mailgun.http_answer import BrokenAnswer
from worker.mailgun.response import NoResponse

# What a request can fail with. The errors of `requests`, which opens the route, are OSErrors.
FAILURES = (HTTPError, HTTPException, OSError, UnicodeError)
# What it can fail with before it is sent.
NEVER_SENT = (ConnectTimeoutError, NewConnectionError, ProxyError, SSLError)


def before_answer(error: Exception) -> NoResponse:
    """Return what stands for an answer of which not even the head came."""
    match error:
        case BrokenAnswer():
            reason = _reason(error)
        case NewConnectionError() | ProtocolError():
            reason = "no connection, or it broke (ConnectionError)"
        case ConnectTimeoutError():
            reason = "time-out: no connection to Mailgun in time"
        case ReadTimeoutError():
            reason = "time-out: connected, but no answer in time; Mailgun may have stored it"
        case SSLError():
            reason = "no secure connection: the certificate or the TLS handshake failed"
        case ProxyError():
            reason = "no connection through the proxy"
        case _:
            reason = _reason(error)
    return NoResponse(reason, asked=not isinstance(error, NEVER_SENT))


def within_answer(error: Exception) -> NoResponse:
    """Return what stands for an answer whose body did not come whole."""
    if isinstance(error, ReadTimeoutError):
        return NoResponse("time-out: the answer did not end in time")
    return NoResponse(_reason(error))


def _reason(error: Exception) -> str:
    match error:
        case BrokenAnswer():
            return f"no usable answer: {error}"
        case OSError() | LocationValueError():
            return f"no connection, or it broke ({type(error).__name__})"
        case _:
            return f"no answer ({type(error).__name__})"
