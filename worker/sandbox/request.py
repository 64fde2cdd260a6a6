"""A request once it is read, and an answer before it is sent."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from worker.sandbox.faults import Target

JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Request:
    """One request. `path` is as received; `segments` is the decoded path between its slashes. Mailgun decodes before it
    splits, so `%2F` in an address breaks routing; a bare `+` is a blank, only `%2B` is a plus."""

    method: str
    path: str
    segments: tuple[str, ...]
    query: dict[str, str]
    form: dict[str, str] | None  # None where there was no form: JSON is not taken
    authorization: str | None
    base_url: str

    @property
    def fields(self) -> dict[str, str]:
        return self.form or {}

    @property
    def list_address(self) -> str | None:
        match self.segments:
            case ("v3", "lists", address, *_):
                return address
            case _:
                return None

    @property
    def address(self) -> str | None:
        """The one member that the call is about, where it is one."""
        match self.segments:
            case ("v3", "lists", _, "members", address) if address != "pages":
                return address
            case _:
                return self.fields.get("address")

    @cached_property
    def target(self) -> Target:
        """The side of the call that a fault can match."""
        addresses = frozenset(each.lower() for each in (self.address, *self._entries()) if each)
        return Target(self.method, "/" + "/".join(self.segments), addresses)

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
    """One answer, and what happened on the way to it."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    touched: int = 0  # members changed
    later: Callable[[float], int] | None = (
        None  # a background job: given the time, changes members and says how many
    )
    wait_until: float | None = (
        None  # epoch before which this answer tells the client to send nothing
    )


def json_reply(status: int, content: dict[str, Any], *, touched: int = 0) -> Reply:
    """An answer with a JSON body."""
    return Reply(status, json.dumps(content).encode(), touched=touched)
