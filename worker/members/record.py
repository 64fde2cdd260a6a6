"""The ledger's record of one member: which event set which field, whose "no" stands, if it exists.

Times are epoch seconds by Redis's clock. The times of events are not: they only order events among
themselves.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple

from worker.mailgun.member import Member

CONSENT = "subscribed"
NOTHING: Mapping[str, Any] = MappingProxyType({})


class EventOrder(NamedTuple):
    """The order of an event among others, epoch seconds.

    Attributes:
        at: When the event happened.
        enqueued_at: When it was enqueued, which decides between events of the same time.
    """

    at: float
    enqueued_at: float = 0.0


# The year 1, for an event whose time stamp was not understood: any event with a time is newer.
UNDATED_AT = -62135596800.0
FIRST = EventOrder(UNDATED_AT)


class No(NamedTuple):
    """A "no": the member is unsubscribed.

    Attributes:
        since: When it was set or first seen.
        by: The order of the event that set it; None if it is the recipient's own, or was set at
            Mailgun by hand.
        sent: The digest of the member that was sent with it, until an answer or a reading shows
            that Mailgun has stored it.
        repeat: A "yes" may have overwritten it, so it is to be written again.
    """

    since: float
    by: EventOrder | None
    sent: str | None = None
    repeat: bool = False


class Late(NamedTuple):
    """A write without an answer, which Mailgun may still apply.

    Attributes:
        at: When it was sent.
        sent: The digest of the member that was sent.
    """

    at: float
    sent: str


class Absence(NamedTuple):
    """The absence of a member that Mailgun had confirmed before.

    Attributes:
        since: When Mailgun first answered that the member does not exist.
        last: When it last did.
        readings: How many readings in a row have said so.
    """

    since: float
    last: float
    readings: int = 1


class Record(NamedTuple):
    """What is known of a member.

    Attributes:
        name: The name that events have set.
        vars: The variables that events have set.
        consent: The consent that events have set.
        orders: The order of the event that set each field, by `name`, `vars.<name>` or CONSENT.
        no: The "no" that stands, or that a consent lifts with the next write; None without one.
        lifted_at: When this program last turned a "no" into a "yes".
        seen_at: When Mailgun last confirmed that the member exists; None if it never did.
        absent: The unconfirmed absence of the member; None if there is none.
        late: The latest write without an answer, as long as Mailgun may apply it.
    """

    name: str | None = None
    vars: Mapping[str, Any] = NOTHING
    consent: bool | None = None
    orders: Mapping[str, EventOrder] = NOTHING
    no: No | None = None
    lifted_at: float | None = None
    seen_at: float | None = None
    absent: Absence | None = None
    late: Late | None = None

    @property
    def is_lifted(self) -> bool:
        """Return True if a granted consent lifts the "no", as it is not older than the denial."""
        ours = self.no.by if self.no else None
        return ours is not None and bool(self.consent) and self.orders[CONSENT] >= ours

    @property
    def denies(self) -> bool:
        """Return True if a "no" stands that no consent has lifted."""
        return self.no is not None and not self.is_lifted

    def forgotten(self) -> "Record":
        """Return the record of a member whose absence is confirmed: only a "no" remains."""
        if self.consent is not False:
            return Record(no=self.no)
        return Record(consent=False, orders={CONSENT: self.orders[CONSENT]}, no=self.no)

    def name_of(self, order: EventOrder) -> str | None:
        """Return the name if the event of that order has set it, else None."""
        return self.name if self.orders.get("name") == order else None

    def consent_of(self, order: EventOrder) -> bool | None:
        """Return the consent if the event of that order has set it, else None."""
        return self.consent if self.orders.get(CONSENT) == order else None

    def value(self, field: str) -> Any:
        """Return the value that events have set for `field`, one of the names in `orders`."""
        match field:
            case "name":
                return self.name
            case "subscribed":
                return self.consent
            case _:
                return self.vars[field.removeprefix("vars.")]


class Reading(NamedTuple):
    """The result of reading a member.

    Attributes:
        record: What is known after the reading.
        doubt: The seconds until the next look, if the reading contradicts what Mailgun confirmed
            lately; None if the reading stands.
    """

    record: Record
    doubt: float | None = None


# So many readings in a row confirm an absence if the last one comes at least so many seconds after
# the first: a wrong 404 may well come twice, as each event of the member asks anew.
ABSENCE_READINGS = 3
ABSENCE_SECONDS = 10.0
# The longest time between two looks at a member in doubt.
LONGEST_DOUBT_SECONDS = 60.0


def after_reading(record: Record, current: Member | None, at: float, lag: float) -> Reading:
    """Return what is known after Mailgun has shown a member, or that it does not exist.

    A reading may show the list as it was up to `lag` seconds earlier, so newer knowledge stands
    against it. So does a "no" against a reading of just what a write without an answer carried,
    until the first reading after the time in which Mailgun may apply that write.

    Args:
        record: What is known before.
        current: The member that Mailgun showed; None if it answered that there is no such member.
        at: When Mailgun was asked, epoch seconds by Redis's clock.
        lag: MAILGUN_READ_LAG_SECONDS.
    """
    if current is None:
        return _after_absence(record, at, lag)
    known = record._replace(
        seen_at=max(at, record.seen_at or 0.0), absent=None, late=_late(record, at, lag)
    )
    if current.subscribed:
        is_late = record.late is not None and record.late.sent == digest_of(current)
        stands = record.no is not None and (is_late or at < record.no.since + lag)
        return Reading(known._replace(no=record.no if stands else None))
    return _after_no(known, current, at, lag)


def after_overwriting(record: Record, age: float, lag: float) -> Record:
    """Return the record after a reading of a "no" that a newer "yes" may have overwritten.

    The recipient may have said it before this program wrote that "yes", in whose own reading it was
    missing still. Then Mailgun holds the "yes" by now, so the "no" is to be written again.

    Args:
        record: What is known after the reading.
        age: The seconds from the last confirmation of the "yes" to the reading.
        lag: MAILGUN_READ_LAG_SECONDS.
    """
    if record.no is None or record.is_lifted or age >= lag:
        return record
    return record._replace(no=record.no._replace(repeat=True))


def next_look_at(record: Record) -> float | None:
    """Return the earliest time of the next look at an absent member; None if it is not absent."""
    absent = record.absent
    return absent.last + _pause(absent.last - absent.since) if absent else None


def after_sync(record: Record, began: float, lag: float) -> Record:
    """Return what is known after a complete sync, which may not have seen the member.

    Args:
        record: What is known before.
        began: When the sync began, epoch seconds by Redis's clock.
        lag: MAILGUN_READ_LAG_SECONDS.
    """
    if record.seen_at is None or record.seen_at >= began:
        return record
    if record.seen_at < began - lag:
        return record.forgotten()
    return record if record.absent else record._replace(absent=Absence(began, began))


def _after_no(record: Record, current: Member, at: float, lag: float) -> Reading:
    no = record.no
    late, shown = record.late, digest_of(current)
    if no and no.sent:
        stored = shown == no.sent or (late is not None and shown == late.sent)
        return Reading(record._replace(no=no._replace(sent=None) if stored else No(at, None)))
    if no:
        return Reading(record)
    if record.lifted_at is None or at >= record.lifted_at + lag:
        return Reading(record._replace(no=No(at, None)))
    if late and late.sent == shown and record.lifted_at >= late.at:
        return Reading(record._replace(no=No(late.at, FIRST)))
    # This is either the "no" that was lifted, or a newer one of the recipient: a later look tells.
    return Reading(record, _pause(at - record.lifted_at))


def _after_absence(record: Record, at: float, lag: float) -> Reading:
    if record.seen_at is None:
        return Reading(record._replace(absent=None))
    before = record.absent or Absence(at, at, readings=0)
    absent = Absence(before.since, at, before.readings + 1)
    is_confirmed = absent.readings >= ABSENCE_READINGS
    if is_confirmed and at >= max(absent.since + ABSENCE_SECONDS, record.seen_at + lag):
        return Reading(record.forgotten())
    return Reading(record._replace(absent=absent), _pause(absent.last - absent.since))


def _pause(age: float) -> float:
    """Return the seconds until the next look: `age`, at least 1, at most LONGEST_DOUBT_SECONDS."""
    return max(1.0, min(age, LONGEST_DOUBT_SECONDS))


def _late(record: Record, at: float, lag: float) -> Late | None:
    return record.late if record.late and at < record.late.at + lag else None


def digest_of(member: Member) -> str:
    """Return a digest of name, subscription and variables that ignores the variables' order."""
    whole = json.dumps([member.name, member.subscribed, member.vars], sort_keys=True)
    return blake2b(whole.encode(), digest_size=8).hexdigest()
