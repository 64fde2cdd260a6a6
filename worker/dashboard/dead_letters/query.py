"""What a link to the list of dead letters says: filters, order, size of a page, place."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

# Filters that may stand in a link. `member` is the digest of a person's address, as in logs: an
# address itself would be kept by access logs and browsers.
FILTERS = ("reason", "status", "since", "until", "kind", "id", "member")
SORTS = ("id", "kind", "member", "reason", "status", "attempts", "answer")
SIZES = (25, 50, 100, 500)
LONGEST = 200  # characters of a filter


@dataclass(frozen=True)
class ListQuery:
    """A list of dead letters that a link asks for.

    Attributes:
        filters: The value of each filter that is set, as it was typed.
        oldest_first: The oldest letters come first.
        sort: The column by which the rows of the page are sorted, with `-` for descending, or "".
        size: Rows of a page.
        start: The place at which the page begins; None begins with the first letter.
    """

    filters: Mapping[str, str] = field(default_factory=dict)
    oldest_first: bool = False
    sort: str = ""
    size: int = 50
    start: int | None = None

    def link(self, **changes: Any) -> str:
        """Return this query, with `changes`, as the query string of a link."""
        changed = replace(self, **changes)
        pairs = [
            *sorted(changed.filters.items()),
            ("order", "oldest" if changed.oldest_first else ""),
            ("sort", changed.sort),
            ("size", "" if changed.size == 50 else changed.size),
            ("start", changed.start or ""),
        ]
        return urlencode([(name, value) for name, value in pairs if value != ""])


def parse_query(arguments: Mapping[str, str]) -> ListQuery:
    """Return the query that the arguments of a request describe.

    Raises:
        ValueError: An argument has no meaning; the text is one line that says what.
    """
    if "email" in arguments:
        raise ValueError("no address in a link, where logs would keep it: send it by POST")
    filters = {name: arguments[name].strip() for name in FILTERS if arguments.get(name, "").strip()}
    if any(len(value) > LONGEST for value in filters.values()):
        raise ValueError(f"a filter is longer than {LONGEST} characters")
    sort, order = arguments.get("sort", ""), arguments.get("order", "") or "newest"
    if sort and sort.removeprefix("-") not in SORTS:
        raise ValueError(f"sort takes one of {', '.join(SORTS)}, with - before it for descending")
    if order not in {"newest", "oldest"}:
        raise ValueError("order takes newest or oldest")
    size = _number(arguments, "size", 50)
    if not size or not 1 <= size <= SIZES[-1]:
        raise ValueError(f"size takes a number from 1 to {SIZES[-1]}")
    return ListQuery(filters, order == "oldest", sort, size, _number(arguments, "start", None))


def _number(arguments: Mapping[str, str], name: str, default: int | None) -> int | None:
    text = arguments.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text)):
        raise ValueError(f"{name} takes a whole number above 0")
    return int(text)
