"""Mailgun's far side for tests: a transport adapter on the client's own session, so that the real client runs."""

import io
import json
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

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


class HoldsOneMember:
    """Mailgun with one list, and on it nobody or one member."""

    def __init__(self, held: Mapping[str, Any] | None = None) -> None:
        self.held: dict[str, Any] | None = None if held is None else dict(held)
        self.far = Far(self._answer)
        self.meanwhile: dict[str, Callable[[], object]] = {}
        """By method: what happens once, while such a request is under way, before it is answered."""
        self.afterwards: dict[str, Callable[[], urllib3.HTTPResponse]] = {}
        """By method: what gives the answer once, after such a request has done its work."""
        self.instead: dict[str, Callable[[], urllib3.HTTPResponse]] = {}
        """By method: what gives the answer once, in place of doing the work."""

    def asked(self) -> list[str | None]:
        """The methods of all requests, oldest first."""
        return [each.method for each in self.far.requests]

    def unsubscribe(self) -> None:
        """The recipient clicks the link."""
        assert self.held
        self.held["subscribed"] = False

    def _answer(self, request: requests.PreparedRequest) -> urllib3.HTTPResponse:
        method = str(request.method)
        self.meanwhile.pop(method, lambda: None)()
        if method in self.instead:
            return self.instead.pop(method)()
        if method == "POST":
            self._upsert(dict(parse_qsl(str(request.body))))
        return self.afterwards.pop(method, self._member)()

    def _upsert(self, form: dict[str, str]) -> None:
        self.held = {
            "address": form["address"],
            "name": form.get("name", ""),
            "subscribed": form["subscribed"] == "true",
            "vars": json.loads(form["vars"]),
        }

    def _member(self) -> urllib3.HTTPResponse:
        if self.held is None:
            return answered(404, b'{"message":"Member jane@example.com of mailing list news not found"}')
        return answered(200, json.dumps({"member": self.held}).encode())


class HoldsAList:
    """Mailgun with members on one list; their pages are of two."""

    def __init__(self, unsubscribed: int, subscribed: int = 0) -> None:
        self.members = {f"no{each:03}@example.com": False for each in range(unsubscribed)}
        self.members |= {f"yes{each:03}@example.com": True for each in range(subscribed)}
        self.far = Far(self.answer)
        self.instead: dict[int, Callable[[], urllib3.HTTPResponse]] = {}
        """By number of the request, from 0: what gives the answer in place of doing the work."""

    def answer(self, request: requests.PreparedRequest) -> urllib3.HTTPResponse:
        """What it answers to the request that came last."""
        number = len(self.far.requests) - 1
        if number in self.instead:
            return self.instead[number]()
        query = dict(parse_qsl(urlsplit(str(request.url)).query))
        wanted = sorted(each for each, yes in self.members.items() if not yes or "subscribed" not in query)
        page = wanted[bisect_right(wanted, query.get("address", "")) :][:2]
        items = [
            {"address": each, "name": "", "subscribed": self.members[each], "vars": {"from": "page"}} for each in page
        ]
        link = f"{US}/v3/lists/newsletter@mg.example.com/members/pages?page=next&address={page[-1] if page else ''}"
        return answered(200, json.dumps({"items": items, "paging": {"next": link}}).encode())


def timed_out() -> urllib3.HTTPResponse:
    """No answer came."""
    raise requests.ReadTimeout("the address may stand here: jane@example.com")
