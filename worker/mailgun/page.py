"""A page of a list's members, and the query of the next page (pagination by cursor).

Mailgun docs: `GET …/members/pages?limit=100&subscribed=no` answers
`{"items": […], "paging": {first, last, next, previous}}`, ascending by address. All four links are
always there and absolute. The last page is the one whose `items` are empty.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from worker.mailgun.answer_json import why_unusable
from worker.mailgun.member import Member, Unreadable, address_in, found_in
from worker.signal.address import lenient_address

LONGEST_QUERY = 4096  # characters; an address has at most 320
PAGE_SIZE = 100  # Mailgun docs: the most members of a page
MOST_NAMELESS = 100  # pages in a row without a readable address; more count as endless

Query = Mapping[str, str]
ALL_MEMBERS: Query = {"limit": str(PAGE_SIZE)}
OPTED_OUT: Query = {"limit": str(PAGE_SIZE), "subscribed": "no"}


@dataclass(frozen=True)
class Page:
    """A page of members.

    Attributes:
        members: The members in Mailgun's order, with addresses normalized like those of events.
        following: The query of the next page; None after the last page.
        unreadable: The addresses of members on the page that cannot be read as they are shown.
    """

    members: tuple[Member, ...]
    following: Query | None
    unreadable: tuple[str, ...] = ()

    @property
    def unsubscribed(self) -> int:
        """Return how many of the members are unsubscribed."""
        return sum(not member.subscribed for member in self.members)


def page_in(data: object, query: Query, url: str) -> Page | None:
    """Return the page in a decoded answer to `GET {url}?{query}`.

    A member that cannot be read is listed in `unreadable`, or left out if it has no address. Only
    the query of the link to the next page is used, and only if the link's path is that of `url`, so
    the key goes to no other host. Parameters that the link leaves out keep their values.

    Returns:
        The page; None if the answer is not a page of that list, or if its link leads to itself.
    """
    if not isinstance(data, dict) or not isinstance(items := data.get("items"), list):
        return None
    if not items:
        return Page((), None)
    found = [each for item in items if (each := _member(item))]
    if not any(map(address_in, items)):
        return None
    members = tuple(each for each in found if isinstance(each, Member))
    unreadable = tuple(each.address for each in found if isinstance(each, Unreadable))
    paging = data.get("paging")
    link = paging.get("next") if isinstance(paging, dict) else None
    asked = _query(link, url)
    if not found and not asked:
        return None
    following = {**query, **asked}
    if _limit(query) < PAGE_SIZE:
        # The limit was halved because of long members; the next ones may be shorter.
        following["limit"] = str(min(PAGE_SIZE, 2 * _limit(query)))
    return Page(members, following, unreadable) if following != query else None


def smaller(query: Query) -> Query | None:
    """Return the query of half a page, in place of one that was too long; None for one member."""
    return {**query, "limit": str(_limit(query) // 2)} if _limit(query) > 1 else None


class PageWalk:
    """Cycle detection for pages that lead back to one another (Brent's algorithm).

    It compares the first address of each page and remembers one page.
    """

    def __init__(self) -> None:
        """Begin before the first page."""
        self._remembered: str | None = None
        self._pages, self._longest = 0, 1
        # Pages in a row without a readable address.
        self._nameless = 0

    def closes(self, page: Page) -> bool:
        """Return True if the pages do not end: `page` was seen before, or too many show no address.

        It must be called with each page, in order.
        """
        first = next(iter([*(member.address for member in page.members), *page.unreadable]), None)
        self._nameless = self._nameless + 1 if first is None else 0
        if self._nameless > MOST_NAMELESS or (first is not None and first == self._remembered):
            return True
        self._pages += 1
        if first is not None and self._pages >= self._longest:
            self._remembered, self._pages, self._longest = first, 0, 2 * self._longest
        return False


def _limit(query: Query) -> int:
    limit = query.get("limit", "")
    return int(limit) if re.fullmatch("[1-9][0-9]{0,2}", limit) else PAGE_SIZE


def _member(item: object) -> Member | Unreadable | None:
    """Return the member of an item; None without a usable address, as no event can be about it."""
    address = address_in(item)
    if address is None or why_unusable(address):
        return None
    return found_in({"member": item}, lenient_address(address))


def _query(link: object, url: str) -> Query:
    try:
        parts = urlsplit(link) if isinstance(link, str) else None
    except ValueError:  # brackets that are no IPv6 address
        return {}
    if parts is None or len(parts.query) > LONGEST_QUERY:
        return {}
    if _place(parts.path) != _place(urlsplit(url).path):
        return {}
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return {} if why_unusable(query) else query


def _place(path: str) -> str:
    return unquote(path).lower()
