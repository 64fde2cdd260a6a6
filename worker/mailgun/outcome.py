"""Classify Mailgun's answers: every status and body, and every missing answer, has one outcome.

200, the member's own JSON             found / delivered
200, a page of the list's members      that page
200, the member, but unreadable        unreadable_member  a retry would show the same
404 on reading, "Member … not found"   absent
429, 420                               throttled          a wait is not a failure
200, another member's JSON             wrong_member       a retry would get the same answer
5xx, 408, no answer, a strange 200     unavailable
400                                    rejected
401, 403                               unauthorized
404                                    list_not_found     no such list, or the wrong region's host
anything else, a redirect              unexpected_status
a bug in this program                  crashed

Times are UTC.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from worker.mailgun.answer_json import decoded
from worker.mailgun.member import Member, Unreadable, found_in, is_same_address, other_address_in
from worker.mailgun.page import Page, Query, page_in, smaller
from worker.mailgun.texts import (
    ANSWER_LIMIT,
    ENDLESS,
    NO_PAGE,
    STRANGE,
    TOO_LONG,
    UNREADABLE,
    WRONG_ADDRESS,
    shown,
)
from worker.privacy import redacted

# An epoch number this large is in milliseconds: in seconds it would be the year 5138.
MILLISECONDS_FROM = 1e11
LONGEST_HINT_SECONDS = 86_400.0  # a hint beyond a day counts as a day


class OutcomeKind(StrEnum):
    """The closed set of outcomes of an attempt.

    The module's docstring lists those that an answer of Mailgun leads to. The others:

    Attributes:
        UNCHANGED: Mailgun holds the member already; nothing was written.
        SUPERSEDED: Newer events have set all fields that this event sets.
        HELD: The integration is on hold; no request may be sent.
        BUSY: The member is locked by another delivery.
        DOUBTFUL: Mailgun contradicts what it confirmed lately; another look decides.
        CRASHED: A bug in this program.
    """

    DELIVERED = "delivered"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"
    HELD = "held"
    BUSY = "busy"
    DOUBTFUL = "doubtful"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    REJECTED = "rejected"
    UNAUTHORIZED = "unauthorized"
    LIST_NOT_FOUND = "list_not_found"
    UNEXPECTED_STATUS = "unexpected_status"
    WRONG_MEMBER = "wrong_member"
    UNREADABLE_MEMBER = "unreadable_member"
    CRASHED = "crashed"


@dataclass(frozen=True)
class Response:
    """An answer over HTTP.

    Attributes:
        status: The HTTP status.
        body: The decoded body, cut at the client's limit.
        headers: The headers, with names in lower case.
        cut: The body was cut.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = field(default=False, compare=False)

    def json(self) -> Any:
        """Return the decoded JSON of the body; None if it is not JSON."""
        return self._decoded

    @cached_property
    def _decoded(self) -> Any:
        return decoded(self.body)

    @property
    def is_json_cut(self) -> bool:
        """Return True if the body began as JSON and was cut."""
        return self.cut and self.body.lstrip()[:1] == b"{"

    def text(self) -> str:
        """Return the answer's JSON `message`, else its body, cut to ANSWER_LIMIT characters.

        The text may quote anything that was sent.
        """
        data = self.json()
        message = data.get("message") if isinstance(data, dict) else None
        text = (
            message[:ANSWER_LIMIT]
            if isinstance(message, str)
            else self.body[: 4 * ANSWER_LIMIT].decode("utf-8", "replace")
        )
        return _escaped(text)[:ANSWER_LIMIT]


@dataclass(frozen=True)
class NoResponse:
    """A request without a whole answer.

    Attributes:
        reason: The reason, which is safe to show.
        asked: The request may have reached Mailgun, which may have stored the member.
    """

    reason: str
    asked: bool = True


@dataclass(frozen=True)
class Outcome:
    """The outcome of one attempt.

    Attributes:
        kind: The kind of the outcome.
        status: The HTTP status; None without an answer.
        answer: The text of Mailgun's answer; without a status, why there was none. Only a dead
            letter keeps it.
        wait_until: The earliest time of the next attempt by Mailgun's own hint; None without one.
        member: The member as Mailgun confirmed it (delivered, unchanged).
        requests: How many requests were sent.
        unsettled: A write got no answer: Mailgun may have applied it, or may still do so.
        again_in: The seconds until the next look at the member (doubtful).
    """

    kind: OutcomeKind
    status: int | None = None
    answer: str = ""
    wait_until: datetime | None = None
    member: Member | None = None
    requests: int = 0
    unsettled: bool = False
    again_in: float = 0.0

    @property
    def summary(self) -> str:
        """Return the answer's text as it may be shown."""
        return self.answer if self.status is None else shown(self.answer)

    @property
    def is_refusal(self) -> bool:
        """Return True if Mailgun certainly stored nothing: it answered 4xx, but not 408."""
        return self.status is not None and 400 <= self.status < 500 and self.status != 408


def classify_read(
    answer: Response | NoResponse, address: str, now: datetime
) -> Member | Outcome | None:
    """Classify the answer to a request that reads the member at `address`.

    Returns:
        The member; None if the list does not hold it; or the outcome if it could not be read.
    """
    if isinstance(answer, Response) and answer.status == 404 and _says_member_absent(answer):
        return None
    if isinstance(answer, Response) and answer.status == 200:
        return _member_or_why_not(answer, address)
    return _trouble(answer, now)


def classify_write(answer: Response | NoResponse, address: str, now: datetime) -> Outcome:
    """Classify the answer to an upsert; the outcome is `delivered` if it shows the member."""
    if isinstance(answer, Response) and answer.status == 200:
        found = _member_or_why_not(answer, address)
        return (
            Outcome(OutcomeKind.DELIVERED, 200, answer.text(), member=found)
            if isinstance(found, Member)
            else found
        )
    return _unwritten(answer, now)


def classify_bulk_write(answer: Response | NoResponse, list_address: str, now: datetime) -> Outcome:
    """Classify the answer to a call for many members.

    The outcome is `delivered` if the answer shows the list, and no job that stores the members
    later.
    """
    if isinstance(answer, Response) and answer.status == 200:
        data = answer.json()
        found = data.get("list") if isinstance(data, dict) and "task-id" not in data else None
        named = found.get("address") if isinstance(found, dict) else None
        ours = isinstance(named, str) and is_same_address(named, list_address)
        return Outcome(OutcomeKind.DELIVERED, 200, answer.text()) if ours else _strange(answer)
    return _unwritten(answer, now)


def page_outcome(
    answer: Response | NoResponse, query: Query, url: str, now: datetime
) -> Page | Outcome:
    """Classify the answer to a request for a page of members; `url` is that of the list's pages.

    Returns:
        The page; in place of one that is too long, a page without members that a smaller page
        follows; or the outcome if there is no page. That of a 200 without a page quotes nothing.
    """
    if isinstance(answer, Response) and answer.status == 200:
        if answer.is_json_cut:
            half = smaller(query)
            return (
                Page((), half)
                if half
                else Outcome(OutcomeKind.UNREADABLE_MEMBER, 200, f"{UNREADABLE}{TOO_LONG}")
            )
        return page_in(answer.json(), query, url) or Outcome(OutcomeKind.UNAVAILABLE, 200, NO_PAGE)
    return _trouble(answer, now)


def endless_outcome() -> Outcome:
    """Return the outcome of pages of members that do not end."""
    return Outcome(OutcomeKind.UNEXPECTED_STATUS, 200, ENDLESS)


def list_outcome(answer: Response | NoResponse, now: datetime) -> Outcome:
    """Classify the answer to a request that reads the list: `unchanged` if the list exists."""
    if list_exists(answer):
        return Outcome(OutcomeKind.UNCHANGED, 200, requests=1)
    if isinstance(answer, Response) and answer.status == 200:
        return replace(_strange(answer), requests=1)
    return replace(_trouble(answer, now), requests=1)


def list_exists(answer: Response | NoResponse) -> bool:
    """Return True if the answer shows the list."""
    data = answer.json() if isinstance(answer, Response) and answer.status == 200 else None
    return isinstance(data, dict) and isinstance(data.get("list"), dict)


def _says_member_absent(answer: Response) -> bool:
    # "Member x of mailing list y not found", not "Mailing list y not found". A 404 without JSON
    # comes from the wrong host or path.
    data = answer.json()
    message = data.get("message") if isinstance(data, dict) else None
    return isinstance(message, str) and message.lower().startswith("member ")


def _member_or_why_not(answer: Response, address: str) -> Member | Outcome:
    found = found_in(answer.json(), address)
    if isinstance(found, Unreadable):
        return Outcome(OutcomeKind.UNREADABLE_MEMBER, 200, f"{UNREADABLE}{found.why}")
    if found is None and answer.is_json_cut:
        return Outcome(OutcomeKind.UNREADABLE_MEMBER, 200, f"{UNREADABLE}{TOO_LONG}")
    return found or _not_it(answer, address)


def _escaped(text: str) -> str:
    """Return `text` with lone surrogates escaped, so that it can be stored and shown."""
    return text.encode("utf-8", "backslashreplace").decode()


def _not_it(answer: Response, address: str) -> Outcome:
    named = other_address_in(answer.json(), address)
    if named is None:
        return _strange(answer)
    return Outcome(
        OutcomeKind.WRONG_MEMBER, 200, f"{WRONG_ADDRESS}{_escaped(named)}"[:ANSWER_LIMIT]
    )


def _strange(answer: Response) -> Outcome:
    return Outcome(
        OutcomeKind.UNAVAILABLE, answer.status, f"{STRANGE}{answer.text()}"[:ANSWER_LIMIT]
    )


def _unwritten(answer: Response | NoResponse, now: datetime) -> Outcome:
    return replace(_trouble(answer, now), unsettled=isinstance(answer, NoResponse) and answer.asked)


def _trouble(answer: Response | NoResponse, now: datetime) -> Outcome:
    if isinstance(answer, NoResponse):
        return Outcome(OutcomeKind.UNAVAILABLE, None, answer.reason)
    return Outcome(kind_of_status(answer.status), answer.status, answer.text(), hinted(answer, now))


def kind_of_status(status: int) -> OutcomeKind:
    """Return the outcome kind of any status but 200, whatever its body."""
    match status:
        case 420 | 429:
            return OutcomeKind.THROTTLED
        case 400:
            return OutcomeKind.REJECTED
        case 401 | 403:
            return OutcomeKind.UNAUTHORIZED
        case 404:
            return OutcomeKind.LIST_NOT_FOUND
        case 408:
            return OutcomeKind.UNAVAILABLE
        case _ if 500 <= status <= 599:
            return OutcomeKind.UNAVAILABLE
        case _:
            return OutcomeKind.UNEXPECTED_STATUS


def hinted(answer: Response, now: datetime) -> datetime | None:
    """Return the time until which Mailgun asks to wait, at most a day ahead; None without a hint.

    The hints are `Retry-After` (seconds or HTTP date), `X-RateLimit-Reset` (epoch seconds or
    milliseconds) and `retry-seconds` in the body; the latest time counts. Hints that cannot be read
    do not count.
    """
    data = answer.json()
    seconds = (
        _retry_after(answer.headers.get("retry-after", ""), now),
        _reset(answer.headers.get("x-ratelimit-reset", ""), now),
        _number(data.get("retry-seconds")) if isinstance(data, dict) else None,
    )
    waits = [min(each, LONGEST_HINT_SECONDS) for each in seconds if each is not None and each > 0]
    return datetime.fromtimestamp(now.timestamp() + max(waits), UTC) if waits else None


def _retry_after(value: str, now: datetime) -> float | None:
    # A header that is sent twice arrives joined by a comma.
    numbers = [_number(each) for each in value.split(",")]
    seconds = [each for each in numbers if each is not None]
    if len(seconds) == len(numbers):
        return max(seconds)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()


def _reset(value: str, now: datetime) -> float | None:
    epoch = _number(value)
    if epoch is None:
        return None
    return (epoch / 1000 if epoch >= MILLISECONDS_FROM else epoch) - now.timestamp()


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if not re.fullmatch(r"\s*\d{1,15}(\.\d{1,9})?\s*", str(value)):
        return None
    return float(str(value))


def why(outcome: Outcome) -> str:
    """Return the outcome as one line of text without addresses, for logs and status."""
    return redacted(
        f"{outcome.kind}{f' ({outcome.status})' if outcome.status else ''}: {outcome.summary}"
    )[:200]
