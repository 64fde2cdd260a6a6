"""What a request says about members, and what Mailgun refuses of it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.sandbox.flanker import parse_address
from worker.sandbox.quirks import Quirks

MAX_ADDRESS_LENGTH = 320
SUBSCRIBED = {"yes": True, "true": True, "no": False, "false": False}

BAD_ADDRESS = "The 'address' parameter should be a valid email address"
BAD_VARS = "'vars' parameter is not a valid JSON"
BAD_SUBSCRIBED = "The 'subscribed' parameter should be 'yes' or 'no'"
BAD_NAME = "The 'name' parameter should be a string"
BAD_MEMBERS = "'members' parameter is not a valid JSON list"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


STRICT_JSON = json.JSONDecoder(parse_constant=_no_constant)  # no NaN, no Infinity


class MailgunError(Exception):
    """Mailgun's refusal of a request, which changes nothing."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class MemberFields:
    """The fields of one member in a request; None means left out."""

    address: str
    name: str | None
    subscribed: bool | None
    vars: dict[str, Any] | None


def is_address(text: object) -> bool:
    """Return True if the text can be an e-mail address.

    That is at most 320 printable characters without blanks, with one `@` between two non-empty
    parts.
    """
    if not isinstance(text, str) or len(text) > MAX_ADDRESS_LENGTH:
        return False
    local, at, domain = text.partition("@")
    return (
        bool(local and at and domain)
        and "@" not in domain
        and text.isprintable()
        and " " not in text
    )


def read_form(
    form: Mapping[str, str], switches: Quirks, *, address: str | None = None
) -> MemberFields:
    """Return what a form says about a member.

    `address` replaces an address that the form leaves out, since a PUT names it in the path.
    """
    return MemberFields(
        address=_address(form.get("address", address), switches),
        name=form.get("name"),
        subscribed=read_subscribed(form.get("subscribed")),
        vars=_decoded_vars(form.get("vars")),
    )


def read_entry(entry: object, switches: Quirks) -> MemberFields:
    """Return what one entry of a bulk request says about a member.

    An entry is an address, or an object whose `vars` is an object.
    """
    if isinstance(entry, str):
        entry = {"address": entry}
    if not isinstance(entry, dict):
        raise MailgunError(400, BAD_ADDRESS)
    name, said_vars = entry.get("name"), entry.get("vars")
    if name is not None and not isinstance(name, str):
        raise MailgunError(400, BAD_NAME)
    if said_vars is not None and not isinstance(said_vars, dict):
        raise MailgunError(400, BAD_VARS)
    return MemberFields(
        _address(entry.get("address"), switches),
        name,
        read_subscribed(entry.get("subscribed")),
        said_vars,
    )


def read_entries(text: str | None) -> list[object]:
    """Return the entries of a bulk request, each still unread."""
    entries = _json(text or "", otherwise=BAD_MEMBERS)
    if not isinstance(entries, list):
        raise MailgunError(400, BAD_MEMBERS)
    return entries


def read_subscribed(value: object) -> bool | None:
    """Return the value of `subscribed`, or None if it is left out.

    Mailgun accepts yes, no, true and false in any case.
    """
    if value is None or isinstance(value, bool):
        return value
    try:
        return SUBSCRIBED[str(value).lower()]
    except KeyError:
        raise MailgunError(400, BAD_SUBSCRIBED) from None


def is_upsert(form: Mapping[str, str]) -> bool:
    """Return True if the form asks for an upsert."""
    return SUBSCRIBED.get(form.get("upsert", "").lower(), False)


def named_address(text: str, switches: Quirks) -> str:
    """Return the address that Mailgun reads in `text`.

    It is not necessarily a valid address.
    """
    return parse_address(text) if switches.addresses == "flanker" else text


def _address(value: object, switches: Quirks) -> str:
    address = named_address(value, switches) if isinstance(value, str) else value
    if not is_address(address):
        raise MailgunError(400, BAD_ADDRESS)
    return str(address)


def _decoded_vars(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    decoded = _json(text, otherwise=BAD_VARS)
    if not isinstance(decoded, dict):
        raise MailgunError(400, BAD_VARS)
    return decoded


def _json(text: str, *, otherwise: str) -> Any:
    try:
        return STRICT_JSON.decode(text)
    except (ValueError, RecursionError):
        raise MailgunError(400, otherwise) from None
