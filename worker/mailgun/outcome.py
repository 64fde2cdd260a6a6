"""Classify Mailgun's answers: every status and body, and every missing answer, has one outcome.

200, the member's own JSON             found / delivered
200, a page of the list's members      that page
200, the member, but unreadable        unreadable_member  a retry would show the same
200, another member's JSON             wrong_member       a retry would get the same answer
400                                    rejected
401, 403                               unauthorized
404 on reading, "Member … not found"   absent
404                                    list_not_found     no such list, or the wrong region's host
429, 420                               throttled          a wait is not a failure
5xx, 408, no answer, a strange 200     unavailable
anything else, a redirect              unexpected_status
a bug in this program                  crashed

Times are UTC.
"""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from worker.mailgun.member import Member, Unreadable, address_in, found_in, is_same_address
from worker.mailgun.page import Page, Query, page_in, smaller
from worker.mailgun.response import NoResponse, Response, escaped
from worker.mailgun.retry_hint import retry_after
from worker.mailgun.texts import (
    ANSWER_LIMIT,
    ENDLESS,
    NO_PAGE,
    STRANGE,
    TOO_FEW,
    TOO_LONG,
    UNREADABLE,
    WRONG_ADDRESS,
    shown,
)
from worker.privacy import redacted


class OutcomeKind(StrEnum):
    """The closed set of outcomes of an attempt.

    The module's docstring lists those that an answer of Mailgun leads to. The others:

    Attributes:
        UNCHANGED: Mailgun holds the member already; nothing was written.
        SUPERSEDED: Newer events have set all fields that this event sets.
        ON_HOLD: The integration is on hold; no request may be sent.
        LOCKED: The member is locked by another delivery.
        DOUBTFUL: Mailgun contradicts what it confirmed lately; another look decides.
        CRASHED: A bug in this program.
    """

    DELIVERED = "delivered"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"
    ON_HOLD = "on_hold"
    LOCKED = "locked"
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


class Outcome(NamedTuple):
    """The outcome of one attempt.

    Attributes:
        kind: The kind of the outcome.
        status: The HTTP status; None without an answer.
        answer: The text of Mailgun's answer; without a status, why there was none. Only a dead
            letter keeps it.
        wait_until: The earliest time of the next attempt by Mailgun's own hint; None without one.
        member: The member as Mailgun confirmed it (delivered, unchanged).
        requests: How many requests were sent.
        unsettled: Mailgun may have applied a write, or may still do so: it got no answer, or the
            answer names a job.
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

    def with_requests(self, requests: int) -> "Outcome":
        """Return the outcome with this number of requests."""
        return self if self.requests == requests else self._replace(requests=requests)

    @property
    def summary(self) -> str:
        """Return the answer's text as it may be shown."""
        return self.answer if self.status is None else shown(self.answer)

    @property
    def is_refusal(self) -> bool:
        """Return True if Mailgun certainly stored nothing: it answered 4xx, but not 408."""
        return self.status is not None and 400 <= self.status < 500 and self.status != 408


ENDLESS_PAGES = Outcome(OutcomeKind.UNEXPECTED_STATUS, 200, ENDLESS)
TOO_FEW_MEMBERS = Outcome(OutcomeKind.UNAVAILABLE, 200, TOO_FEW)
MEMBER_TOO_LONG = Outcome(OutcomeKind.UNREADABLE_MEMBER, 200, f"{UNREADABLE}{TOO_LONG}")


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
        if isinstance(found, Outcome):
            return found
        return Outcome(OutcomeKind.DELIVERED, 200, answer.text(), member=found)
    return _unwritten(answer, now)


def classify_bulk_write(answer: Response | NoResponse, list_address: str, now: datetime) -> Outcome:
    """Classify the answer to a call for many members.

    The outcome is `delivered` if the answer shows the list or a `task-id`. With a `task-id` it is
    `unsettled`, because a job may store the members later.
    """
    if isinstance(answer, Response) and answer.status == 200:
        if answer.get("task-id"):
            return Outcome(OutcomeKind.DELIVERED, 200, answer.text(), unsettled=True)
        named = address_in(answer.get("list"))
        if named is None or not is_same_address(named, list_address):
            return _strange(answer)
        return Outcome(OutcomeKind.DELIVERED, 200, answer.text())
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
            return Page((), half) if half else MEMBER_TOO_LONG
        return page_in(answer.json(), query, url) or Outcome(OutcomeKind.UNAVAILABLE, 200, NO_PAGE)
    return _trouble(answer, now)


def list_outcome(answer: Response | NoResponse, now: datetime) -> Outcome:
    """Classify the answer to a request that reads the list: `unchanged` if the list exists."""
    if list_exists(answer):
        return Outcome(OutcomeKind.UNCHANGED, 200, requests=1)
    if isinstance(answer, Response) and answer.status == 200:
        return _strange(answer)._replace(requests=1)
    return _trouble(answer, now)._replace(requests=1)


def list_exists(answer: Response | NoResponse) -> bool:
    """Return True if the answer shows the list."""
    found = answer.get("list") if isinstance(answer, Response) and answer.status == 200 else None
    return isinstance(found, dict)


def members_count(answer: Response) -> int:
    """Return how many members the list in `answer` has; 0 if it does not say."""
    found = answer.get("list")
    count = found.get("members_count") if isinstance(found, dict) else None
    return count if isinstance(count, int) and count > 0 else 0


def _says_member_absent(answer: Response) -> bool:
    # "Member x of mailing list y not found", not "Mailing list y not found". A 404 without JSON
    # comes from the wrong host or path.
    message = answer.get("message")
    return isinstance(message, str) and message.lower().startswith("member ")


def _member_or_why_not(answer: Response, address: str) -> Member | Outcome:
    found = found_in(answer.json(), address)
    if isinstance(found, Unreadable):
        return Outcome(OutcomeKind.UNREADABLE_MEMBER, 200, f"{UNREADABLE}{found.why}")
    if found is not None:
        return found
    if answer.is_json_cut:
        return MEMBER_TOO_LONG
    other = address_in(answer.get("member"))
    if other is None:
        return _strange(answer)
    return Outcome(OutcomeKind.WRONG_MEMBER, 200, f"{WRONG_ADDRESS}{escaped(other)}"[:ANSWER_LIMIT])


def _strange(answer: Response) -> Outcome:
    return Outcome(OutcomeKind.UNAVAILABLE, 200, f"{STRANGE}{answer.text()}"[:ANSWER_LIMIT])


def _unwritten(answer: Response | NoResponse, now: datetime) -> Outcome:
    unsettled = isinstance(answer, NoResponse) and answer.asked
    return _trouble(answer, now)._replace(unsettled=unsettled)


def _trouble(answer: Response | NoResponse, now: datetime) -> Outcome:
    if isinstance(answer, NoResponse):
        return Outcome(OutcomeKind.UNAVAILABLE, None, answer.reason)
    kind = kind_of_status(answer.status)
    return Outcome(kind, answer.status, answer.text(), retry_after(answer, now))


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


def why(outcome: Outcome) -> str:
    """Return the outcome as one line of text without addresses, for logs and status."""
    return redacted(
        f"{outcome.kind}{f' ({outcome.status})' if outcome.status else ''}: {outcome.summary}"
    )[:200]
