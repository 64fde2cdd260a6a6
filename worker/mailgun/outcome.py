"""What Mailgun's answer means: every status with every body, and every way of not answering, has exactly one outcome.

200, the member's own JSON          found / delivered
200, a page of the list's members   that page
200, our member, unreadable         unreadable_member  so it would be the next time
404 on reading, "Member … not found"   absent
429, 420                            throttled          being told to wait is not failing
200, another member's JSON          wrong_member       asking again would be answered alike
5xx, 408, no answer, a strange 200  unavailable
400                                 rejected
401, 403                            unauthorized
404                                 list_not_found     the list is missing, or the host is the wrong region's
anything else, a redirect           unexpected_status
our own bug                         crashed
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

MILLISECONDS_FROM = (
    1e11  # an epoch number this large is in milliseconds: in seconds it would be the year 5138
)
LONGEST_HINT_SECONDS = 86_400.0  # a hint beyond a day counts as a day


class OutcomeKind(StrEnum):
    """The closed set of outcomes of an attempt."""

    DELIVERED = "delivered"
    UNCHANGED = "unchanged"  # Mailgun holds it already: nothing was written
    SUPERSEDED = "superseded"  # newer events have set all that it would
    HELD = "held"  # nobody may ask Mailgun now
    BUSY = "busy"  # another event of the same member is under way
    DOUBTFUL = "doubtful"  # Mailgun contradicts what it confirmed lately: another look will tell
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    REJECTED = "rejected"
    UNAUTHORIZED = "unauthorized"
    LIST_NOT_FOUND = "list_not_found"
    UNEXPECTED_STATUS = "unexpected_status"
    WRONG_MEMBER = "wrong_member"  # Mailgun answered for another address
    UNREADABLE_MEMBER = "unreadable_member"  # Mailgun shows the member as it cannot be held
    CRASHED = "crashed"


@dataclass(frozen=True)
class Response:
    """What came back over HTTP: the body up to the client's bound."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    cut: bool = field(default=False, compare=False)  # the body went on beyond the bound

    def json(self) -> Any:
        """The decoded body, or None where it is not JSON."""
        return self._decoded

    @cached_property
    def _decoded(self) -> Any:
        return decoded(self.body)

    @property
    def is_json_cut(self) -> bool:
        """Return True if the body began as JSON and was cut."""
        return self.cut and self.body.lstrip()[:1] == b"{"

    def text(self) -> str:
        """Return the answer's JSON `message`, else its body, cut to 2 KiB. It may quote anything that was sent."""
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
    """Nothing came back, or nothing whole; `reason` is safe to show and may mean that Mailgun did store the member."""

    reason: str
    asked: bool = True  # the request may have reached Mailgun


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended."""

    kind: OutcomeKind
    status: int | None = None  # HTTP status, where there was one
    answer: str = ""  # Mailgun's words, or without a status why there were none; only a dead letter keeps them
    wait_until: datetime | None = None  # Mailgun's own hint, a floor
    member: Member | None = None  # as Mailgun confirmed it (delivered, unchanged)
    requests: int = 0  # that were made
    unsettled: bool = False  # a write without an answer: Mailgun may have applied it, or may yet
    again_in: float = 0.0  # seconds after which another look is worth while (doubtful)

    @property
    def summary(self) -> str:
        """The answer as it may be shown."""
        return self.answer if self.status is None else shown(self.answer)

    @property
    def is_refusal(self) -> bool:
        """Return True if Mailgun certainly stored nothing: it answered 4xx, and not that the request took too long."""
        return self.status is not None and 400 <= self.status < 500 and self.status != 408


def classify_read(
    answer: Response | NoResponse, address: str, now: datetime
) -> Member | Outcome | None:
    """What reading a member gave: the member, None where the list does not hold it, or why it could not be read."""
    if isinstance(answer, Response) and answer.status == 404 and _says_member_absent(answer):
        return None
    if isinstance(answer, Response) and answer.status == 200:
        return _member_or_why_not(answer, address)
    return _trouble(answer, now)


def classify_write(answer: Response | NoResponse, address: str, now: datetime) -> Outcome:
    """What became of an upsert of the member at `address`."""
    if isinstance(answer, Response) and answer.status == 200:
        found = _member_or_why_not(answer, address)
        return (
            Outcome(OutcomeKind.DELIVERED, 200, answer.text(), member=found)
            if isinstance(found, Member)
            else found
        )
    return _unwritten(answer, now)


def classify_bulk_write(answer: Response | NoResponse, list_address: str, now: datetime) -> Outcome:
    """What became of a call for many members. `delivered`: the list's own JSON, and no job that stores them later."""
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
    """What reading a page of members gave: the page, or why it could not be read. Of what is no page nothing is quoted.

    In place of one that is too long: a page of nobody, after which a smaller one follows.
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
    """Pages of members do not end."""
    return Outcome(OutcomeKind.UNEXPECTED_STATUS, 200, ENDLESS)


def list_outcome(answer: Response | NoResponse, now: datetime) -> Outcome:
    """What reading the list gave: `unchanged` where it is there, else why it could not be read."""
    if list_exists(answer):
        return Outcome(OutcomeKind.UNCHANGED, 200, requests=1)
    if isinstance(answer, Response) and answer.status == 200:
        return replace(_strange(answer), requests=1)
    return replace(_trouble(answer, now), requests=1)


def list_exists(answer: Response | NoResponse) -> bool:
    """Did reading the list give the list?"""
    data = answer.json() if isinstance(answer, Response) and answer.status == 200 else None
    return isinstance(data, dict) and isinstance(data.get("list"), dict)


def _says_member_absent(answer: Response) -> bool:
    # "Member x of mailing list y not found" against "Mailing list y not found"; without JSON it is the wrong host or path.
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
    """`text` with half characters escaped, so that it can be stored and shown."""
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
    """The outcome of any status but 200, whatever its body."""
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
    """Until when Mailgun asks to wait: the latest of all hints that can be read, at most a day ahead; None without any.

    `Retry-After` (seconds or HTTP date), `X-RateLimit-Reset` (epoch seconds or milliseconds), body `retry-seconds`.
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
    numbers = [_number(each) for each in value.split(",")]  # sent twice, it comes joined by a comma
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
    """The outcome for people, in one line without addresses."""
    return redacted(
        f"{outcome.kind}{f' ({outcome.status})' if outcome.status else ''}: {outcome.summary}"
    )[:200]
