"""HTTP client of Mailgun's mailing-list API: each request returns a `Response` or a `NoResponse`.

Requests go to `{base}/v3/lists/{list}` and below, with Basic auth `api:<key>`. Their bodies are
form-urlencoded, those of calls for many members multipart. `outcome.py` classifies the answers.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import requests
from pydantic import SecretStr
from urllib3.exceptions import DecodeError, HTTPError, NewConnectionError, ReadTimeoutError

from worker.mailgun.connection import BoundedAdapter
from worker.mailgun.http_answer import BrokenAnswer
from worker.mailgun.member import Member
from worker.mailgun.quotation import quoted
from worker.mailgun.response import NoResponse, Response
from worker.settings import LOOPBACK_HOSTS

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

# The parts of a multipart form, by field.
Parts = Mapping[str, tuple[None, str]]
# Takes the name of a request, its HTTP status (None without an answer), and its seconds.
OnRequest = Callable[[str, int | None, float], None]


def ignore_request(_request: str, _status: int | None, _seconds: float) -> None:
    """Do nothing: the default for `on_request`."""


class MailgunClient:
    """Client of one mailing list in one Mailgun region.

    Threads may share it: each thread has its own keep-alive session.
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
    ) -> None:
        """Configure the client; it connects with its first request.

        Args:
            base_url: The URL of Mailgun's API without a trailing slash.
            key: The API key.
            list_address: The address of the mailing list.
            connect_timeout: The seconds to connect, and again to send a request.
            read_timeout: The seconds to receive the whole answer.
            on_request: Called after every request with its name, HTTP status and seconds.
        """
        self.list_address = list_address
        self.list_url = f"{base_url}/v3/lists/{quote(list_address, safe='@')}"
        self.pages_url = f"{self.list_url}/members/pages"
        self._auth = ("api", key.get_secret_value())
        self._timeouts = (connect_timeout, read_timeout)
        self._through_proxies = urlsplit(base_url).hostname not in LOOPBACK_HOSTS
        self._on_request = on_request
        self._of_thread = threading.local()

    def quoted(self, answer: Response) -> str:
        """Return the text of an answer that is about no person, cut, with the API key masked."""
        return quoted(answer.text(), self._auth[1])

    def read_list(self) -> Response | NoResponse:
        """Send `GET /v3/lists/{list}`."""
        return self._observe("read_list", "GET", self.list_url)

    def read_member(self, address: str) -> Response | NoResponse:
        """Send `GET /v3/lists/{list}/members/{address}`, with `+` as `%2B`."""
        return self._observe(
            "read_member", "GET", f"{self.list_url}/members/{quote(address, safe='@')}"
        )

    def read_page(self, query: Mapping[str, str]) -> Response | NoResponse:
        """Send `GET /v3/lists/{list}/members/pages?{query}`, which returns up to 100 members."""
        return self._observe(
            "read_page", "GET", f"{self.pages_url}?{urlencode(query)}", body_limit=PAGE_BODY_LIMIT
        )

    def upsert(self, member: Member) -> Response | NoResponse:
        """Send `POST /v3/lists/{list}/members` with `upsert=true`. A repeat is harmless."""
        return self.write(member.form())

    def write(self, form: Mapping[str, str]) -> Response | NoResponse:
        """Send `POST /v3/lists/{list}/members` with the fields of `form` as they are."""
        return self._observe("upsert", "POST", f"{self.list_url}/members", form)

    def upsert_many(self, entries: Sequence[str]) -> Response | NoResponse:
        """Send `POST /v3/lists/{list}/members.json` with `upsert=true`.

        Mailgun stores up to 100 members before it answers. Each is JSON, from `Member.entry`. The
        form is multipart, as in Mailgun's documents: to quote 100 members for a urlencoded form
        costs more than the rest of the request.
        """
        parts = {"members": (None, f"[{','.join(entries)}]"), "upsert": (None, "true")}
        return self._observe("upsert_many", "POST", f"{self.list_url}/members.json", files=parts)

    def delete_member(self, address: str) -> Response | NoResponse:
        """Send `DELETE /v3/lists/{list}/members/{address}`: for members of this program only."""
        return self._observe(
            "delete_member", "DELETE", f"{self.list_url}/members/{quote(address, safe='@')}"
        )

    def _observe(
        self,
        request: str,
        method: str,
        url: str,
        form: Mapping[str, str] | None = None,
        *,
        files: Parts | None = None,
        body_limit: int = BODY_LIMIT,
    ) -> Response | NoResponse:
        began = time.monotonic()
        answer = self._ask(method, url, body_limit, data=form, files=files)
        self._on_request(
            request,
            answer.status if isinstance(answer, Response) else None,
            time.monotonic() - began,
        )
        return answer

    def _ask(self, method: str, url: str, body_limit: int, **sent: Any) -> Response | NoResponse:
        try:
            with self._session().request(
                method, url, timeout=self._timeouts, allow_redirects=False, stream=True, **sent
            ) as response:
                return self._answer(response, body_limit)
        except (
            requests.RequestException,
            HTTPError,
            HTTPException,
            OSError,
            UnicodeError,
        ) as error:
            return NoResponse(_reason(error), asked=not _never_sent(error))

    def _answer(self, response: requests.Response, body_limit: int) -> Response:
        body, ended = bytearray(), False
        try:
            while len(body) <= body_limit and not ended:
                chunk = response.raw.read1(CHUNK, decode_content=True)
                ended = not chunk
                body += chunk
        except DecodeError:
            # The body is not encoded as its Content-Encoding states. The status still counts.
            body.clear()
        if ended:
            response.raw.release_conn()  # a connection that is not released is closed
        cut = len(body) > body_limit
        if sum(map(body.count, VALUE_MARKS)) > MOST_VALUES:
            del body[CHUNK:]
            cut = True
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, bytes(body[:body_limit]), headers, cut=cut)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            session = self._of_thread.session = self._new_session()
        return session

    def _new_session(self) -> requests.Session:
        session = OneAnswerSession()
        session.auth = self._auth
        session.trust_env = self._through_proxies
        session.headers.update({"User-Agent": "signal-mailgun", "Accept-Encoding": "gzip"})
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            session.mount(scheme, BoundedAdapter())
        return session


class OneAnswerSession(requests.Session):
    """Session that treats a redirect as any answer; `requests` would read all of its body."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        """Return None, so that the session follows no redirect."""
        return


def _never_sent(error: Exception) -> bool:
    """Return True if the request failed before it could be sent."""
    cause = getattr(error.args[0], "reason", None) if error.args else None
    never = requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError
    return isinstance(error, never) or isinstance(cause, NewConnectionError)


def _reason(error: Exception) -> str:
    # The exception's own text may quote the address from the URL, so only its kind is shown.
    broken = next((each for each in (error, *error.args) if isinstance(each, BrokenAnswer)), None)
    if broken:
        return f"no usable answer: {broken}"
    match error:
        case requests.ConnectTimeout():
            return "time-out: no connection to Mailgun in time"
        case requests.Timeout():
            return "time-out: connected, but no answer in time; Mailgun may have stored it"
        case ReadTimeoutError():
            return "time-out: the answer did not end in time"
        case requests.exceptions.SSLError():
            return "no secure connection: the certificate or the TLS handshake failed"
        case requests.exceptions.ProxyError():
            return "no connection through the proxy"
        case requests.ConnectionError() | OSError():
            return f"no connection, or it broke ({type(error).__name__})"
        case _:
            return f"no answer ({type(error).__name__})"
