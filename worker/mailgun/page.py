"""A page of a list's members as Mailgun answers it, and what to ask for to get the next one.

Mailgun docs: `GET …/members/pages?limit=100&subscribed=no` answers `{"items": […], "paging": {first, last, next, previous}}`,
ascending by address. All four links are always there, and absolute; the pages end with the one whose `items` are empty.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from worker.mailgun.answer_json import why_unusable
from worker.mailgun.member import Member, Unreadable, found_in
from worker.signal.address import lenient_address

LONGEST_QUERY = 4096  # characters: an address has 320
PAGE_SIZE = 100  # Mailgun docs: the most that a page holds

Query = Mapping[str, str]
EVERYBODY: Query = {"limit": str(PAGE_SIZE)}
OPTED_OUT: Query = {"limit": str(PAGE_SIZE), "subscribed": "no"}


@dataclass(frozen=True)
class Page:
    """Members in Mailgun's order, their addresses normalized as those of events are."""

    members: tuple[Member, ...]
    following: Query | None  # what to ask for next; None after the last page
    unreadable: tuple[
        str, ...
    ] = ()  # addresses of members on it that cannot be held as they are shown

    @property
    def unsubscribed(self) -> int:
        """How many of the members are."""
        return sum(not member.subscribed for member in self.members)


def page_in(data: object, query: Query, url: str) -> Page | None:
    """The page in a decoded answer to `GET {url}?{query}`; None where it is not a page of that list.

    A member that cannot be read is among the `unreadable`, or left out where it has no address; the others go on. Of the link to
    the next page only its query is ever used, and only where the link stays at `url`, whatever its host: the
    key goes nowhere else. What the link leaves out stays as it was asked, and a page that leads to itself is none.
    """
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(items, list):
        return None
    if not items:
        return Page((), None)
    found = [each for item in items if (each := _member(item))]
    if not any(_address_in(item) for item in items):
        return None
    members = tuple(each for each in found if isinstance(each, Member))
    unreadable = tuple(each.address for each in found if isinstance(each, Unreadable))
    paging = data.get("paging") if isinstance(data, dict) else None
    link = paging.get("next") if isinstance(paging, dict) else None
    asked = _query(link, url)
    if not found and not asked:
        return None
    following = {**query, **asked}
    if (
        _limit(query) < PAGE_SIZE
    ):  # it was halved for members that are too long: what follows may be shorter
        following["limit"] = str(min(PAGE_SIZE, 2 * _limit(query)))
    return Page(members, following, unreadable) if following != query else None


def smaller(query: Query) -> Query | None:
    """Return what to ask for in place of a page that was too long: half of it; None where it is one member already."""
    return {**query, "limit": str(_limit(query) // 2)} if _limit(query) > 1 else None


MOST_NAMELESS = 100


class Round:
    """Notice pages that lead back to one another, whatever their links say (Brent's algorithm: one page is remembered)."""

    def __init__(self) -> None:
        """No page was seen."""
        self._remembered: str | None = None
        self._pages, self._longest = 0, 1
        self._nameless = 0  # pages in a row without one address that can be held

    def closes(self, page: Page) -> bool:
        """Return True if `page`, the one after the last that was asked about, has been seen before."""
        first = next(iter([*(member.address for member in page.members), *page.unreadable]), None)
        self._nameless = self._nameless + 1 if first is None else 0
        if self._nameless > MOST_NAMELESS:
            return True
        if first is not None and first == self._remembered:
            return True
        self._pages += 1
        if first is not None and self._pages >= self._longest:
            self._remembered, self._pages, self._longest = first, 0, 2 * self._longest
        return False


def _limit(query: Query) -> int:
    limit = query.get("limit", "")
    return int(limit) if re.fullmatch("[1-9][0-9]{0,2}", limit) else PAGE_SIZE


def _address_in(item: object) -> str | None:
    address = item.get("address") if isinstance(item, dict) else None
    return address if isinstance(address, str) and address else None


def _member(item: object) -> Member | Unreadable | None:
    """The member of that item; None where its address is none, so that no event can be about it."""
    address = _address_in(item)
    if address is None or why_unusable(address):
        return None
    return found_in({"member": item}, lenient_address(address))


def _query(link: object, url: str) -> Query:
    try:
        parts = urlsplit(link) if isinstance(link, str) else None
    except ValueError:  # brackets that are no IPv6 address
        return {}
    if (
        parts is None
        or len(parts.query) > LONGEST_QUERY
        or _place(parts.path) != _place(urlsplit(url).path)
    ):
        return {}
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return {} if why_unusable(query) else query


def _place(path: str) -> str:
    return unquote(path).lower()
