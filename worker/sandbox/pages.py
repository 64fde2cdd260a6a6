"""One page of a list's members, with Mailgun's cursor links to the other pages.

Mailgun docs: ascending by address; absolute links, always all four. A walk ends at empty `items`:
the next link of an empty page starts again at the first address, its previous link at the last.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from worker.sandbox.lists import MailingList
from worker.sandbox.member_fields import read_subscribed

MAX_LIMIT = 100  # Mailgun docs: default and maximum


def page_of(mailing_list: MailingList, query: Mapping[str, str], *, url: str) -> dict[str, Any]:
    """Return Mailgun's answer to `GET {url}?limit=&subscribed=&page=&address=`.

    `url` is absolute, without a query.
    """
    limit = _limit(query.get("limit", ""))
    subscribed = read_subscribed(query.get("subscribed"))
    ascending = mailing_list.ascending(subscribed=subscribed)
    addresses = _cut(ascending, query.get("page", "first"), query.get("address", ""), limit)
    kept = {"limit": str(limit)}
    if "subscribed" in query:
        kept["subscribed"] = query["subscribed"]
    return {
        "items": [mailing_list.member(address).as_mailgun() for address in addresses],
        "paging": {
            turn: f"{url}?{urlencode(cursor | kept)}"
            for turn, cursor in _cursors(addresses).items()
        },
    }


def _cut(ascending: list[str], turn: str, pivot: str, limit: int) -> list[str]:
    match turn:
        case "next":
            start = bisect_right(ascending, pivot.lower())
        case "prev" | "previous":
            end = bisect_left(ascending, pivot.lower())
            return ascending[max(end - limit, 0) : end]
        case "last":
            start = max(len(ascending) - limit, 0)
        case _:
            start = 0
    return ascending[start : start + limit]


def _cursors(addresses: list[str]) -> dict[str, dict[str, str]]:
    last = {"page": "last"}
    return {
        "first": {"page": "first"},
        "last": last,
        "next": {"page": "next", "address": addresses[-1] if addresses else ""},
        "previous": {"page": "prev", "address": addresses[0]} if addresses else last,
    }


def _limit(text: str) -> int:
    asked = int(text[:9]) if text.isdecimal() else 0
    return min(asked, MAX_LIMIT) if asked else MAX_LIMIT
