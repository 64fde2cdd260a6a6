"""The sandbox's own maximum, asked by clients that do nothing else: well below it, the sandbox is not what is measured."""

import base64
import json
import socket
import threading
import time
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlencode, urlsplit

from tests.bench import proc
from tests.bench.contenders.posting import form_of
from tests.bench.ground import AT_ONCE, Ground, fill
from tests.bench.people import events, person
from tests.integration.bench import KEY, LIST

CONNECTIONS = 4
SECONDS = 2.0
PEOPLE = 1000


@dataclass(frozen=True)
class Ceiling:
    """How much the sandbox answers."""

    posts: float  # requests a second
    members: float  # members a second, 100 a request
    load: (
        float  # the sandbox's CPU time, as a share of the time that passed, while it did the first
    )

    def __str__(self) -> str:
        return (
            f"the sandbox's own maximum: {self.posts:.0f} POST/s (at {self.load:.0%} CPU), "
            f"{self.members:.0f} members/s through members.json with {AT_ONCE} a call"
        )


def ceiling(ground: Ground) -> Ceiling:
    """Two seconds of each."""
    ground.sandbox.control.reset()
    fill(ground.sandbox.base_url, range(PEOPLE))
    path = f"/v3/lists/{LIST}/members"
    pid, base_url = ground.sandbox.process.pid, ground.sandbox.base_url
    cpu = proc.cpu_seconds(pid)
    posts = answered(base_url, [raw(path, form_of(each)) for each in events(range(PEOPLE))])
    load = (proc.cpu_seconds(pid) - cpu) / SECONDS
    bulk = answered(
        base_url, [raw(f"{path}.json", bulk_form(first)) for first in range(0, PEOPLE, AT_ONCE)]
    )
    return Ceiling(posts / SECONDS, bulk * AT_ONCE / SECONDS, load)


def bulk_form(first: int) -> dict[str, str]:
    """The form of a bulk call about a hundred people."""
    entries = [person(each).entry() for each in range(first, first + AT_ONCE)]
    return {"members": json.dumps(entries), "upsert": "yes"}


def raw(path: str, form: dict[str, str]) -> bytes:
    """A POST as it goes over the wire."""
    body = urlencode(form)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: sandbox\r\n"
        f"Authorization: Basic {base64.b64encode(f'api:{KEY}'.encode()).decode()}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


def answered(base_url: str, requests: list[bytes]) -> int:
    """How many requests were answered in the time, over a few connections, each asking the next as soon as it can."""
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
