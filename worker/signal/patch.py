"""The patch that an event makes to one member under a preset, or the reason to skip the event."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from worker.signal.address import MalformedEmail, lenient_address, normalize_address
from worker.signal.consent import Consent, read_consent, read_consent_above, resolve_consent
from worker.signal.event import SignalEvent
from worker.signal.hashed import is_hashed
from worker.signal.preset import FieldSource, Preset, text_in

KNOWN = {Consent.YES: True, Consent.NO: False}
NOT_UNDERSTOOD = ("consent", "timestamp")  # the values in `Patch.not_understood`


class SkipReason(StrEnum):
    """The reason why an event changes no member although nothing is wrong with it."""

    NO_EMAIL = "no_email"
    HASHED_EMAIL = "hashed_email"
    UNMAPPED_EVENT = "unmapped_event"


class Patch(NamedTuple):
    """The change that one event makes to one member.

    Attributes:
        address: The member's address, normalized (see worker/signal/address.py).
        name: None if the event has none.
        vars: The variables that the event sets, as JSON values.
        consent: Marketing consent; None if it is not known.
        at: The event's own time, UTC; None if it has none.
        consent_unclear: The event has a consent that is not understood, or that states that it is
            unknown.
        undated: The event has a time stamp that is not understood.
    """

    address: str
    name: str | None
    vars: Mapping[str, Any]
    consent: bool | None
    at: datetime | None
    consent_unclear: bool = False
    undated: bool = False

    @property
    def not_understood(self) -> tuple[str, ...]:
        """Return those of `NOT_UNDERSTOOD` that the event has and that were not understood."""
        if not self.consent_unclear and not self.undated:
            return ()
        unread = zip(NOT_UNDERSTOOD, (self.consent_unclear, self.undated), strict=True)
        return tuple(what for what, is_unread in unread if is_unread)


def patch_from_event(event: SignalEvent, preset: Preset) -> Patch | SkipReason:
    """Return the patch of `event` under `preset`, or why the event is skipped.

    Raises:
        MalformedEmail: The event has an address that cannot be used.
    """
    fields = preset.fields_for(event)
    if fields is None:
        return SkipReason.UNMAPPED_EVENT
    address = _address(_first(event, preset.address, blanks=False))
    if isinstance(address, SkipReason):
        return address
    consent = resolve_consent(_consent_readings(event, preset))
    values = ((name, _first(event, sources)) for name, sources in fields.vars)
    return Patch(
        address=address,
        name=text_in(_first(event, fields.name, blanks=False)),
        vars={name: value for name, value in values if value is not None},
        consent=KNOWN.get(consent),
        at=event.timestamp,
        consent_unclear=consent is Consent.UNCLEAR or consent is Consent.UNKNOWN,
        undated=event.undated,
    )


def address_in(event: SignalEvent, preset: Preset) -> str | None:
    """Return the address that `event` is about, normalized if possible; None if there is none."""
    value = _first(event, preset.address, blanks=False)
    return lenient_address(str(value)) if value is not None else None


def _first(event: SignalEvent, sources: tuple[FieldSource, ...], *, blanks: bool = True) -> Any:
    """Return the value at the first of `sources` that has one; None if none has.

    A value that is only white space counts if `blanks`.
    """
    for source in sources:
        value = source.read(event)
        if value is None:
            continue
        value = json_safe(value)
        if value is not None and (blanks or str(value).strip()):
            return value
    return None


def _address(value: object) -> str | SkipReason:
    if value is None or value == "":
        return SkipReason.NO_EMAIL
    if not isinstance(value, str):
        raise MalformedEmail("the e-mail address is not a string")
    if not value.strip():
        return SkipReason.NO_EMAIL
    return SkipReason.HASHED_EMAIL if is_hashed(value) else normalize_address(value)


def _consent_readings(event: SignalEvent, preset: Preset) -> Iterator[Consent]:
    if event.context_unread:
        yield Consent.UNCLEAR
    for source in preset.consent:
        value, whole = source.seek(event)
        yield read_consent(value) if whole else read_consent_above(value, preset.consent_keys)


def json_safe(value: Any) -> Any:
    """Return `value` as JSON can carry it: NaN and infinity become null, lone surrogates U+FFFD."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return (
                value
                if value.isascii()
                else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            )
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {json_safe(key): json_safe(each) for key, each in value.items()}
        case list():
            return [json_safe(each) for each in value]
        case _:
            return value
