"""What a link to a list says: filters, order, size of a page, place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

# Filters that may stand in a link. `member` is the digest of a person's address, as in logs: an
# address itself would be kept by access logs and browsers.
FILTERS = ("reason", "status", "since", "until", "kind", "id", "member")
SIZES = (25, 50, 100, 500)
LONGEST = 200  # characters of a filter


@dataclass(frozen=True)
class ListShape:
    """What links to one list may say, besides filters.

    Attributes:
        sorts: The columns by which the rows of a page may be sorted.
        orders: The orders of the whole list, the default first.
        place: The form of a place at which a page begins.
    """

    sorts: tuple[str, ...]
    orders: tuple[str, ...]
    place: re.Pattern[str]


@dataclass(frozen=True)
class ListQuery:
    """A list that a link asks for.

    Attributes:
        filters: The value of each filter that is set, as it was typed.
        order: The order of the whole list; "" is the default one.
        sort: The column by which the rows of the page are sorted, with `-` for descending, or "".
        size: Rows of a page.
        start: The place at which the page begins; "" begins with the first row.
    """

    filters: Mapping[str, str] = field(default_factory=dict)
    order: str = ""
    sort: str = ""
    size: int = 50
    start: str = ""

    def link(self, **changes: Any) -> str:
        """Return this query, with `changes`, as the query string of a link."""
        changed = replace(self, **changes)
        pairs = [
            *sorted(changed.filters.items()),
            ("order", changed.order),
            ("sort", changed.sort),
            ("size", "" if changed.size == 50 else changed.size),
            ("start", changed.start),
        ]
        return urlencode([(name, value) for name, value in pairs if value != ""])


def parse_query(arguments: Mapping[str, str], shape: ListShape) -> ListQuery:
    """Return the query that the arguments of a request describe.

    Raises:
        ValueError: An argument has no meaning; the text is one line that says what.
    """
    if "email" in arguments:
        raise ValueError("no address in a link, where logs would keep it: send it by POST")
    filters = {name: arguments[name].strip() for name in FILTERS if arguments.get(name, "").strip()}
    if any(len(value) > LONGEST for value in filters.values()):
        raise ValueError(f"a filter is longer than {LONGEST} characters")
    sort, order = arguments.get("sort", ""), arguments.get("order", "")
    if sort and sort.removeprefix("-") not in shape.sorts:
        names = ", ".join(shape.sorts)
        raise ValueError(f"sort takes one of {names}, with - before it for descending")
    if order and order not in shape.orders:
        raise ValueError(f"order takes {' or '.join(shape.orders)}")
    size, start = _size(arguments.get("size", "").strip()), arguments.get("start", "").strip()
    if start and not shape.place.fullmatch(start):
        raise ValueError("start takes a place from a link of this list")
    return ListQuery(filters, "" if order == shape.orders[0] else order, sort, size, start)


def _size(text: str) -> int:
    if not text:
        return ListQuery.size
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= SIZES[-1]):
        raise ValueError(f"size takes a number from 1 to {SIZES[-1]}")
    return int(text)
