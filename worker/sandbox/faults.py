"""Faults and the rate limit as data, and the choice of the fault that a request meets.

http.py carries the faults out.
"""

import random
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from worker.sandbox.request import Request
from worker.sandbox.retry_hints import HintKind

FaultKind = Literal[
    "status",  # the answer is `status` with `body`; nothing is applied
    "member_not_found",  # a read of one member gets Mailgun's 404; all else gets the true answer
    "html_502",  # a proxy's HTML page; nothing is applied
    "magnificent",  # 200 with the text of a wrong path; nothing is applied
    "other_member",  # 200, well-formed, about another member; nothing is applied
    "reset",  # a TCP reset instead of an answer; nothing is applied
    "hang",  # no answer for `seconds`, then the connection is closed; nothing is applied
    "hang_after_commit",  # the same, but the change was applied
    "latency",  # the true answer, `ms` later
    "status_after_commit",  # the answer is `status` with `body`; the change was applied
    "truncated",  # half of the true answer, then the end of the connection; the change was applied
    "huge",  # the true answer with `megabytes` of padding in its JSON; the change was applied
]


HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$")]


class Fault(BaseModel):
    """One kind of failure, the requests that meet it, and how often.

    Attributes:
        kind: What happens; see `FaultKind`.
        share: The fraction of matching requests that meet the fault. It is drawn from the sandbox's
            seed, so that a run can be repeated.
        count: The number of requests that meet the fault before it ends; None: until it is cleared.
        method: The HTTP method; None matches all.
        address: The member in path, form or bulk entry, ignoring case; None matches all.
        path_prefix: A prefix of the decoded path, ignoring case, for example
            `/v3/lists/newsletter@mg.example.com/members.json`; None matches all.
        status: The HTTP status of the answer.
        body: The format of the answer's body.
        message: The text in the body; None: the status' standard phrase.
        headers: Further headers of the answer.
        hint: The form in which the answer tells the client how long to wait.
        wait_seconds: How long the hint tells the client to wait.
        seconds: How long a hang lasts.
        ms: How much later the answer of "latency" comes.
        megabytes: The padding of "huge".
        other_address: The member that "other_member" answers with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind

    share: float = Field(default=1.0, ge=0, le=1)
    count: int | None = Field(default=None, ge=1)

    method: str | None = None
    address: str | None = None
    path_prefix: str | None = None

    status: int = Field(default=500, ge=100, le=599)
    body: Literal["json", "plain", "html", "empty"] = "json"
    message: str | None = None
    headers: dict[HeaderName, HeaderValue] = {}
    hint: HintKind = "none"
    wait_seconds: float = Field(default=60, ge=0, le=1e9)

    seconds: float = Field(default=60, ge=0, le=3600)
    ms: int = Field(default=0, ge=0, le=3_600_000)
    megabytes: int = Field(default=64, ge=1, le=4096)
    other_address: str = "other.member@example.com"

    @model_validator(mode="after")
    def _hint_has_a_place(self) -> Self:
        if self.hint == "body" and (self.kind, self.body) != ("status", "json"):
            raise ValueError("a hint in the body needs kind 'status' with a JSON body")
        return self


class Limit(BaseModel):
    """A rate limit with a fixed window.

    The first request opens a window of `window_seconds`, in which the sandbox lets `requests`
    through. The other requests are told to wait for the window's end. None lets all requests
    through, 0 none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: int | None = Field(default=None, ge=0)
    window_seconds: float = Field(default=60, gt=0, le=86_400)
    hint: HintKind = "none"


def matches(fault: Fault, request: Request) -> bool:
    """Return True if the fault applies to this request."""
    if fault.method and fault.method.upper() != request.method:
        return False
    path = "/" + "/".join(request.segments)
    if fault.path_prefix and not path.lower().startswith(fault.path_prefix.lower()):
        return False
    return not fault.address or fault.address.lower() in request.addresses


@dataclass(slots=True)
class ActiveFault:
    """A fault in force, and the number of requests that have met it."""

    id: int
    fault: Fault
    met: int = 0

    @property
    def left(self) -> int | None:
        """The number of requests that will still meet it; None: no end."""
        return None if self.fault.count is None else self.fault.count - self.met


class Faults:
    """The faults in force, oldest first."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 – repeatable on purpose
        self._last_id = 0
        self.active: list[ActiveFault] = []

    def add(self, fault: Fault) -> ActiveFault:
        """Add a fault behind the others."""
        self._last_id += 1
        added = ActiveFault(self._last_id, fault)
        self.active.append(added)
        return added

    def clear(self, id: int | None = None) -> None:
        """Remove the fault with this id; None removes all."""
        self.active[:] = [each for each in self.active if id not in (None, each.id)]

    def draw(self, request: Request) -> Fault | None:
        """Return the first fault that matches and whose share is drawn, else None.

        The fault's count goes up by one. The fault ends when its count is used up.
        """
        for active in self.active:
            if matches(active.fault, request) and self._random.random() < active.fault.share:
                active.met += 1
                if active.left == 0:
                    self.active.remove(active)
                return active.fault
        return None


class Throttle:
    """A rate limit and its current window."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._passed = 0
        self._window_ends = 0.0

    def wait(self, now: float) -> float | None:
        """Count one request.

        Returns:
            None if the request passes, else the seconds until the window ends.
        """
        if self.limit.requests is None:
            return None
        if now >= self._window_ends:
            self._passed, self._window_ends = 0, now + self.limit.window_seconds
        if self._passed < self.limit.requests:
            self._passed += 1
            return None
        return self._window_ends - now
