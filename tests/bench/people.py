"""The people on the list and the events about them.

They come from a fixed seed, so that they are the same for each competitor and run.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

SEED = "signal-mailgun"
FIRST_NAMES = (
    "Ada",
    "Björn",
    "Chloé",
    "Diego",
    "Elif",
    "Femi",
    "Grace",
    "Hana",
    "Ivo",
    "Jane",
    "Kofi",
    "Łucja",
)
LAST_NAMES = (
    "Doe",
    "García",
    "Kovač",
    "Lindqvist",
    "Nguyen",
    "O'Brien",
    "Okafor",
    "Şahin",
    "Smith",
    "Tanaka",
)
COMPANIES = ("Acme Ltd", "Globex", "Initech", "Umbrella & Sons", "Wayne GmbH")
PLANS = ("starter", "pro", "business")
KINDS = ("identify", "page", "page", "order")


@dataclass(frozen=True)
class Person:
    """A member that is on the list before any event comes."""

    address: str
    name: str
    vars: dict[str, Any]

    def entry(self) -> dict[str, Any]:
        """Return the person as an entry of a bulk request."""
        return {"address": self.address, "name": self.name, "vars": self.vars, "subscribed": True}


def person(number: int) -> Person:
    """Return the person of this number."""
    dice = Random(f"{SEED}/person/{number}")
    first, last = dice.choice(FIRST_NAMES), dice.choice(LAST_NAMES)
    variables = {
        "first_name": first,
        "last_name": last,
        "plan": "free",
        "company": dice.choice(COMPANIES),
    }
    return Person(f"person-{number}@example.com", f"{first} {last}", variables)


def event(number: int, about: Person, since: datetime) -> dict[str, Any]:
    """Return the event of this number, which changes its person's member.

    It happened `number` milliseconds after `since`.
    """
    dice = Random(f"{SEED}/event/{number}")
    url = _url(number, dice)
    return {
        **_sent(number, about, since, url),
        "anonymousId": f"{dice.getrandbits(64):016x}",
        **_happened(KINDS[number % len(KINDS)], number, about, url, dice),
    }


def visitor(number: int) -> Person:
    """Return the person of this number whose member holds all that their events say."""
    known = person(number)
    anonymous_id = f"{Random(f'{SEED}/visitor/{number}').getrandbits(64):016x}"
    return Person(
        f"visitor-{number}@example.com", known.name, {**known.vars, "anonymous_id": anonymous_id}
    )


def visit(number: int, about: Person, since: datetime) -> dict[str, Any]:
    """Return the identify event of this number, which says what the visitor's member holds."""
    traits = {name: value for name, value in about.vars.items() if name != "anonymous_id"}
    return {
        **_sent(number, about, since, _url(number, Random(f"{SEED}/event/{number}"))),
        "anonymousId": about.vars["anonymous_id"],
        "type": "identify",
        "traits": {"email": about.address, "name": about.name, **traits},
    }


def events(numbers: Iterable[int], people: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the events of these numbers.

    Each is about a person of its own, or, with `people`, in turn about that many people.
    """
    since = datetime.now(UTC)
    for number in numbers:
        yield event(number, person(number % people if people else number), since)


def _url(number: int, dice: Random) -> str:
    return f"https://shop.example.com/products/{number}?ref={dice.randrange(10_000)}"


def _sent(number: int, about: Person, since: datetime, url: str) -> dict[str, Any]:
    return {
        "messageId": f"bench-{number}",
        "timestamp": (since + timedelta(milliseconds=number)).isoformat(),
        "userId": f"user-{about.address.partition('@')[0]}",
        "context": {
            "consent": {"canonical": {"marketing": True, "analytics": True}},
            "page": {
                "url": url,
                "title": "Products – Shop",
                "referrer": "https://search.example.com/",
            },
            "userAgent": (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
                "Chrome/124.0 Safari/537.36"
            ),
            "locale": "en-GB",
            "timezone": "Europe/Berlin",
        },
    }


def _happened(kind: str, number: int, about: Person, url: str, dice: Random) -> dict[str, Any]:
    match kind:
        case "identify":
            return {"type": "identify", "traits": _traits(about, dice)}
        case "page":
            return {
                "type": "page",
                "traits": {"email": about.address},
                "properties": {"url": url, "title": "Products"},
            }
        case _:
            return {
                "type": "track",
                "event": "Order Completed",
                "traits": {"email": about.address},
                "properties": _order(number, dice),
            }


def _traits(about: Person, dice: Random) -> dict[str, Any]:
    return {"email": about.address, "name": about.name, **about.vars, "plan": dice.choice(PLANS)}


def _order(number: int, dice: Random) -> dict[str, Any]:
    products = [
        {"sku": f"S-{dice.randrange(1000)}", "quantity": dice.randint(1, 3)} for _ in range(2)
    ]
    return {
        "order_id": f"A-{number}",
        "revenue": dice.randrange(100, 50_000) / 100,
        "currency": "EUR",
        "products": products,
    }
