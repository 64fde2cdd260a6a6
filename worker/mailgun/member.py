"""A member of a mailing list as Mailgun holds it, and the form fields that make it so. Asking Mailgun is the client's work."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from worker.mailgun.answer_json import decoded, why_unusable
from worker.signal.address import lenient_address

JSON_BLANKS = " \t\r\n\ufeff"
NO_VARS = ("", "null", '""', "[]")  # JSON texts of a member that has none
SUBSCRIBED = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Member:
    """A whole member. Mailgun replaces what it is given, so a part of one is never sent."""

    address: str
    name: str = ""  # "" at Mailgun where nobody set one
    subscribed: bool = True
    vars: Mapping[str, Any] = field(default_factory=dict)

    def form(self) -> dict[str, str]:
        """The form fields of the upsert, in the integration's order (its page, "Example").

        `subscribed` is always explicit: left out, Mailgun takes it as true and re-subscribes. A name nobody set is left out.
        """
        named = {"name": self.name} if self.name else {}
        return {
            "address": self.address,
            **named,
            "subscribed": "true" if self.subscribed else "false",
            "upsert": "true",
            "vars": json.dumps(
                self.vars, separators=(",", ":"), ensure_ascii=False, allow_nan=False
            ),
        }

    def entry(self) -> str:
        """The member in a call for many: a JSON object of the same fields (Mailgun docs: bulk upload).

        In ASCII: a part of a multipart form does not say in which encoding it is.
        """
        named = f'"name":{json.dumps(self.name)},' if self.name else ""
        subscribed = "true" if self.subscribed else "false"
        return f'{{"address":{json.dumps(self.address)},{named}"subscribed":{subscribed},"vars":{self.vars_text}}}'

    @cached_property
    def vars_text(self) -> str:
        """The variables as JSON in ASCII."""
        return json.dumps(self.vars, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Unreadable:
    """A member that an answer shows, and that cannot be held or sent again as it is there."""

    address: str
    why: str  # quotes nothing of it


def member_in(data: object, address: str) -> Member | None:
    """The member in a decoded answer `{"member": {…}}` if it is the one at `address`, however that is spelt; else None.

    A 200 is no proof: a wrong path answers 200 with the text "Mailgun Magnificent API".
    """
    found = found_in(data, address)
    return found if isinstance(found, Member) else None


def found_in(data: object, address: str) -> Member | Unreadable | None:
    """Return the same, or why the member at `address` cannot be read."""
    member = data.get("member") if isinstance(data, dict) else None
    named = member.get("address") if isinstance(member, dict) else None
    if (
        not isinstance(member, dict)
        or not isinstance(named, str)
        or not is_same_address(named, address)
    ):
        return None
    return _member(member, address)


def _member(shown: Mapping[str, Any], address: str) -> Member | Unreadable:
    name, vars_ = shown.get("name") or "", _vars(shown.get("vars"))
    subscribed = _subscribed(shown.get("subscribed"))
    if subscribed is None:
        return Unreadable(address, "`subscribed` is neither yes nor no")
    if not isinstance(name, str):
        return Unreadable(address, "`name` is no text")
    if not isinstance(vars_, dict):
        return Unreadable(address, "`vars` is no object")
    why = why_unusable(name) or why_unusable(vars_)
    return (
        Unreadable(address, f"it holds {why}") if why else Member(address, name, subscribed, vars_)
    )


def _subscribed(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return SUBSCRIBED.get(str(value).lower()) if isinstance(value, str | int) else None


def _vars(value: object) -> object:
    """The variables; they may be shown as the JSON text that they were sent as, or as something empty where there are none."""
    if not isinstance(value, str):
        return value or {}
    text = value.strip(JSON_BLANKS)
    return {} if text in NO_VARS else decoded(text.encode("utf-8", "surrogatepass"))


def other_address_in(data: object, address: str) -> str | None:
    """Return the address in a decoded answer about a member if it is not `address`; else None."""
    member = data.get("member") if isinstance(data, dict) else None
    named = member.get("address") if isinstance(member, dict) else None
    return (
        named if isinstance(named, str) and named and not is_same_address(named, address) else None
    )


def is_same_address(one: str, other: str) -> bool:
    """Return True if both spell the same address: in other ASCII case, or with the domain in punycode or in Unicode."""
    return one == other or lenient_address(one) == lenient_address(other)
