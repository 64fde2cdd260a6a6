"""A request once it is read, and a reply before it is sent."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    Mailgun decodes a path before it splits it, so `%2F` in an address breaks the routing. A bare
    `+` is a blank; only `%2B` is a plus.

    Attributes:
        method: The HTTP method.
        path: The path as received, with its query.
        segments: The decoded path, split at its slashes.
        query: The query parameters.
        form: The form fields; None if the request has no form. JSON is not accepted.
        authorization: The Authorization header.
        base_url: Scheme and host that the client used.
    """

    method: str
    path: str
    segments: tuple[str, ...]
    query: dict[str, str]
    form: dict[str, str] | None
    authorization: str | None
    base_url: str

    @property
    def fields(self) -> dict[str, str]:
        """The form fields; none if the request has no form."""
        return self.form or {}

    @property
    def list_address(self) -> str | None:
        """The address of the list in the path."""
        match self.segments:
            case ("v3", "lists", address, *_):
                return address
            case _:
                return None

    @property
    def address(self) -> str | None:
        """The address of the one member that the request is about, if it is one."""
        match self.segments:
            case ("v3", "lists", _, "members", address) if address != "pages":
                return address
            case _:
                return self.fields.get("address")

    @cached_property
    def addresses(self) -> frozenset[str]:
        """The addresses of members in path, form or bulk entries, in lower case."""
        return frozenset(each.lower() for each in (self.address, *self._entries()) if each)

    def _entries(self) -> Iterator[str]:
        try:
            entries = json.loads(self.fields.get("members", "[]"))
        except (ValueError, RecursionError):
            return
        for entry in entries if isinstance(entries, list) else ():
            address = entry.get("address") if isinstance(entry, dict) else entry
            if isinstance(address, str):
                yield address


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, and what happened on the way to it.

    Attributes:
        status: The HTTP status.
        body: The body.
        content_type: The Content-Type header.
        headers: Further headers.
        touched: The number of members changed.
        later: A background job: called with the time, it changes members and returns their number.
        wait_until: Epoch seconds; the answer tells the client to send nothing before.
    """

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    touched: int = 0
    later: Callable[[float], int] | None = None
    wait_until: float | None = None


def json_reply(status: int, content: dict[str, Any], *, touched: int = 0) -> Reply:
    """Return a reply with a JSON body; `touched` is the number of members changed."""
    return Reply(status, json.dumps(content).encode(), touched=touched)
