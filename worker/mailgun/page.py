"""A page of a list's members as Mailgun answers it, and what to ask for to get the next one.

Mailgun docs: `GET …/members/pages?limit=100&subscribed=no` answers `{"items": […], "paging": {first, last, next, previous}}`,
ascending by address. All four links are always there, and absolute; the pages end with the one whose `items` are empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from worker.mailgun.member import Member, member_in
from worker.signal.address import lenient_address

PAGE_SIZE = 100  # Mailgun docs: the most that a page holds

Query = Mapping[str, str]
EVERYBODY: Query = {"limit": str(PAGE_SIZE)}
OPTED_OUT: Query = {"limit": str(PAGE_SIZE), "subscribed": "no"}


@dataclass(frozen=True)
class Page:
    """Members in Mailgun's order, their addresses normalized as those of events are."""

    members: tuple[Member, ...]
    following: Query | None  # what to ask for next; None after the last page

    @property
    def unsubscribed(self) -> int:
        """How many of the members are."""
        return sum(not member.subscribed for member in self.members)


def page_in(data: object, query: Query, url: str) -> Page | None:
    """The page in a decoded answer to `GET {url}?{query}`; None where it is not a page of that list.

    Of the link to the next page only its query is ever used, and only where the link stays at `url`, whatever its host: the
    key goes nowhere else. What the link leaves out stays as it was asked, and a page that leads to itself is none.
    """
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(items, list):
        return None
    members = tuple(found for item in items if (found := _member(item)))
    if len(members) < len(items):
        return None
    if not members:
        return Page((), None)
    paging = data.get("paging") if isinstance(data, dict) else None
    link = paging.get("next") if isinstance(paging, dict) else None
    following = {**query, **_query(link, url)}
    return Page(members, following) if following != query else None


def _member(item: object) -> Member | None:
    address = item.get("address") if isinstance(item, dict) else None
    return member_in({"member": item}, lenient_address(address)) if isinstance(address, str) and address else None


def _query(link: object, url: str) -> Query:
    try:
        parts = urlsplit(link) if isinstance(link, str) else None
    except ValueError:  # brackets that are no IPv6 address
        return {}
    if parts is None or _place(parts.path) != _place(urlsplit(url).path):
        return {}
    return dict(parse_qsl(parts.query, keep_blank_values=True))


def _place(path: str) -> str:
    return unquote(path).lower()
