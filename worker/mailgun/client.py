"""HTTP client of Mailgun's mailing-list API: each request returns a `Response` or a `NoResponse`.

Requests go to `{base}/v3/lists/{list}` and below, with Basic auth `api:<key>`. Their bodies are
form-urlencoded, those of calls for many members multipart. `outcome.py` classifies the answers.
"""

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from urllib.parse import quote, urlencode

from pydantic import SecretStr
from urllib3 import BaseHTTPResponse, Timeout, encode_multipart_formdata
from urllib3.exceptions import DecodeError

from worker.mailgun.failure import FAILURES, before_answer, within_answer
from worker.mailgun.member import Member
from worker.mailgun.quotation import quoted
from worker.mailgun.response import NoResponse, Response
from worker.mailgun.route import Connect, Send, connect

# Bytes of an answer that are read: a member may hold the fields of several events of 512 KB.
BODY_LIMIT = 2 * 1024 * 1024
VALUE_MARKS = (b"{", b"[", b",")
# Values in an answer, estimated by `VALUE_MARKS`: decoded, each takes up to 72 bytes, however short
# its text is.
MOST_VALUES = 200_000
# Bytes of a page that are read: 100 members of 320 KB. After a longer one `page_outcome` asks for
# a smaller page.
PAGE_BODY_LIMIT = 32 * 1024 * 1024
CHUNK = 16 * 1024

PAGES = "/members/pages"
# The headers of every request, besides those of its body and Authorization.
HEADERS = {
    "User-Agent": "signal-mailgun",
    "Accept-Encoding": "gzip",
    "Accept": "*/*",
    "Connection": "keep-alive",
}

# The fields of a form.
Fields = Mapping[str, str]
# Returns a form with these fields: its bytes and their type.
Encode = Callable[[Fields], tuple[bytes, str]]
# Takes the name of a request, its HTTP status (None without an answer), and its seconds.
OnRequest = Callable[[str, int | None, float], None]


def urlencoded(fields: Fields) -> tuple[bytes, str]:
    """Return a form as browsers send it."""
    return urlencode(fields).encode(), "application/x-www-form-urlencoded"


def ignore_request(_request: str, _status: int | None, _seconds: float) -> None:
    """Do nothing: the default for `on_request`."""


class MailgunClient:
    """Client of one mailing list in one Mailgun region.

    Threads and greenlets may share it, and its keep-alive connections.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: SecretStr,
        list_address: str,
        connect_timeout: float,
        read_timeout: float,
        on_request: OnRequest = ignore_request,
        connect: Connect = connect,
    ) -> None:
        """Configure the client; it connects with its first request.

        Args:
            base_url: The URL of Mailgun's API without a trailing slash.
            key: The API key.
            list_address: The address of the mailing list.
            connect_timeout: The seconds to connect, and again to send a request.
            read_timeout: The seconds to receive the whole answer.
            on_request: Called after every request with its name, HTTP status and seconds.
            connect: Opens the way to the list.
        """
        self.list_address = list_address
        self.list_url = f"{base_url}/v3/lists/{quote(list_address, safe='@')}"
        self.pages_url = f"{self.list_url}{PAGES}"
        self._key = key.get_secret_value()
        credentials = base64.b64encode(f"api:{self._key}".encode()).decode()
        self._authorization = {"Authorization": f"Basic {credentials}"}
        self._timeouts = Timeout(connect=connect_timeout, read=read_timeout)
        self._connect = connect
        self._on_request = on_request

    def quoted(self, answer: Response) -> str:
        """Return the text of an answer that is about no person, cut, with the API key masked."""
        return quoted(answer.text(), self._key)

    def read_list(self) -> Response | NoResponse:
        """Send `GET /v3/lists/{list}`."""
        return self._observe("read_list", "GET", "")

    def read_member(self, address: str) -> Response | NoResponse:
        """Send `GET /v3/lists/{list}/members/{address}`, with `+` as `%2B`."""
        return self._observe("read_member", "GET", f"/members/{quote(address, safe='@')}")

    def read_page(self, query: Mapping[str, str]) -> Response | NoResponse:
        """Send `GET /v3/lists/{list}/members/pages?{query}`, which returns up to 100 members."""
        return self._observe(
            "read_page", "GET", f"{PAGES}?{urlencode(query)}", body_limit=PAGE_BODY_LIMIT
        )

    def upsert(self, member: Member) -> Response | NoResponse:
        """Send `POST /v3/lists/{list}/members` with `upsert=true`. A repeat is harmless."""
        return self.write(member.form())

    def write(self, form: Fields) -> Response | NoResponse:
        """Send `POST /v3/lists/{list}/members` with the fields of `form` as they are."""
        return self._observe("upsert", "POST", "/members", form)

    def upsert_many(self, entries: Sequence[str]) -> Response | NoResponse:
        """Send `POST /v3/lists/{list}/members.json` with `upsert=true`.

        Mailgun stores up to 100 members before it answers. Each is JSON, from `Member.entry`. The
        form is multipart, as in Mailgun's documents: to quote 100 members for a urlencoded form
        costs more than the rest of the request.
        """
        fields = {"members": f"[{','.join(entries)}]", "upsert": "true"}
        return self._observe(
            "upsert_many", "POST", "/members.json", fields, encode_multipart_formdata
        )

    def delete_member(self, address: str) -> Response | NoResponse:
        """Send `DELETE /v3/lists/{list}/members/{address}`: for members of this program only."""
        return self._observe("delete_member", "DELETE", f"/members/{quote(address, safe='@')}")

    def _observe(
        self,
        request: str,
        method: str,
        below: str,
        fields: Fields | None = None,
        encode: Encode = urlencoded,
        *,
        body_limit: int = BODY_LIMIT,
    ) -> Response | NoResponse:
        began = time.monotonic()
        answer = self._ask(method, below, fields, encode, body_limit)
        self._on_request(
            request,
            answer.status if isinstance(answer, Response) else None,
            time.monotonic() - began,
        )
        return answer

    def _ask(
        self, method: str, below: str, fields: Fields | None, encode: Encode, body_limit: int
    ) -> Response | NoResponse:
        try:
            body, about_it = _body(method, fields, encode)
            headers = {**HEADERS, **about_it, **self._authorization}
            response = self._send(method, below, headers, body)
        except FAILURES as error:
            return before_answer(error)
        try:
            with closing(response):
                return _answer(response, body_limit)
        except FAILURES as error:
            return within_answer(error)

    @cached_property
    def _send(self) -> Send:
        return self._connect(self.list_url, self._timeouts)


def _body(
    method: str, fields: Fields | None, encode: Encode
) -> tuple[bytes | None, dict[str, str]]:
    """Return the body of a request, and the headers about it."""
    if fields:
        body, kind = encode(fields)
        return body, {"Content-Length": str(len(body)), "Content-Type": kind}
    return None, {} if method == "GET" else {"Content-Length": "0"}


def _answer(response: BaseHTTPResponse, body_limit: int) -> Response:
    body, ended = bytearray(), False
    try:
        while len(body) <= body_limit and not ended:
            chunk = response.read1(CHUNK, decode_content=True)
            ended = not chunk
            body += chunk
    except DecodeError:
        # The body is not encoded as its Content-Encoding states. The status still counts.
        body.clear()
    if ended:
        response.release_conn()  # a connection that is not released is closed
    cut = len(body) > body_limit
    if sum(map(body.count, VALUE_MARKS)) > MOST_VALUES:
        del body[CHUNK:]
        cut = True
    headers = {name.lower(): value for name, value in response.headers.itermerged()}
    return Response(response.status, bytes(body[:body_limit]), headers, cut=cut)
