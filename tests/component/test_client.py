"""The client's requests as they leave, and what it makes of everything that can come back."""

import base64
import gzip
import io
import socket
import ssl
import threading
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote_plus

import pytest
import requests
import urllib3
from pydantic import SecretStr

from tests import example
from tests.adapters import KEY, Body, Far, Sent, answered, asking
from worker.mailgun.client import BODY_LIMIT, CHUNK, PAGE_BODY_LIMIT, MailgunClient
from worker.mailgun.member import Member
from worker.mailgun.response import NoResponse, Response

JANE = Member(
    "jane@example.com",
    "Jane Doe",
    True,  # noqa: FBT003
    {
        "first_name": "Jane",
        "last_name": "Doe",
        "plan": "pro",
        "company": "Acme Ltd",
        "anonymous_id": "a1b2c3",
    },
)


def sent(member: Member = JANE) -> Sent:
    far = Far(lambda _: answered())
    asking(far).upsert(member)
    (request,) = far.requests
    return request


def body_of(request: Sent) -> str:
    assert request.body
    return request.body.decode()


def test_the_upsert_is_the_request_of_the_integrations_page() -> None:
    request = sent()
    assert f"{request.method} {request.url}" == example.LINE
    assert unquote_plus(body_of(request)).replace("&", "\n") == example.FIELDS
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_the_key_is_the_password_of_basic_auth_and_nowhere_else() -> None:
    request = sent()
    expected = base64.b64encode(f"api:{KEY}".encode()).decode()
    assert request.headers["Authorization"] == f"Basic {expected}"
    assert KEY not in f"{request.url} {request.body!r}"


@pytest.mark.parametrize(
    "text", ["a&b=c", "a+b c", "100 %", "Ümlaut ☃ \U0001f600", 'a"b\\c', "line\nend", "%41"]
)
def test_every_text_survives_the_form_encoding(text: str) -> None:
    fields = dict(
        parse_qsl(body_of(sent(Member("jane+news@example.com", text))), strict_parsing=True)
    )
    assert fields["name"] == text
    assert fields["address"] == "jane+news@example.com"


@pytest.mark.parametrize(
    ("address", "segment"),
    [
        ("jane@example.com", "jane@example.com"),
        ("jane+news@example.com", "jane%2Bnews@example.com"),
        ("jane%2b@example.com", "jane%252b@example.com"),
        ("jane?x=1#y@example.com", "jane%3Fx%3D1%23y@example.com"),
        ("jäne@example.com", "j%C3%A4ne@example.com"),
        ("../jane@example.com", "..%2Fjane@example.com"),
    ],
)
def test_a_member_is_one_quoted_segment_of_the_path(address: str, segment: str) -> None:
    far = Far(lambda _: answered())
    asking(far).read_member(address)
    assert (
        far.requests[0].url
        == f"https://api.mailgun.net/v3/lists/newsletter@mg.example.com/members/{segment}"
    )
    assert (far.requests[0].method, far.requests[0].body) == ("GET", None)


def test_a_page_is_asked_for_by_its_query_quoted() -> None:
    far = Far(lambda _: answered())
    asking(far, list_address="news+eu@mg.example.com").read_page(
        {"limit": "100", "address": "jane+x&y=z@example.com"}
    )
    (request,) = far.requests
    assert (request.method, request.body) == ("GET", None)
    path, _, query = request.url.partition("?")
    assert path == "https://api.mailgun.net/v3/lists/news%2Beu@mg.example.com/members/pages"
    assert dict(parse_qsl(query, strict_parsing=True)) == {
        "limit": "100",
        "address": "jane+x&y=z@example.com",
    }


def test_the_list_is_one_quoted_segment_of_the_path() -> None:
    far = Far(lambda _: answered())
    asking(far, list_address="news+eu@mg.example.com").read_list()
    assert far.requests[0].url == "https://api.mailgun.net/v3/lists/news%2Beu@mg.example.com"


def test_both_timeouts_are_those_of_the_settings() -> None:
    far = Far(lambda _: answered())
    asking(far).read_list()
    assert [(each.connect_timeout, each.read_timeout) for each in far.timeouts] == [(5, 15)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_not_followed(status: int) -> None:
    far = Far(lambda _: answered(status, headers={"Location": "https://elsewhere.example.com/"}))
    assert asking(far).upsert(JANE) == Response(
        status, b"", {"location": "https://elsewhere.example.com/"}
    )
    assert len(far.requests) == 1


@pytest.mark.parametrize("status", [200, 202, 400, 401, 404, 429, 500, 503])
def test_client_retries_no_status(status: int) -> None:
    far = Far(lambda _: answered(status, b"text", {"Retry-After": "1"}))
    assert asking(far).upsert(JANE) == Response(status, b"text", {"retry-after": "1"})
    assert len(far.requests) == 1


@pytest.mark.parametrize("size", [BODY_LIMIT + 1, PAGE_BODY_LIMIT])
def test_a_page_may_be_longer_than_a_member(size: int) -> None:
    far = Far(lambda _: answered(200, b"x" * size))
    found = asking(far).read_page({})
    assert isinstance(found, Response)
    assert len(found.body) == size


def test_no_more_of_a_page_is_read_than_its_limit() -> None:
    body = Body(b"x" * (PAGE_BODY_LIMIT + 10 * CHUNK))
    found = asking(Far(lambda _: answered(200, body))).read_page({})
    assert isinstance(found, Response)
    assert len(found.body) == PAGE_BODY_LIMIT
    assert body.taken <= PAGE_BODY_LIMIT + CHUNK


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, BODY_LIMIT])
def test_a_body_up_to_the_limit_is_read_whole(size: int) -> None:
    assert asking(Far(lambda _: answered(200, b"x" * size))).read_list() == Response(
        200, b"x" * size
    )


def test_body_is_read_up_to_its_limit_and_a_larger_one_ends_the_connection() -> None:
    body = Body(b"x" * (10 * BODY_LIMIT))
    response = answered(200, body)
    answer = asking(Far(lambda _: response)).read_list()
    assert answer == Response(200, b"x" * BODY_LIMIT)
    assert body.taken <= BODY_LIMIT + CHUNK
    assert response.closed


def test_a_compressed_body_is_unpacked_up_to_the_same_limit() -> None:
    def unpacked(content: bytes) -> Response | NoResponse:
        return asking(
            Far(lambda _: answered(200, gzip.compress(content), {"Content-Encoding": "gzip"}))
        ).read_list()

    small = unpacked(b'{"list":{}}')
    assert isinstance(small, Response)
    assert small.body == b'{"list":{}}'
    bomb = unpacked(b"\0" * (50 * BODY_LIMIT))
    assert isinstance(bomb, Response)
    assert bomb.body == b"\0" * BODY_LIMIT


def subclasses(root: type[Exception], module: str) -> list[type[Exception]]:
    """`root` and everything below it that `module` defines."""
    found, ahead = [], [root]
    while ahead:
        each = ahead.pop()
        ahead += each.__subclasses__()
        if each.__module__.startswith(module) and each not in found:
            found.append(each)
    return found


REQUESTS = subclasses(requests.RequestException, "requests")
URLLIB3 = subclasses(urllib3.exceptions.HTTPError, "urllib3")
SYSTEM = [
    *(
        ConnectionResetError,
        ConnectionRefusedError,
        ConnectionAbortedError,
        BrokenPipeError,
        TimeoutError,
        OSError,
    ),
    *(ssl.SSLError, ssl.SSLCertVerificationError, InterruptedError),
]


def made(kind: type[Exception]) -> Exception:
    """An exception of `kind` that quotes an address, as requests' own do, whatever its constructor wants."""
    error = kind.__new__(kind)
    Exception.__init__(error, "GET /v3/lists/x/members/jane%40example.com jane@example.com")
    return error


def raising(error: Exception) -> Far:
    def answer(_: object) -> NoReturn:
        raise error

    return Far(answer)


def breaking(error: Exception) -> Far:
    """An answer whose body breaks."""

    class Broken(urllib3.HTTPResponse):
        def read1(self, *_: Any, **__: Any) -> NoReturn:
            raise error

    return Far(lambda _: Broken(io.BytesIO(b"x"), {}, 200, preload_content=False))


def test_every_exception_of_requests_has_a_case() -> None:
    named = {each for each in vars(requests.exceptions).values() if isinstance(each, type)}
    assert {each for each in named if issubclass(each, requests.RequestException)} <= set(REQUESTS)
    assert len(REQUESTS) >= 20


@pytest.mark.parametrize("where", [raising, breaking])
@pytest.mark.parametrize(
    "kind", [*REQUESTS, *URLLIB3, *SYSTEM], ids=lambda each: f"{each.__module__}.{each.__name__}"
)
def test_broken_answer_is_no_response_and_quotes_no_address(
    kind: type[Exception], where: Any
) -> None:
    answer = asking(where(made(kind))).upsert(JANE)
    if where is breaking and issubclass(kind, urllib3.exceptions.DecodeError):
        assert answer == Response(200)  # its status came whole
        return
    assert isinstance(answer, NoResponse)
    assert answer.reason
    assert "jane" not in answer.reason
    assert KEY not in answer.reason
    assert len(answer.reason.splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (urllib3.exceptions.ConnectTimeoutError, "no connection to Mailgun in time"),
        (urllib3.exceptions.ReadTimeoutError, "Mailgun may have stored it"),
        (urllib3.exceptions.SSLError, "certificate"),
        (urllib3.exceptions.ProxyError, "proxy"),
        (urllib3.exceptions.NewConnectionError, "no connection, or it broke (ConnectionError)"),
        (urllib3.exceptions.NameResolutionError, "no connection, or it broke (ConnectionError)"),
        (urllib3.exceptions.ProtocolError, "no connection, or it broke (ConnectionError)"),
        (requests.exceptions.InvalidProxyURL, "no connection, or it broke (InvalidProxyURL)"),
        (ConnectionResetError, "no connection, or it broke (ConnectionResetError)"),
    ],
)
def test_reason_of_no_response_is_described_in_words(kind: type[Exception], words: str) -> None:
    answer = asking(raising(made(kind))).upsert(JANE)
    assert isinstance(answer, NoResponse)
    assert words in answer.reason


@pytest.mark.parametrize("error", [KeyError("bug"), AttributeError("bug"), RuntimeError("bug")])
def test_bug_in_the_client_is_not_reported_as_no_response(error: Exception) -> None:
    with pytest.raises(type(error), match="bug"):
        asking(raising(error)).upsert(JANE)


def test_a_failed_request_does_not_spoil_the_next() -> None:
    far = raising(ConnectionResetError("gone"))
    mailgun = asking(far)
    assert isinstance(mailgun.read_list(), NoResponse)
    far.answer = lambda _: answered(200, b"ok")
    assert mailgun.read_list() == Response(200, b"ok")


def test_threads_share_the_way_to_the_list() -> None:
    far = Far(lambda _: answered())
    mailgun = asking(far)
    thread = threading.Thread(target=mailgun.read_list)
    thread.start()
    thread.join(10)
    for _ in range(3):
        mailgun.read_list()
    assert (len(far.timeouts), len(far.requests)) == (1, 4)


def test_the_client_does_not_show_its_key() -> None:
    mailgun = asking(Far(lambda _: answered()))
    assert KEY not in f"{mailgun!r} {mailgun}"


def test_refused_connection_counts_as_not_asked() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        mailgun = MailgunClient(
            base_url=f"http://127.0.0.1:{silent.getsockname()[1]}",
            key=SecretStr("key"),
            list_address="list@example.com",
            connect_timeout=1,
            read_timeout=1,
        )
        answer = mailgun.read_list()
    assert isinstance(answer, NoResponse)
    assert not answer.asked
