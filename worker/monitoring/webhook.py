"""HTTP client of the alert webhook: POST JSON, with deadlines, without redirects.

The URL is a secret. Nothing that this module returns or raises holds more of it than the host.
"""

import base64
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr
from urllib3 import Timeout
from urllib3.exceptions import ConnectTimeoutError, ProxyError, ReadTimeoutError, SSLError

from worker.mailgun.failure import FAILURES
from worker.mailgun.route import connect

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
# Answers after which the same message may be taken later.
LATER = {408, 425, 429}


@dataclass(frozen=True)
class Posted:
    """How a request to the webhook ended.

    Attributes:
        trouble: Why it failed, in one line; "": it did not.
        again: The same request may succeed later.
    """

    trouble: str = ""
    again: bool = False


class Webhook:
    """The webhook. Each request has a connection of its own, so threads may share it."""

    def __init__(self, url: SecretStr) -> None:
        """Use the webhook at `url`, a valid ALERT_WEBHOOK_URL."""
        parts = urlsplit(url.get_secret_value())
        self._user = [unquote(each) for each in (parts.username or "", parts.password or "")]
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2])

    def post(self, message: Mapping[str, Any]) -> Posted:
        """Post a message; it was taken if the answer is 2xx."""
        headers = {"Content-Type": "application/json"}
        if any(self._user):
            token = base64.b64encode(":".join(self._user).encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        answer = self._request("POST", self._url.geturl(), headers, json.dumps(message).encode())
        return answer if isinstance(answer, Posted) else _taken(answer)

    def reach(self) -> Posted:
        """Find out whether the host answers, by `HEAD /`: the secret path is not sent."""
        root = self._url._replace(path="/", query="", fragment="")
        answer = self._request("HEAD", root.geturl(), {}, None)
        return answer if isinstance(answer, Posted) else Posted()

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> int | Posted:
        timeouts = Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
        try:
            send = connect(url, timeouts)
            with closing(send(method, "", {"User-Agent": "signal-mailgun", **headers}, body)) as (
                response
            ):
                # The body is not read: it may quote the URL.
                return response.status
        except FAILURES as error:
            return Posted(_reason(error), again=True)


def _taken(status: int) -> Posted:
    if 200 <= status <= 299:
        return Posted()
    if 300 <= status <= 399:
        return Posted(f"{status}: it redirects, and that is not followed")
    return Posted(f"it answered {status}", again=status >= 500 or status in LATER)


def _reason(error: Exception) -> str:
    # The error's own text quotes the URL.
    match error:
        case ConnectTimeoutError():
            return "no connection in time"
        case ReadTimeoutError():
            return "no answer in time"
        case SSLError():
            return "no secure connection: the certificate or the TLS handshake failed"
        case ProxyError():
            return "no connection through the proxy"
        case _:
            return f"no connection, or it broke ({type(error).__name__})"
