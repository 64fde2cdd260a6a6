"""What the ledger knows of one member: which event set which field to what, whose "no" stands, and whether the member exists.

Moments are epoch seconds by Redis's clock. Times of events are not moments: they order events among themselves only.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple

from worker.mailgun.member import Member

CONSENT = "subscribed"
COMPACT = json.JSONEncoder(separators=(",", ":"))
NOTHING: Mapping[str, Any] = MappingProxyType({})


class EventOrder(NamedTuple):
    """The place of an event among others: when it happened, and of equals when it was enqueued. Epoch seconds."""

    at: float
    enqueued_at: float = 0.0


# The year 1: what an event sets whose time stamp was not understood, any with a time may set anew.
UNDATED_AT = -62135596800.0
FIRST = EventOrder(UNDATED_AT)


class No(NamedTuple):
    """A "no" that stands."""

    since: float
    # The order of the denial that made it; None: it is the recipient's own, or was set at Mailgun by hand.
    by: EventOrder | None
    # Digest of the member that was sent with it, as long as no answer and no reading has shown that it is stored.
    sent: str | None = None


class Late(NamedTuple):
    """A write without an answer, which Mailgun may yet apply."""

    at: float
    sent: str


class Absence(NamedTuple):
    """Mailgun answered that a member is not there which it had confirmed before."""

    since: float
    last: float


class Record(NamedTuple):
    """What is known of a member."""

    # What events have set.
    name: str | None = None
    vars: Mapping[str, Any] = NOTHING
    consent: bool | None = None
    # The events that have, by the names `name`, `vars.<name>` and CONSENT.
    orders: Mapping[str, EventOrder] = NOTHING
    no: No | None = None
    # When this program last turned a "no" into a "yes".
    lifted_at: float | None = None
    # When Mailgun last confirmed that the member exists; None: it never did.
    seen_at: float | None = None
    absent: Absence | None = None
    late: Late | None = None

    @property
    def is_lifted(self) -> bool:
        """Return True if a granted consent, newer than the denial that made the "no", lifts it."""
        ours = self.no.by if self.no else None
        return ours is not None and bool(self.consent) and self.orders[CONSENT] >= ours

    @property
    def denies(self) -> bool:
        """Return True if a "no" stands that no consent has lifted."""
        return self.no is not None and not self.is_lifted

    def forgotten(self) -> "Record":
        """Return what is left once the member's absence is confirmed: only a "no"."""
        if self.consent is not False:
            return Record(no=self.no)
        return Record(consent=False, orders={CONSENT: self.orders[CONSENT]}, no=self.no)

    def name_of(self, order: EventOrder) -> str | None:
        """Return the name if the event of that order has set it."""
        return self.name if self.orders.get("name") == order else None

    def consent_of(self, order: EventOrder) -> bool | None:
        """Return the consent if the event of that order has set it."""
        return self.consent if self.orders.get(CONSENT) == order else None

    def value(self, field: str) -> Any:
        """Return what events have set `field` to, one of those in `orders`."""
        match field:
            case "name":
                return self.name
            case "subscribed":
                return self.consent
            case _:
                return self.vars[field.removeprefix("vars.")]


class Reading(NamedTuple):
    """What is known after Mailgun was read."""

    record: Record
    # Seconds after which to look again, because the reading contradicts what was so lately; None: the reading stands.
    doubt: float | None = None


ABSENCE_SECONDS = (
    10.0  # at least so long after the first look a second one confirms that a member is absent
)
LONGEST_DOUBT_SECONDS = 60.0  # between two looks


def after_reading(record: Record, held: Member | None, at: float, lag: float) -> Reading:
    """Return what is known once Mailgun, asked at the moment `at`, has shown `held`; None: it says that there is no such member.

    A reading may show the list as it was up to `lag` seconds before `at`: younger knowledge stands against it.
    """
    if held is None:
        return _after_absence(record, at, lag)
    known = record._replace(
        seen_at=max(at, record.seen_at or 0.0), absent=None, late=_late(record, at, lag)
    )
    if held.subscribed:
        return Reading(
            known._replace(no=record.no if record.no and at < record.no.since + lag else None)
        )
    return _after_no(known, held, at, lag)


def looked_at(record: Record) -> float | None:
    """Return the moment before which another look at an absent member is too early; None if it is not absent."""
    absent = record.absent
    return absent.last + _pause(absent.last - absent.since) if absent else None


def after_sync(record: Record, began: float, lag: float) -> Record:
    """Return what is known once a sync that began then has read the whole list, if it did not see the member since."""
    if record.seen_at is None or record.seen_at >= began:
        return record
    if record.seen_at < began - lag:
        return record.forgotten()
    return record if record.absent else record._replace(absent=Absence(began, began))


def _after_no(record: Record, held: Member, at: float, lag: float) -> Reading:
    no = record.no
    if no and no.sent:
        stored = digest_of(held) == no.sent
        return Reading(record._replace(no=no._replace(sent=None) if stored else No(at, None)))
    if no:
        return Reading(record)
    if record.lifted_at is None or at >= record.lifted_at + lag:
        return Reading(record._replace(no=No(at, None)))
    if record.late and record.late.sent == digest_of(held):
        return Reading(record._replace(no=No(record.late.at, FIRST)))
    # Either the "no" that was lifted, or the recipient's since: time will tell.
    return Reading(record, _pause(at - record.lifted_at))


def _after_absence(record: Record, at: float, lag: float) -> Reading:
    if record.seen_at is None:
        return Reading(record._replace(absent=None))
    absent = Absence(record.absent.since if record.absent else at, at)
    if at >= max(absent.since + ABSENCE_SECONDS, record.seen_at + lag):
        return Reading(record.forgotten())
    return Reading(record._replace(absent=absent), _pause(absent.last - absent.since))


def _pause(age: float) -> float:
    """Return the seconds until the next look: as long again as it has been so, between 1 and LONGEST_DOUBT_SECONDS."""
    return max(1.0, min(age, LONGEST_DOUBT_SECONDS))


def _late(record: Record, at: float, lag: float) -> Late | None:
    return record.late if record.late and at < record.late.at + lag else None


def digest_of(member: Member) -> str:
    """Return what stands for all of a member, whatever the order of its variables."""
    whole = json.dumps([member.name, member.subscribed, member.vars], sort_keys=True)
    return blake2b(whole.encode(), digest_size=8).hexdigest()


def encoded(record: Record) -> str:
    """Return the record as it is stored, but for `seen_at`, which is stored beside it.

    What one event has set stands together: its order, variables, and where it set them name and consent.
    """
    vars_: dict[EventOrder, dict[str, Any]] = {}
    for field, order in record.orders.items():
        of_event = vars_.setdefault(order, {})
        if field.startswith("vars."):
            of_event[field[5:]] = record.vars[field[5:]]
    data = {
        "events": [
            [*order, each, record.name_of(order), record.consent_of(order)]
            for order, each in vars_.items()
        ],
        "no": record.no and [record.no.since, record.no.by and list(record.no.by), record.no.sent],
        "lifted_at": record.lifted_at,
        "absent": record.absent,
        "late": record.late,
    }
    return COMPACT.encode({name: each for name, each in data.items() if each})


def decoded(text: str, seen_at: float | None) -> Record:
    """Return the record that was stored as `text`; an empty text is an empty record."""
    data = json.loads(text) if text else {}
    return _owned(data.get("events", ()))._replace(
        no=_no(*data["no"]) if "no" in data else None,
        lifted_at=data.get("lifted_at"),
        seen_at=seen_at,
        absent=Absence(*data["absent"]) if "absent" in data else None,
        late=Late(*data["late"]) if "late" in data else None,
    )


def _owned(events: list[tuple[float, float, dict[str, Any], str | None, bool | None]]) -> Record:
    name, consent = None, None
    vars_: dict[str, Any] = {}
    orders: dict[str, EventOrder] = {}
    for at, enqueued_at, fields, named, consented in events:
        order = EventOrder(at, enqueued_at)
        vars_ |= fields
        for each in fields:
            orders[f"vars.{each}"] = order
        if named is not None:
            name, orders["name"] = named, order
        if consented is not None:
            consent, orders[CONSENT] = consented, order
    return Record(name, vars_, consent, orders)


def _no(since: float, by: list[float] | None, sent: str | None) -> No:
    return No(since, EventOrder(*by) if by else None, sent)
