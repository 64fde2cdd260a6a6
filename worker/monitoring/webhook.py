"""HTTP client of the alert webhook: POST JSON, with deadlines, without redirects.

The URL is a secret. Nothing that this module returns or raises holds more of it than the host.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from worker.mailgun.client import OneAnswerSession
from worker.mailgun.connection import BoundedAdapter
from worker.settings import LOOPBACK_HOSTS

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
        self._url = url
        self._parts = urlsplit(url.get_secret_value())

    def post(self, message: Mapping[str, Any]) -> Posted:
        """Post a message; it was taken if the answer is 2xx."""
        answer = self._request("POST", self._url.get_secret_value(), json=message)
        return answer if isinstance(answer, Posted) else _taken(answer)

    def reach(self) -> Posted:
        """Find out whether the host answers, by `HEAD /`: the secret path is not sent."""
        answer = self._request("HEAD", f"{self._parts.scheme}://{self._parts.netloc}/")
        return answer if isinstance(answer, Posted) else Posted()

    def _request(self, method: str, url: str, **sent: Any) -> int | Posted:
        timeouts = (CONNECT_SECONDS, ANSWER_SECONDS)
        try:
            with (
                self._session() as session,
                session.request(
                    method, url, timeout=timeouts, allow_redirects=False, stream=True, **sent
                ) as response,
            ):
                # The body is not read: it may quote the URL.
                return response.status_code
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            return Posted(_reason(error), again=True)

    def _session(self) -> requests.Session:
        session = OneAnswerSession()
        session.trust_env = self._parts.hostname not in LOOPBACK_HOSTS
        session.headers["User-Agent"] = "signal-mailgun"
        for scheme in ("https://", "http://"):
            session.mount(scheme, BoundedAdapter())
        return session


def _taken(status: int) -> Posted:
    if 200 <= status <= 299:
        return Posted()
    if 300 <= status <= 399:
        return Posted(f"{status}: it redirects, and that is not followed")
    return Posted(f"it answered {status}", again=status >= 500 or status in LATER)


def _reason(error: Exception) -> str:
    # The error's own text quotes the URL.
    match error:
        case requests.ConnectTimeout():
            return "no connection in time"
        case requests.Timeout():
            return "no answer in time"
        case requests.exceptions.SSLError():
            return "no secure connection: the certificate or the TLS handshake failed"
        case requests.exceptions.ProxyError():
            return "no connection through the proxy"
        case requests.ConnectionError() | OSError():
            return f"no connection, or it broke ({type(error).__name__})"
        case _:
            return f"no answer ({type(error).__name__})"
