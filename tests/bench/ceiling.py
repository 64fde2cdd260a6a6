"""The sandbox's own maximum, measured by clients that do nothing else.

Rates well below it are the competitor's, not the sandbox's.
"""

import base64
import json
import socket
import threading
import time
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlencode, urlsplit

from tests.bench import proc
from tests.bench.environment import AT_ONCE, Environment, fill
from tests.bench.other_programs.posting import form_of
from tests.bench.people import events, person
from tests.integration.bench import KEY, LIST

CONNECTIONS = 4
SECONDS = 2.0
PEOPLE = 1000


@dataclass(frozen=True)
class Ceiling:
    """The sandbox's maximum.

    Attributes:
        posts: Requests a second.
        members: Members a second, with 100 in a request.
        load: The sandbox's CPU time during `posts` as a share of the time that passed.
    """

    posts: float
    members: float
    load: float

    def __str__(self) -> str:
        return (
            f"the sandbox's own maximum: {self.posts:.0f} POST/s (at {self.load:.0%} CPU), "
            f"{self.members:.0f} members/s through members.json with {AT_ONCE} a call"
        )


def ceiling(environment: Environment) -> Ceiling:
    """Measure single and bulk requests, two seconds each.

    Raises:
        RuntimeError: The sandbox answered none.
    """
    environment.sandbox.control.reset()
    fill(environment.sandbox.base_url, map(person, range(PEOPLE)))
    path = f"/v3/lists/{LIST}/members"
    pid, base_url = environment.sandbox.process.pid, environment.sandbox.base_url
    cpu = proc.cpu_seconds(pid)
    posts = answered(base_url, [raw(path, form_of(each)) for each in events(range(PEOPLE))])
    load = (proc.cpu_seconds(pid) - cpu) / SECONDS
    bulk = answered(
        base_url, [raw(f"{path}.json", bulk_form(first)) for first in range(0, PEOPLE, AT_ONCE)]
    )
    if not posts or not bulk:
        raise RuntimeError("the sandbox answered no request that measures its maximum")
    return Ceiling(posts / SECONDS, bulk * AT_ONCE / SECONDS, load)


def bulk_form(first: int) -> dict[str, str]:
    """Return the form of a bulk request about a hundred people."""
    entries = [person(each).entry() for each in range(first, first + AT_ONCE)]
    return {"members": json.dumps(entries), "upsert": "yes"}


def raw(path: str, form: dict[str, str]) -> bytes:
    """Return a POST request as bytes."""
    body = urlencode(form)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Basic {base64.b64encode(f'api:{KEY}'.encode()).decode()}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


def answered(base_url: str, requests: list[bytes]) -> int:
    """Return the number of requests answered within `SECONDS`.

    Each of a few connections sends its next request as soon as it has an answer.
    """
    ends = time.monotonic() + SECONDS
    counts: list[int] = []
    clients = [
        threading.Thread(target=_ask_until, args=[base_url, requests, ends, counts])
        for _ in range(CONNECTIONS)
    ]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    return sum(counts)


def _ask_until(base_url: str, requests: list[bytes], ends: float, counts: list[int]) -> None:
    place = urlsplit(base_url)
    count = 0
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        answers = connection.makefile("rb")
        while time.monotonic() < ends:
            connection.sendall(requests[count % len(requests)])
            _read_one(answers)
            count += 1
    counts.append(count)


def _read_one(answers: BinaryIO) -> None:
    length = 0
    assert b" 200 " in answers.readline()
    while (line := answers.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    answers.read(length)
