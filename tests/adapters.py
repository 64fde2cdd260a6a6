"""Mailgun's far side for tests: a transport adapter on the client's own session, so that the real client runs."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import requests
import urllib3
from pydantic import SecretStr
from requests.adapters import HTTPAdapter

from worker.mailgun.client import Mailgun

KEY = "key-5ecret"
US = "https://api.mailgun.net"


class Far(HTTPAdapter):
    """Answers every request with what `answer` gives for it, and remembers requests and their options."""

    def __init__(self, answer: Callable[[requests.PreparedRequest], urllib3.HTTPResponse]) -> None:
        super().__init__()
        self.answer = answer
        self.requests: list[requests.PreparedRequest] = []
        self.options: list[dict[str, Any]] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        self.requests.append(request)
        self.options.append(options)
        return self.build_response(request, self.answer(request))


class Body(io.BytesIO):
    """A body that counts what is taken of it."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.taken += len(found)
        return found

    def read1(self, size: int | None = -1, /) -> bytes:
        return self.read(size)


def answered(
    status: int = 200, body: bytes | io.BytesIO = b"", headers: Mapping[str, str] | None = None
) -> urllib3.HTTPResponse:
    """An answer as it comes from the network, its body yet to be read."""
    stream = body if isinstance(body, io.BytesIO) else Body(body)
    return urllib3.HTTPResponse(stream, dict(headers or {}), status, preload_content=False)


def asking(far: Far, *, base_url: str = US, list_address: str = "newsletter@mg.example.com") -> Mailgun:
    """The real client of this thread, with `far` at the other end."""
    mailgun = Mailgun(
        base_url=base_url, key=SecretStr(KEY), list_address=list_address, connect_timeout=5, read_timeout=15
    )
    for scheme in ("https://", "http://"):
        mailgun._session().mount(scheme, far)
    return mailgun
