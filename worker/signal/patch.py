"""What one event changes of one member: the event read through the preset, or the reason why it changes none."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.signal.address import MalformedEmail, lenient_address, normalize_address
from worker.signal.consent import Consent, read_consent, read_consent_above, resolve_consent
from worker.signal.event import SignalEvent
from worker.signal.hashed import is_hashed
from worker.signal.preset import FieldSource, Preset, text_in

KNOWN = {Consent.YES: True, Consent.NO: False}
NOT_UNDERSTOOD = ("consent", "timestamp")  # what `Patch.not_understood` can name


class SkipReason(StrEnum):
    """Why an event changes no member, and is nobody's fault."""

    NO_EMAIL = "no_email"
    HASHED_EMAIL = "hashed_email"
    UNMAPPED_EVENT = "unmapped_event"


@dataclass(frozen=True)
class Patch:
    """What one event changes of the member at `address`."""

    address: str  # normalized: see worker/signal/address.py
    name: str | None  # None: the event says nothing of it
    vars: Mapping[str, Any]  # only what the event sets; JSON values
    consent: bool | None  # marketing consent; None: unknown
    at: datetime | None  # the event's own time, UTC; None: it has none
    # A consent is there and is not understood, or says itself that it is unknown.
    consent_unclear: bool = False
    # A time stamp is there and is not understood.
    undated: bool = False

    @property
    def not_understood(self) -> tuple[str, ...]:
        """What of the event is there and was not understood, of `NOT_UNDERSTOOD`."""
        unread = zip(NOT_UNDERSTOOD, (self.consent_unclear, self.undated), strict=True)
        return tuple(what for what, is_unread in unread if is_unread)


def patch_from_event(event: SignalEvent, preset: Preset) -> Patch | SkipReason:
    """What `event` changes under `preset`, or why it is skipped. Raises `MalformedEmail`."""
    mapped = preset.mapped(event)
    if mapped is None:
        return SkipReason.UNMAPPED_EVENT
    address = _address(_first(event, preset.address, blanks=False))
    if isinstance(address, SkipReason):
        return address
    sets = {**mapped.sets, **preset.always}
    names = sets.pop("name", ())
    consent = _consent(event, preset.consent)
    values = {target: _first(event, places) for target, places in sets.items()}
    return Patch(
        address=address,
        name=text_in(_first(event, names, blanks=False)),
        vars={
            target.removeprefix("vars."): value
            for target, value in values.items()
            if value is not None
        },
        consent=KNOWN.get(consent),
        at=event.timestamp,
        consent_unclear=consent in {Consent.UNCLEAR, Consent.UNKNOWN},
        undated=event.undated,
    )


def address_in(event: SignalEvent, preset: Preset) -> str | None:
    """The address that `event` is about, normalized as far as it can be one; None where there is none."""
    value = _first(event, preset.address, blanks=False)
    return lenient_address(str(value)) if value is not None else None


def _first(event: SignalEvent, places: tuple[FieldSource, ...], *, blanks: bool = True) -> Any:
    """The value at the first of `places` that has one JSON can carry; without `blanks`, one that is more than white space."""
    for place in places:
        value = clean(place.read(event))
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


def _consent(event: SignalEvent, places: tuple[FieldSource, ...]) -> Consent:
    found = [place.seek(event) for place in places]
    keys = [key for place in places for path in place.paths for key in path[1:]]
    unread = [Consent.UNCLEAR] if event.context_unread else []
    readings = [
        read_consent(value) if whole else read_consent_above(value, keys) for value, whole in found
    ]
    return resolve_consent([*unread, *readings])


def clean(value: Any) -> Any:
    """`value` as JSON can carry it: NaN and infinities become null, half characters U+FFFD."""
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
            return {clean(key): clean(each) for key, each in value.items()}
        case list():
            return [clean(each) for each in value]
        case _:
            return value
