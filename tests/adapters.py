"""Fakes of Mailgun at the end of the real client's way to the list."""

import email
import email.policy
import io
import json
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import urllib3
from pydantic import SecretStr
from urllib3.exceptions import ReadTimeoutError

from worker.greenlets import in_thread
from worker.mailgun.client import MailgunClient
from worker.mailgun.route import Send
from worker.sandbox.api import answer as sandbox_answer
from worker.sandbox.quirks import Quirks
from worker.sandbox.request import Reply, Request
from worker.sandbox.state import SandboxConfig, SandboxState
from worker.sandbox.stored_member import StoredMember

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

KEY = "key-5ecret"
US = "https://api.mailgun.net"
NEWSLETTER = "newsletter@mg.example.com"


@dataclass(frozen=True)
class Sent:
    """A request as it leaves the client."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


class Far:
    """A far side that answers requests with `answer`, and records them.

    Attributes:
        answer: Returns the answer to a request.
        requests: The requests, oldest first.
        timeouts: Those of each way to it, one for each client.
    """

    def __init__(self, answer: Callable[[Sent], urllib3.BaseHTTPResponse]) -> None:
        self.answer = answer
        self.requests: list[Sent] = []
        self.timeouts: list[urllib3.Timeout] = []

    def connect(self, list_url: str, timeouts: urllib3.Timeout) -> Send:
        """Return a way to this far side."""

        def send(
            method: str, below: str, headers: Mapping[str, str], body: bytes | None
        ) -> urllib3.BaseHTTPResponse:
            request = Sent(method, f"{list_url}{below}", headers, body)
            self.requests.append(request)
            return in_thread(partial(self.answer, request))

        self.timeouts.append(timeouts)
        return send


class Body(io.BytesIO):
    """A response body that counts the bytes read from it."""

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
    """Return a response as it comes from the network, its body still unread."""
    stream = body if isinstance(body, io.BytesIO) else Body(body)
    return urllib3.HTTPResponse(stream, dict(headers or {}), status, preload_content=False)


def asking(
    far: Far, *, base_url: str = US, list_address: str = "newsletter@mg.example.com"
) -> MailgunClient:
    """Return the real client with `far` at the other end."""
    return MailgunClient(
        base_url=base_url,
        key=SecretStr(KEY),
        list_address=list_address,
        connect_timeout=5,
        read_timeout=15,
        connect=far.connect,
    )


def form_of(request: Sent) -> dict[str, str] | None:
    """Return the request's form fields, urlencoded or multipart; None if it has no body."""
    if not request.body:
        return None
    kind = request.headers["Content-Type"]
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    parts = email.message_from_bytes(head + request.body, policy=email.policy.HTTP).iter_parts()
    return {
        str(each.get_param("name", header="content-disposition")): each.get_content().rstrip("\n")
        for each in parts
    }


class HoldsOneMember:
    """Mailgun with one list and at most one member.

    Attributes:
        held: The member; None if the list is empty.
        far: The adapter.
        meanwhile: By method: called once while such a request is under way, before its answer.
        afterwards: By method: returns the answer once, after such a request has been carried out.
        instead: By method: returns the answer once, and the request is not carried out.
    """

    def __init__(self, held: Mapping[str, Any] | None = None) -> None:
        self.held: dict[str, Any] | None = None if held is None else dict(held)
        self.far = Far(self._answer)
        self.meanwhile: dict[str, Callable[[], object]] = {}
        self.afterwards: dict[str, Callable[[], urllib3.HTTPResponse]] = {}
        self.instead: dict[str, Callable[[], urllib3.HTTPResponse]] = {}

    def asked(self) -> list[str]:
        """Return the methods of all requests, oldest first."""
        return [each.method for each in self.far.requests]

    def unsubscribe(self) -> None:
        """Unsubscribe the member, as its click on the link does."""
        assert self.held
        self.held["subscribed"] = False

    def _answer(self, request: Sent) -> urllib3.HTTPResponse:
        method = request.method
        self.meanwhile.pop(method, lambda: None)()
        if method in self.instead:
            return self.instead.pop(method)()
        if method == "POST":
            self._upsert(form_of(request) or {})
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
            return answered(
                404, b'{"message":"Member jane@example.com of mailing list news not found"}'
            )
        return answered(200, json.dumps({"member": self.held}).encode())


class HoldsAList:
    """Mailgun with members on one list, in pages of two.

    Attributes:
        members: Address → subscribed.
        far: The adapter.
        instead: By the number of the request, from 0: returns the answer in place of the page.
    """

    def __init__(self, unsubscribed: int, subscribed: int = 0) -> None:
        self.members = {f"no{each:03}@example.com": False for each in range(unsubscribed)}
        self.members |= {f"yes{each:03}@example.com": True for each in range(subscribed)}
        self.far = Far(self.answer)
        self.instead: dict[int, Callable[[], urllib3.HTTPResponse]] = {}

    def answer(self, request: Sent) -> urllib3.HTTPResponse:
        """Return the answer to the latest request."""
        number = len(self.far.requests) - 1
        if number in self.instead:
            return self.instead[number]()
        query = dict(parse_qsl(urlsplit(request.url).query))
        wanted = sorted(
            each for each, yes in self.members.items() if not yes or "subscribed" not in query
        )
        page = wanted[bisect_right(wanted, query.get("address", "")) :][:2]
        items = [
            {
                "address": each,
                "name": "",
                "subscribed": self.members[each],
                "vars": {"from": "page"},
            }
            for each in page
        ]
        link = (
            f"{US}/v3/lists/newsletter@mg.example.com/members/pages"
            f"?page=next&address={page[-1] if page else ''}"
        )
        return answered(200, json.dumps({"items": items, "paging": {"next": link}}).encode())


def timed_out() -> NoReturn:
    """Raise a time-out, as a request without an answer does."""
    pool = urllib3.HTTPConnectionPool("localhost")
    raise ReadTimeoutError(pool, "/", "the address may stand here: jane@example.com")


def nothing(_call: Request) -> None:
    """Do nothing."""


class HoldsMembers:
    """The sandbox's Mailgun within this process, at the other end of the real client.

    Attributes:
        world: The sandbox's state.
        list: The mailing list.
        calls: All requests, oldest first.
        meanwhile: By the number of the request, from 1: called first; if it returns a reply, that
            is the answer and the request is not carried out.
        alone: The lock that makes requests come one at a time.
    """

    def __init__(self, *members: Mapping[str, Any], **switches: Any) -> None:
        config = SandboxConfig(api_keys=(KEY,), lists=(NEWSLETTER,), switches=Quirks(**switches))
        self.world = SandboxState(config, now=0)
        self.list = self.world.mailing_list(NEWSLETTER)
        self.calls: list[Request] = []
        self.meanwhile: dict[int, Callable[[Request], Reply | None]] = {}
        for member in members:
            self.list.put(
                StoredMember(
                    **{"name": "", "subscribed": True, "vars": {}, "updated_at": 0, **member}
                )
            )
        self.alone: AbstractContextManager[Any] = threading.Lock()

    def asking(self) -> MailgunClient:
        """Return the real client with this Mailgun at the other end."""
        return asking(Far(self._answer))

    def asked(self) -> list[str]:
        """Return all requests, oldest first: method and last part of the path."""
        return [f"{each.method} {each.segments[-1]}" for each in self.calls]

    def entries(self) -> list[list[str]]:
        """Return the addresses of each bulk request."""
        return [
            [entry["address"] for entry in json.loads(each.fields["members"])]
            for each in self.calls
            if each.segments[-1] == "members.json"
        ]

    def vars_of(self, address: str) -> dict[str, Any]:
        """Return the variables of a member on the list."""
        return self.list.member(address).vars

    def _answer(self, request: Sent) -> urllib3.HTTPResponse:
        with self.alone:
            path = urlsplit(request.url).path
            authorization = request.headers["Authorization"]
            segments = tuple(unquote_plus(path).split("/")[1:])
            call = Request(request.method, path, segments, {}, form_of(request), authorization, US)
            self.calls.append(call)
            instead = self.meanwhile.get(len(self.calls), nothing)(call)
            reply = instead or sandbox_answer(self.world, call, now=0)
        return answered(reply.status, reply.body, reply.headers)
