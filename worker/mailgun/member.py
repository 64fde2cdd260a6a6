"""A member of a mailing list as Mailgun holds it: parsed from answers, encoded for upserts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.mailgun.answer_json import decoded, why_unusable
from worker.signal.address import lenient_address
from worker.signal.quick_json import ascii_json

JSON_BLANKS = " \t\r\n\ufeff"
NO_VARS = ("", "null", '""', "[]")  # JSON texts of a member without variables
SUBSCRIBED = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Member:
    """A whole member. Mailgun replaces the fields of an upsert, so no upsert sends a part of it.

    Attributes:
        address: The member's address.
        name: The name; "" if none was set, as Mailgun shows it.
        subscribed: False if the member is unsubscribed.
        vars: The variables.
    """

    address: str
    name: str = ""
    subscribed: bool = True
    vars: Mapping[str, Any] = field(default_factory=dict)

    def form(self) -> dict[str, str]:
        """Return the form fields of the upsert, in the order of the integration's page ("Example").

        `subscribed` is always explicit: without it, Mailgun assumes true and re-subscribes the
        member. An empty name is left out.
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
        """Return the member as a JSON object for a call for many (Mailgun docs: bulk upload).

        The text is ASCII, because a part of a multipart form does not state its encoding.
        """
        named = {"name": self.name} if self.name else {}
        return ascii_json(
            {
                "address": self.address,
                **named,
                "subscribed": self.subscribed,
                "vars": self.vars,
            }
        )


@dataclass(frozen=True)
class Unreadable:
    """A member that an answer shows, but that cannot be stored or sent again as it is.

    Attributes:
        address: The member's address.
        why: The reason, which quotes nothing of the member.
    """

    address: str
    why: str


def member_in(data: object, address: str) -> Member | None:
    """Return the member at `address` from a decoded answer, `{"member": {…}}`.

    A status of 200 is no proof: a wrong path answers 200 with the text "Mailgun Magnificent API".
    The answer may spell the address differently.

    Returns:
        The member; None if the answer shows no member at `address`, or one that cannot be read.
    """
    found = found_in(data, address)
    return found if isinstance(found, Member) else None


def found_in(data: object, address: str) -> Member | Unreadable | None:
    """Return the member at `address` from a decoded answer, or why it cannot be read.

    The same as `member_in`, but `Unreadable` stands for a member that cannot be read.
    """
    member = data.get("member") if isinstance(data, dict) else None
    if not isinstance(member, dict):
        return None
    named = member.get("address")
    if not isinstance(named, str) or not is_same_address(named, address):
        return None
    return _member(member, address)


def _member(shown: Mapping[str, Any], address: str) -> Member | Unreadable:
    name, vars_ = shown.get("name") or "", _vars(shown.get("vars"))
    subscribed = _subscribed(shown.get("subscribed"))
    if subscribed is None:
        return Unreadable(address, "`subscribed` is neither yes nor no")
    if not isinstance(name, str):
        return Unreadable(address, "`name` is not a text")
    if not isinstance(vars_, dict):
        return Unreadable(address, "`vars` is not an object")
    if why := why_unusable(name) or why_unusable(vars_):
        return Unreadable(address, f"it holds {why}")
    return Member(address, name, subscribed, vars_)


def _subscribed(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return SUBSCRIBED.get(str(value).lower()) if isinstance(value, str | int) else None


def _vars(value: object) -> object:
    """Return the variables from an answer.

    Mailgun may show them as the JSON text that was sent, or as any empty value if there are none.
    """
    if not isinstance(value, str):
        return value or {}
    text = value.strip(JSON_BLANKS)
    return {} if text in NO_VARS else decoded(text.encode("utf-8", "surrogatepass"))


def address_in(shown: object) -> str | None:
    """Return the address of a member, or list, as an answer shows it; None without one."""
    address = shown.get("address") if isinstance(shown, dict) else None
    return address if isinstance(address, str) and address else None


def is_same_address(one: str, other: str) -> bool:
    """Return True if both spell the same address.

    The spellings may differ in ASCII case, and in punycode or Unicode of the domain.
    """
    return one == other or lenient_address(one) == lenient_address(other)
