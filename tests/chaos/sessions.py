"""Sessions of many people as Signal would send them, made from a seed.

Each event comes with the fact that it carries. Every value names its event, so that a lost, erased
or outdated value shows in the member.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Literal

from tests.chaos.model import Fact

Ending = Literal["member", "skipped", "dead letter"]

BEGAN = datetime(2025, 3, 1, 8, tzinfo=UTC)
SPAN_SECONDS = 2400  # so that most sessions overlap
MISADDRESSED = ("not an address", "two@@example.com", "@example.com", "nobody@", "p 1@example.com")
ORDERS = (
    ("Order Completed", "order_id", "revenue"),
    ("order_completed", "orderId", "total"),
    ("purchase", "transaction_id", "value"),
)
CONSENTS: dict[bool | None, tuple[Any, ...]] = {
    True: (True, "granted", "true"),
    False: (False, "denied", "false"),
    # No word such as "unknown": it subscribes no new member, which the model does not know.
    None: (None,),
}


@dataclass(frozen=True)
class Sent:
    """One event as it is sent.

    Attributes:
        id: Its id.
        event: Its JSON.
        ends: How it must end.
        fact: What it carries; None if it concerns no member.
        at: When it happens.
    """

    id: str
    event: dict[str, Any]
    ends: Ending
    fact: Fact | None
    at: datetime


@dataclass(frozen=True)
class Person:
    """A visitor of the shop.

    `may_deny` is False for a person who never denies consent and so can opt out only at Mailgun.
    """

    number: int
    address: str
    may_deny: bool


def sessions(seed: int, count: int) -> list[Sent]:
    """Return `count` events of many people, in the order in which they happen."""
    random = Random(seed)
    sent: list[Sent] = []
    number = 0
    while len(sent) < count:
        number += 1
        sent += _session(
            random, _person(number), count // 20 if number == 1 else random.randint(3, 16)
        )
    return sorted(sent[:count], key=lambda each: each.at)


def as_produced(
    happened: list[Sent], seed: int, *, repeated: float = 0.05, late: float = 0.03
) -> list[Sent]:
    """Return the events in the order in which producers deliver them.

    Neighbours are swapped, the share `repeated` is sent twice, the share `late` long after the
    others.
    """
    random = Random(seed)
    placed = [(place + random.uniform(0, 30), each) for place, each in enumerate(happened)]
    placed += [
        (place + random.uniform(0, 400), each)
        for place, each in placed
        if random.random() < repeated
    ]
    moved = [
        (place + (len(placed) / 3 if random.random() < late else 0), each) for place, each in placed
    ]
    return [each for _, each in sorted(moved, key=lambda pair: pair[0])]


def never_denying(happened: list[Sent]) -> set[str]:
    """Return the addresses of the people who never deny their consent.

    Only a click at Mailgun can unsubscribe them.
    """
    denied = {each.fact.address for each in happened if each.fact and each.fact.consent is False}
    return {each.fact.address for each in happened if each.fact} - denied


def _person(number: int) -> Person:
    tag = "+shop" if number % 7 == 0 else ""
    return Person(number, f"p{number}{tag}@example.com", may_deny=number % 3 == 0)


def _session(random: Random, person: Person, length: int) -> Iterator[Sent]:
    at = BEGAN + timedelta(seconds=random.uniform(0, SPAN_SECONDS))
    for step in range(length):
        at += timedelta(milliseconds=random.randint(1, 300_000))
        make = _signed_up if step == 0 else random.choices(tuple(KINDS), tuple(KINDS.values()))[0]
        sent = make(random, person, f"m{person.number}-{step}")
        last = step == length - 1
        timed = not last or sent.ends != "member" or random.random() < 0.8
        yield _timed(sent, at.replace(microsecond=at.microsecond // 1000 * 1000), timed=timed)


def _timed(sent: Sent, at: datetime, *, timed: bool) -> Sent:
    """Return the event with its time.

    An event without a time counts as of when it was enqueued, which is after all others of its
    session.
    """
    event = (
        {**sent.event, "timestamp": at.isoformat(timespec="milliseconds")} if timed else sent.event
    )
    fact = sent.fact and replace(sent.fact, at=at.timestamp() if timed else math.inf)
    return replace(sent, event=event, fact=fact, at=at)


def _signed_up(random: Random, person: Person, id: str) -> Sent:
    name, key = (
        random.choice(("Signed Up", "signed_up", "sign_up")),
        random.choice(("method", "signup_method")),
    )
    event = {"type": "track", "event": name, "properties": {key: f"google {id}"}}
    return _member(random, person, id, event, {"signup_method": f"google {id}"})


def _page(random: Random, person: Person, id: str) -> Sent:
    url = f"https://shop.example.com/{id}?q=ä&r=1+1"
    if random.random() < 0.7:
        return _member(
            random, person, id, {"type": "page", "properties": {"url": url}}, {"last_page_url": url}
        )
    event = {"type": "page", "name": "Shop", "context": {"page": {"url": url}}}
    return _member(random, person, id, event, {"last_page_url": url})


def _identified(random: Random, person: Person, id: str) -> Sent:
    first, last = random.choice((("first_name", "last_name"), ("firstName", "lastName")))
    traits: dict[str, Any] = {first: f"Ann {id}", last: f"Lee {id}"}
    sets = {"first_name": f"Ann {id}", "last_name": f"Lee {id}"}
    for key in ("plan", "company"):
        if random.random() < 0.6:
            traits[key] = sets[key] = f"{key} {id}"
    name = f"Ann {id} Lee {id}"
    if random.random() < 0.5:
        traits["name"] = name = f"A. L. {id}"
    kind = random.choice(({"type": "identify"}, {"type": "track", "event": "Identified"}))
    consent = random.choice((True, False, None) if person.may_deny else (True, None))
    return _member(random, person, id, {**kind, "traits": traits}, sets, name=name, consent=consent)


def _ordered(random: Random, person: Person, id: str) -> Sent:
    event, order, revenue = random.choice(ORDERS)
    amount = random.choice((random.randint(1, 900), random.randint(1, 90_000) / 100))
    properties = {order: id, revenue: amount, "currency": "EUR"}
    sets = {"last_order_id": id, "last_order_revenue": amount, "last_order_currency": "EUR"}
    return _member(
        random, person, id, {"type": "track", "event": event, "properties": properties}, sets
    )


def _member(
    random: Random,
    person: Person,
    id: str,
    event: Mapping[str, Any],
    sets: Mapping[str, Any],
    *,
    name: str | None = None,
    consent: bool | None = None,
) -> Sent:
    """Return the event with address, consent and at times an anonymous id.

    Each of them is at a place where one of Signal's dialects has it.
    """
    context = dict(event.get("context", {}))
    traits = {**event.get("traits", {}), "email": _written(random, person.address)}
    word = random.choice(CONSENTS[consent])
    if random.random() < 0.8 or consent is not None:
        context["consent"] = random.choice(
            ({"canonical": {"marketing": word}}, {"marketing": word})
        )
    if random.random() < 0.3:
        context["traits"], traits = traits, {}
    seen = {"anonymous_id": f"anonymous {id}"} if random.random() < 0.4 else {}
    whole = {
        **event,
        "traits": traits,
        "context": context,
        random.choice(("messageId", "message_id")): id,
    }
    if seen:
        whole[random.choice(("anonymousId", "anonymous_id"))] = seen["anonymous_id"]
    fact = Fact(person.address, 0.0, name, {**sets, **seen}, consent)
    return Sent(id, whole, "member", fact, BEGAN)


def _written(random: Random, address: str) -> str:
    return random.choice((address, address, address.upper(), f" {address.capitalize()} "))


def _anonymous(random: Random, person: Person, id: str) -> Sent:
    return _without_member(
        id,
        {"type": "page", "properties": {"url": f"https://shop.example.com/{id}"}, "traits": None},
    )


def _hashed(random: Random, person: Person, id: str) -> Sent:
    return _without_member(
        id, {"type": "identify", "traits": {"email": f"{random.getrandbits(256):064x}", "plan": id}}
    )


def _unmapped(random: Random, person: Person, id: str) -> Sent:
    return _without_member(
        id,
        {"type": "track", "event": "Cart Viewed", "traits": {"email": person.address, "plan": id}},
    )


def _misaddressed(random: Random, person: Person, id: str) -> Sent:
    event = {"type": "identify", "traits": {"email": random.choice(MISADDRESSED), "plan": id}}
    return replace(_without_member(id, event), ends="dead letter")


def _without_member(id: str, event: Mapping[str, Any]) -> Sent:
    return Sent(id, {**event, "messageId": id}, "skipped", None, BEGAN)


KINDS: dict[Callable[[Random, Person, str], Sent], float] = {
    _page: 50,
    _identified: 18,
    _ordered: 16,
    _anonymous: 6,
    _unmapped: 5,
    _hashed: 3,
    _misaddressed: 2,
}
