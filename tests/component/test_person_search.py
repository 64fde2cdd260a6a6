"""`forget` finds a person in all that can be decoded, erases no other, and says what it could not read – on a real server."""

import base64
import bz2
import gzip
import io
import json
import lzma
import pickle
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers import RedisServer
from worker.cli import commands
from worker.ops.person_search import Person
from worker.queue.codec import encode
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.message import DELIVER_MANY, TASK, Message
from worker.signal.preset import load_preset

JANE, BOB = "jane.doe+x@example.com", "bob@example.com"


@pytest.fixture(scope="module")
def raw(server: RedisServer) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture(autouse=True)
def _surroundings(server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.chdir(tmp_path)


def identify(email: str) -> dict[str, Any]:
    return {"type": "identify", "traits": {"email": email}}


def celery(body: bytes, headers: dict[str, Any], **outer: Any) -> bytes:
    known = {"headers": headers, "properties": {"body_encoding": "base64"}, **outer}
    return json.dumps({"body": base64.b64encode(body).decode(), **known}).encode()


def body_of(event: Any) -> bytes:
    return json.dumps([[event], {}, {}]).encode()


HEADERS = {"task": TASK, "id": "m"}
PICKLE = {"content-type": "application/x-python-serialize"}
FORMS: dict[str, Callable[[Any], bytes]] = {
    "ours": lambda event: encode(Message(id="m", args=(event,)), "q").encode(),
    "protocol 1": lambda event: celery(
        json.dumps({"task": TASK, "id": "m", "args": [event]}).encode(), {}
    ),
    "keyword": lambda event: celery(json.dumps([[], {"event": event}, {}]).encode(), HEADERS),
    "text": lambda event: celery(json.dumps([[json.dumps(event)], {}, {}]).encode(), HEADERS),
    "gzip": lambda event: celery(gzip.compress(body_of(event)), {**HEADERS, "compression": "gzip"}),
    "bzip2 without a word": lambda event: celery(bz2.compress(body_of(event)), HEADERS),
    "unknown task": lambda event: celery(body_of(event), {**HEADERS, "task": "shop.sync"}),
    "bare": lambda event: json.dumps(event).encode(),
    "bundle": lambda event: encode(
        Message(id="m", args=([event],), task=DELIVER_MANY), "q"
    ).encode(),
    "strange keyword": lambda event: celery(
        json.dumps([[], {"what": event}, {}]).encode(), HEADERS
    ),
    # Of these no event can be read.
    "pickle": lambda event: celery(pickle.dumps([[event], {}, {}]), HEADERS, **PICKLE),
    "cut off": lambda event: celery(body_of(event)[:-6], HEADERS),
    "cut off and xz": lambda event: celery(
        lzma.compress(body_of(event)[:-6]), {**HEADERS, "compression": "xz"}
    ),
    "utf-16": lambda event: json.dumps(event).encode("utf-16"),
    "latin-1": lambda event: celery(body_of(event) + b"\xe9", HEADERS),
    "binary": lambda event: b"\x00\xff" + json.dumps(event).encode() + b"\xfe",
}
UNREADABLE = list(FORMS)[10:]
EVENTS = (
    identify,
    lambda email: {"traits": {"email": email}},
    lambda email: {"type": "identify", "userId": email},
    lambda email: {"type": "identify", "traits": {"email": f"{email} and another"}},
    lambda email: {"type": "identify", "traits": {"email": [email]}},
    lambda email: {"type": 7, "properties": {"deep": [{"e": f"mailto:{email.upper()}"}]}},
    lambda email: [email],
    lambda email: email,
    lambda email: {"type": "page", email: 1},
)


def lay(client: "redis.Redis", place: str, text: bytes, number: int) -> None:
    match place:
        case "queue":
            client.lpush("mailgun.default", text)
        case "priority":
            client.lpush("mailgun.default\x06\x163", text)
        case "delayed":
            client.zadd("signal:default:delayed", {text: 2e9 + number})
        case "dead":
            client.lpush("mailgun.default.dead_letter", text)
        case "buried":
            whole = Message(
                id=f"d{number}", args=(), original=text.decode("utf-8", "surrogateescape")
            )
            letter = dead_letter(
                DeadLetterReason.UNREADABLE_MESSAGE,
                whole,
                status=None,
                answer="",
                died_at=1.0,
                integration="default",
            )
            client.lpush(
                "mailgun.default.dead_letter", encode(whole, "q", dead_letter=vars(letter))
            )


def lying(client: "redis.Redis") -> list[bytes]:
    lists: list[Any] = [
        client.lrange(key, 0, -1) for key in ("mailgun.default", "mailgun.default.dead_letter")
    ]
    return [each for found in lists for each in found] + list(
        client.zrange("signal:default:delayed", 0, -1)
    )


def forget() -> dict[str, Any]:
    printed = io.StringIO()
    with redirect_stdout(printed):
        commands()(
            args=["forget", JANE, "--yes", "--json"],
            prog_name="signal-mailgun",
            standalone_mode=False,
        )
    found: dict[str, Any] = json.loads(printed.getvalue())
    return found


def holds(texts: list[bytes], address: str) -> int:
    """In how many of the texts the address is, however deep it is encoded."""
    person = Person(address, load_preset())
    return sum(person._is_in_bytes(each, 6) for each in texts)


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(
    st.sampled_from(list(FORMS)),
    st.sampled_from(EVENTS),
    st.sampled_from(["queue", "priority", "delayed", "dead", "buried"]),
)
def test_a_person_is_found_in_every_form_and_place(
    raw: "redis.Redis", form: str, event: Any, place: str
) -> None:
    raw.flushall()
    lay(raw, place, FORMS[form](event(JANE)), 0)
    for number, other in enumerate(FORMS, 1):
        lay(raw, place, FORMS[other](identify(BOB)), number)
    others = holds(lying(raw), BOB) if place != "priority" else len(FORMS)
    found = forget()
    assert sum(count for place, count in found.items() if place != "unread") == 1, found
    assert (holds(lying(raw), JANE), holds(lying(raw), BOB)) == (0, others)
    assert sum(found["unread"].values()) == len(UNREADABLE)


def test_neighbour_and_mention_of_the_person_stay_in_a_bundle(
    raw: "redis.Redis",
) -> None:
    raw.flushall()
    mentions = {**identify(BOB), "properties": {"referred_by": JANE}}
    bundle = Message(id="b", args=([identify(BOB), {"who": JANE}, mentions, 7],), task=DELIVER_MANY)
    raw.lpush("mailgun.default", encode(bundle, "q"))
    assert forget()["queue"] == 1
    [left] = lying(raw)
    body = json.loads(base64.b64decode(json.loads(left)["body"]))
    assert body[0][0] == [identify(BOB), mentions, 7]


def test_address_within_another_does_not_match_the_person(raw: "redis.Redis") -> None:
    raw.flushall()
    for other in (
        f"x{JANE}",
        f"{JANE}.uk",
        "doe+x@example.com",
        f"a.{JANE}",
        f"{JANE}x",
        "jane.doe@example.com",
    ):
        lay(raw, "queue", FORMS["ours"]({"who": other}), 0)
        lay(raw, "queue", b"\xff" + other.encode(), 0)
    assert forget()["queue"] == 0


def test_unreadable_messages_are_counted_by_place(raw: "redis.Redis") -> None:
    raw.flushall()
    raw.lpush("mailgun.default", b"\xff\x00", b"")
    raw.zadd("signal:default:delayed", {b"\x80": 2e9})
    raw.hset("signal:default:unacked", "t", b"\x80")
    raw.lpush("mailgun.default.dead_letter", b"\x80\x04", FORMS["ours"](identify(BOB)))
    assert forget()["unread"] == {"queue": 2, "delayed": 1, "dead letters": 1, "in flight": 1}


@pytest.mark.parametrize(
    "data",
    [
        b'{"type": "identify", "note": "hi\\njuergen@x.de"',
        b'{"e": "juergen@x.de"',
        b'{"e": "j\\u0075ergen@x.de"',
    ],
)
def test_person_is_found_behind_escapes(data: bytes) -> None:
    assert Person("juergen@x.de", load_preset())._is_in_bytes(data, 3)


@pytest.mark.parametrize(
    "data",
    [
        "jürgen@müller.de".encode("latin-1"),
        b'{"e": "j\\u00fcrgen@m\\u00fcller.de"',
        "jürgen@xn--mller-kva.de".encode(),
    ],
)
def test_person_is_found_in_other_spellings_of_non_ascii_characters(data: bytes) -> None:
    assert Person("jürgen@müller.de", load_preset())._is_in_bytes(data, 3)


def test_run_of_backslashes_matches_no_person_and_is_searched_fast() -> None:
    assert not Person("a@example.com", load_preset())._is_in_bytes(b"\\" * 4_000_000, 3)
