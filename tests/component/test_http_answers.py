"""What the client makes of a far side that says byte by byte what it likes: how long, how much, and whose answer it is."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import raw_mailguns
from tests.raw_mailguns import (
    NAMED,
    RawMailgun,
    Saying,
    answer,
    certified,
    dripping,
    in_turn,
    member_answer,
    pouring,
    resolve_named,
    said,
)
from tests.servers import eventually
from worker.mailgun.client import BODY_LIMIT
from worker.mailgun.connection import CHUNK
from worker.mailgun.http_answer import HEAD_LIMIT, RAW_LIMIT
from worker.mailgun.member import Member
from worker.mailgun.response import NoResponse, Response

JANE = Member("jane@example.com")
HANGS_AFTER_SECONDS = (
    30.0  # far more than all time-outs together: what still waits then, waits for ever
)
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ZIPPED = HEAD + b"Content-Encoding: gzip\r\n\r\n"


mailgun_at = partial(raw_mailguns.mailgun_at, connect=1.0, read=0.3)


def within_bounds(ask: Callable[[], Response | NoResponse]) -> Response | NoResponse:
    """What `ask` gives; fails where it waits for ever."""
    found: list[Response | NoResponse] = []
    thread = threading.Thread(target=lambda: found.append(ask()), daemon=True)
    thread.start()
    thread.join(HANGS_AFTER_SECONDS)
    assert found, "the request hangs, or ended with an error"
    return found[0]


def ask_once(saying: Saying, **times: Any) -> tuple[Response | NoResponse, RawMailgun]:
    with RawMailgun(saying) as far:
        return within_bounds(mailgun_at(far.url, **times).read_list), far


ZIP_HEAD, EMPTY_BLOCK = gzip.compress(b"")[:10], b"\x00\x00\x00\xff\xff"

DRIPS = {
    "nothing at all": dripping(b"", b""),
    "a status line": dripping(b"HTTP/1.1 200 ", b"O"),
    "a header": dripping(HEAD + b"X-Long: ", b"x"),
    "headers": dripping(HEAD, b"X: y\r\n"),
    "informational answers": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
    "early hints": dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.001),
    "a body": dripping(HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
    "a body until the connection ends": dripping(HEAD + b"\r\n", b"x"),
    "a chunk's size": dripping(CHUNKED, b"0"),
    "a chunk's extension": dripping(CHUNKED + b"5;", b"x"),
    "a chunk": dripping(CHUNKED + b"ffff\r\n", b"x"),
    "chunks": dripping(CHUNKED, b"1\r\nx\r\n"),
    "a trailer": dripping(CHUNKED + b"2\r\n{}\r\n0\r\nX: ", b"x"),
    "trailers": dripping(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    "a gzip stream that yields nothing": dripping(ZIPPED + ZIP_HEAD, EMPTY_BLOCK),
    "a redirect's body": dripping(
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 100000\r\n\r\n", b"x"
    ),
    "a refusal's body": dripping(
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100000\r\n\r\n", b"x"
    ),
}


@pytest.mark.parametrize("saying", DRIPS.values(), ids=DRIPS)
def test_dripping_answer_ends_at_the_deadline_with_its_connection_closed(saying: Saying) -> None:
    with RawMailgun(saying) as far:
        mailgun = mailgun_at(far.url)
        for _ in range(2):
            found = within_bounds(mailgun.read_list)
            assert isinstance(found, NoResponse)
            assert found.reason.startswith("time-out")
            assert found.asked
        assert far.connections == 2


@pytest.mark.parametrize("part", ["handshake", "status line", "body"])
def test_dripping_over_tls_ends_at_the_deadline(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_named(monkeypatch)
    context, trusted = certified(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    before = {
        "status line": b"HTTP/1.1 200 ",
        "body": HEAD + b"Content-Length: 100000\r\n\r\n",
    }.get(part, b"")
    # A handshake record that says it is 16 KiB long.
    handshake = dripping(b"\x16\x03\x03\x40\x00", b"\x02") if part == "handshake" else None
    with RawMailgun(dripping(before, b"x"), context, handshake) as far:
        found = within_bounds(mailgun_at(far.named_url).read_list)
    assert isinstance(found, NoResponse)
    assert found.asked is (part != "handshake")


def test_tls_connection_carries_several_answers_and_no_unsolicited_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_named(monkeypatch)
    context, trusted = certified(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with RawMailgun(
        in_turn(answer(b"1"), answer(b"2"), answer(b"3") + answer(b"stray"), answer(b"4")), context
    ) as far:
        mailgun = mailgun_at(far.named_url, read=10)
        assert [body_of(mailgun.read_list()) for _ in range(4)] == [b"1", b"2", b"3", b"4"]
        assert far.connections == 2


def test_proxy_that_drips_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawMailgun(dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        found = within_bounds(mailgun_at("https://mailgun.test").read_list)
    assert isinstance(found, NoResponse)
    assert proxy.connections == 1


def test_far_side_that_reads_nothing_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        found = within_bounds(lambda: mailgun_at(url).upsert_many(["x" * 30_000_000]))
    assert isinstance(found, NoResponse)


@contextmanager
def addresses_that_do_not_answer(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A URL whose host has so many addresses, none of which accepts a connection or refuses it."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)  # noqa: FBT003
            each.connect_ex(place)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place)]
        monkeypatch.setattr(
            "worker.mailgun.connection.socket.getaddrinfo",
            lambda host, *_, **__: found * (number if host == NAMED else 1),
        )
        yield f"http://{NAMED}:{place[1]}"
        for each in waiting:
            each.close()


def test_host_with_many_dead_addresses_has_one_deadline_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_named(monkeypatch)
    with addresses_that_do_not_answer(200, monkeypatch) as url:
        found = within_bounds(mailgun_at(url).read_list)
    assert found == NoResponse("time-out: no connection to Mailgun in time", asked=False)


POURED = {
    "a status line": pouring(b"HTTP/1.1 200 ", b"O" * 1000),
    "a header": pouring(HEAD + b"X-Long: ", b"x" * 1000),
    "headers": pouring(HEAD, b"X: y\r\n" * 1000),
    "informational answers": pouring(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "early hints": pouring(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100),
    "a chunk's size": pouring(CHUNKED, b"0" * 1000),
    "a trailer": pouring(CHUNKED + b"0\r\nX: ", b"x" * 1000),
    "trailers": pouring(CHUNKED + b"0\r\n", b"X: y\r\n" * 1000),
}


@pytest.mark.parametrize("saying", POURED.values(), ids=POURED)
def test_endless_lines_around_a_body_are_read_only_a_little(saying: Saying) -> None:
    found, far = ask_once(saying, read=HANGS_AFTER_SECONDS)
    assert isinstance(found, NoResponse)
    assert found.reason.startswith("no usable answer")
    assert (
        far.sent < 32 * 1024 * 1024
    )  # what the system's buffers take, and no more than that is read


BODIES = {
    "200": HEAD,
    "a redirect": b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://elsewhere.example/\r\n",
    "400": b"HTTP/1.1 400 Bad Request\r\n",
    "429": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n",
    "503": b"HTTP/1.1 503 Service Unavailable\r\n",
}


@pytest.mark.parametrize("head", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    "length", [b"", b"Content-Length: 1600000000\r\n"], ids=["no length", "1.6 GB"]
)
def test_endless_body_is_read_up_to_its_limit_whatever_the_status(
    head: bytes, length: bytes
) -> None:
    found, far = ask_once(pouring(head + length + b"\r\n", b"x" * 65536), read=HANGS_AFTER_SECONDS)
    assert isinstance(found, Response)
    assert found.status == int(head.split()[1])
    assert len(found.body) == BODY_LIMIT
    assert far.sent < 32 * 1024 * 1024


@pytest.mark.parametrize("item", [b"{},", b"[],", b"0,"])
def test_answer_of_too_many_values_counts_as_too_long(item: bytes) -> None:
    body = (
        b'{"message": "Mailing list member has been created", "member": [' + item * 300_000 + b"0]}"
    )
    found, _ = ask_once(said(answer(body)), read=HANGS_AFTER_SECONDS)
    assert isinstance(found, Response)
    assert found.is_json_cut
    assert len(found.body) < 100_000


def test_gzip_stream_that_yields_nothing_is_read_to_the_limit_of_the_wire() -> None:
    found, far = ask_once(
        pouring(ZIPPED + ZIP_HEAD, EMPTY_BLOCK * 10_000), read=HANGS_AFTER_SECONDS
    )
    assert isinstance(found, NoResponse)
    assert far.sent < 2 * RAW_LIMIT


def test_gzip_bomb_is_unpacked_to_the_limit() -> None:
    bomb = gzip.compress(b"\0" * (100 * BODY_LIMIT))
    found, _ = ask_once(said(ZIPPED + bomb), read=HANGS_AFTER_SECONDS)
    assert isinstance(found, Response)
    assert found.body == b"\0" * BODY_LIMIT


def test_body_that_is_not_as_encoded_leaves_the_status_to_be_heeded() -> None:
    found, _ = ask_once(
        said(
            answer(b"no gzip", "429 Too Many Requests", "Content-Encoding: gzip", "Retry-After: 7")
        )
    )
    assert isinstance(found, Response)
    assert (found.status, found.body, found.headers["retry-after"]) == (429, b"", "7")


def body_of(found: Response | NoResponse) -> bytes | str:
    return found.body if isinstance(found, Response) else found.reason


def test_ordinary_answers_share_one_connection() -> None:
    chunked = CHUNKED + b"1\r\n2\r\n0\r\n\r\n"
    with RawMailgun(
        in_turn(answer(b"1"), chunked, answer(b"", "404 Not Found"), answer(b"4"))
    ) as far:
        mailgun = mailgun_at(far.url, read=10)
        assert [body_of(mailgun.read_list()) for _ in range(4)] == [b"1", b"2", b"", b"4"]
        assert far.connections == 1


HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
# What leaves it open, or makes it known, that more may come on the connection; the answer itself is good.
DOUBTFUL = {
    "a second answer at once": [answer(b"mine") + answer(b"stray")],
    "a second answer in a packet of its own": [answer(b"mine"), answer(b"stray")],
    "more than its length says": [answer(b"mine") + b"more"],
    "a chunked answer and another": [CHUNKED + b"4\r\nmine\r\n0\r\n\r\n" + answer(b"stray")],
    "both kinds of length": [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n"
    ],
    "an early hint": [HINT + answer(b"mine")],
    "early hints in packets of their own": [HINT, HINT, HINT, answer(b"mine")],
    "102": [b"HTTP/1.1 102 Processing\r\n\r\n", answer(b"mine")],
    "199": [b"HTTP/1.1 199 Odd\r\n\r\n" + answer(b"mine")],
    "100 several times": [b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + answer(b"mine")],
    "an informational answer afterwards": [answer(b"mine") + HINT],
    "HTTP/1.0": [b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nmine"],
    "Connection: close": [answer(b"mine", "200 OK", "Connection: close")],
}


@pytest.mark.parametrize("parts", DOUBTFUL.values(), ids=DOUBTFUL)
def test_connection_that_may_carry_a_stray_answer_is_not_used_again(parts: list[bytes]) -> None:
    def saying(number: int) -> Iterator[bytes]:
        return iter(parts) if number == 1 else iter([answer(b"next")])

    with RawMailgun(saying) as far:
        mailgun = mailgun_at(far.url, read=10)
        assert body_of(mailgun.read_list()) == b"mine"
        eventually(lambda: far.sent == sum(map(len, parts)))
        assert body_of(mailgun.read_list()) == b"next"
        assert far.connections == 2


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "205 Reset Content"])
def test_stray_body_after_an_answer_without_one_is_not_the_next_answer(status: str) -> None:
    head = f"HTTP/1.1 {status}\r\n\r\n".encode() if "205" not in status else answer(b"", status)
    stray = answer(b"stray")
    for parts in ([head + stray], [head, stray]):
        with RawMailgun(
            lambda number, parts=parts: iter(  # type: ignore[misc]
                parts if number == 1 else [answer(b"next")]
            )
        ) as far:
            mailgun = mailgun_at(far.url, read=10)
            assert body_of(mailgun.read_list()) == b""
            eventually(lambda: far.sent == len(head + stray))
            assert body_of(mailgun.read_list()) == b"next"


def test_refused_write_after_an_early_hint_is_not_counted_for_the_next() -> None:
    refused = answer(b'{"message":"no"}', "400 Bad Request")
    with RawMailgun(
        in_turn(HINT + member_answer("a@x.com"), HINT + refused, HINT + member_answer("c@x.com"))
    ) as far:
        mailgun = mailgun_at(far.url, read=10)
        statuses = [mailgun.upsert(Member(each)) for each in ("a@x.com", "b@x.com", "c@x.com")]
    assert [each.status for each in statuses if isinstance(each, Response)] == [200, 400, 200]


def test_bytes_before_a_request_are_not_its_answer() -> None:
    sent = threading.Event()

    def saying(number: int) -> Iterator[bytes]:
        yield answer(b"%d" % number)
        if number == 1:
            threading.Event().wait(0.2)
            yield answer(b"stray")
            sent.set()

    with RawMailgun(saying) as far:
        mailgun = mailgun_at(far.url, read=10)
        assert body_of(mailgun.read_list()) == b"1"
        assert sent.wait(10)
        assert body_of(mailgun.read_list()) == b"2"


BROKEN: dict[str, bytes] = {
    "HTTP/0.9": b"<html>hello</html>",
    "no status line": b"\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status with an underscore": b"HTTP/1.1 2_00 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nhello\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    "a length with an underscore": b"HTTP/1.1 200 OK\r\nContent-Length: 0_2\r\n\r\n{}",
    "a length of 5,000 digits": b"HTTP/1.1 200 OK\r\nContent-Length: "
    + b"9" * 5000
    + b"\r\n\r\n{}",
    "less than its length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
    "a negative chunk": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "a chunk whose size is no number": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
    "chunks that do not end": CHUNKED + b"2\r\n{}\r\n",
    "an unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}",
    "hints and no answer": HINT * 3,
    "nothing": b"",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_http_answer_is_no_response_and_quotes_nothing(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def saying(number: int) -> Iterator[bytes]:
        yield content if number == 1 else answer(b"next")
        if number == 1:
            raise ConnectionError("enough")  # and the connection ends

    with caplog.at_level(0), RawMailgun(saying) as far:
        mailgun = mailgun_at(far.url, read=10)
        found = within_bounds(mailgun.read_list)
        assert isinstance(found, NoResponse)
        assert found.asked
        assert body_of(mailgun.read_list()) == b"next"
    assert "hello" not in found.reason


def test_header_that_comes_twice_has_both_values() -> None:
    found, _ = ask_once(
        said(answer(b"{}", "200 OK", "X-Limit: 1", "Via: a", "x-limit: 2")), read=10
    )
    assert found == Response(200, b"{}", {"x-limit": "1, 2", "via": "a"})


def test_cookies_are_not_kept() -> None:
    set_them = (
        "Set-Cookie: session=5ecret; Path=/",
        "Set-Cookie: other=1; Domain=127.0.0.1; Max-Age=9999",
    )
    with RawMailgun(said(answer(b"{}", "200 OK", *set_them))) as far:
        mailgun = mailgun_at(far.url, read=10)
        for _ in range(3):
            mailgun.read_list()
    assert len(far.asked) == 3
    assert not any(b"cookie" in each.lower() for each in far.asked)


def test_odd_headers_are_not_written_to_a_log(caplog: pytest.LogCaptureFixture) -> None:
    odd: list[Any] = ["X-Echo: Basic YXBpOmtleQ==", " folded", "Set-Cookie: jane@example.com"]
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\nX-Echo: jane@example.com\r\n\r\n"
    with caplog.at_level(20):
        ask_once(said(answer(b"{}", "200 OK", *odd)))
        ask_once(said(both + b"2\r\n{}\r\n0\r\n\r\n"))
        ask_once(said(b"HTTP/1.1 200 OK\r\njane@example.com\r\n\r\n"))
    assert not caplog.records


def test_limits_of_an_answer_are_in_ascending_order() -> None:
    assert CHUNK < HEAD_LIMIT < BODY_LIMIT < RAW_LIMIT
