"""What one event changes of one member: the event read through the preset, or the reason why it changes none."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.signal.event import SignalEvent
from worker.signal.preset import Place, Preset, text_in

ADDRESS_LIMIT = 320  # RFC 3696: 64 for the local part, @, 255 for the domain
HASHED = re.compile(r"[0-9a-f]{64}")  # a privacy rule upstream hashes e-mails with SHA-256; Mailgun cannot use these
UNUSABLE = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f/\ufffd]"
)  # Mailgun's routing breaks on a slash in a path segment, even as %2F


class Skip(StrEnum):
    """Why an event changes no member, and is nobody's fault."""

    NO_EMAIL = "no_email"
    HASHED_EMAIL = "hashed_email"
    UNMAPPED_EVENT = "unmapped_event"


class MalformedEmail(ValueError):
    """An address that cannot be one; the message says why and does not quote it."""


@dataclass(frozen=True)
class Patch:
    """What one event changes of the member at `address`."""

    address: str  # trimmed, lowercased
    name: str | None  # None: the event says nothing of it
    vars: Mapping[str, Any]  # only what the event sets; JSON values
    consent: bool | None  # marketing consent; None: unknown
    at: datetime | None  # the event's own time, UTC; None: it has none


def patch_of(event: SignalEvent, preset: Preset) -> Patch | Skip:
    """What `event` changes under `preset`, or why it is skipped. Raises `MalformedEmail`."""
    mapped = preset.mapped(event)
    if mapped is None:
        return Skip.UNMAPPED_EVENT
    address = _address(_first(event, preset.address, blanks=False))
    if isinstance(address, Skip):
        return address
    sets = {**mapped.sets, **preset.always}
    names = sets.pop("name", ())
    values = {target: _first(event, places) for target, places in sets.items()}
    return Patch(
        address=address,
        name=text_in(_first(event, names, blanks=False)),
        vars={target.removeprefix("vars."): value for target, value in values.items() if value is not None},
        consent=_consent(_first(event, preset.consent)),
        at=event.timestamp,
    )


def address_in(event: SignalEvent, preset: Preset) -> str | None:
    """The address that `event` is about, trimmed and lowercased, whether or not it can be one; None where there is none."""
    value = _first(event, preset.address, blanks=False)
    return str(value).strip().lower() if value is not None else None


def _first(event: SignalEvent, places: tuple[Place, ...], *, blanks: bool = True) -> Any:
    """The value at the first of `places` that has one JSON can carry; without `blanks`, one that is more than white space."""
    for place in places:
        value = clean(place.read(event))
        if value is not None and (blanks or str(value).strip()):
            return value
    return None


def _address(value: object) -> str | Skip:
    if value is None or value == "":
        return Skip.NO_EMAIL
    if not isinstance(value, str):
        raise MalformedEmail("the e-mail address is not a string")
    address = value.strip().lower()
    if not address:
        return Skip.NO_EMAIL
    if HASHED.fullmatch(address):
        return Skip.HASHED_EMAIL
    return _checked(address)


def _checked(address: str) -> str:
    if len(address) > ADDRESS_LIMIT:
        raise MalformedEmail(f"the e-mail address is longer than {ADDRESS_LIMIT} characters")
    if address.count("@") != 1:
        raise MalformedEmail("the e-mail address has not exactly one @")
    if not all(address.split("@")):
        raise MalformedEmail("the e-mail address has nothing before or after its @")
    if UNUSABLE.search(address):
        raise MalformedEmail("the e-mail address has a space, a slash or a control character")
    return address


def _consent(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "granted": True, "false": False, "denied": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def clean(value: Any) -> Any:
    """`value` as JSON can carry it: NaN and infinities become null, half characters U+FFFD."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {clean(key): clean(each) for key, each in value.items()}
        case list():
            return [clean(each) for each in value]
        case _:
            return value
