"""Mailing lists, and Mailgun's rules for changing them.

Pure: the caller hands in the time. What Mailgun refuses raises `MailgunError` with the status and
text of Mailgun's answer.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from worker.sandbox.flanker import parse_address
from worker.sandbox.past import Past
from worker.sandbox.quirks import Quirks
from worker.sandbox.sorted_addresses import SortedAddresses
from worker.sandbox.stored_member import StoredMember

T = TypeVar("T")

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


class MailingList:
    """The members of one list.

    Mailgun compares addresses ignoring case, so members are stored by their lowercase address.
    """

    def __init__(self, address: str, *, created_at: float) -> None:
        self.address = address
        self.created_at = created_at
        self._by_change: dict[str, StoredMember] = {}  # oldest change first
        self._everybody = SortedAddresses()
        self._by_subscription = {True: SortedAddresses(), False: SortedAddresses()}
        self.past = Past()

    def __len__(self) -> int:
        return len(self._by_change)

    def __iter__(self) -> Iterator[StoredMember]:
        return iter(self._by_change.values())

    def find(self, address: str) -> StoredMember | None:
        """Return the member, or None if the list has no such member."""
        return self._by_change.get(address.lower())

    def member(self, address: str) -> StoredMember:
        """Return the member.

        Raises:
            MailgunError: Mailgun's 404 if the list has no such member.
        """
        if current := self.find(address):
            return current
        raise MailgunError(404, f"Member {address} of mailing list {self.address} not found")

    def shown(self, address: str, moment: float) -> StoredMember:
        """Return the member as it was at `moment`, in epoch seconds.

        Raises:
            MailgunError: Mailgun's 404 if the list had no such member.
        """
        key = address.lower()
        if not self.past.knows(key):
            return self.member(address)
        if current := self.past.member(key, moment):
            return current
        raise MailgunError(404, f"Member {address} of mailing list {self.address} not found")

    def as_of(self, moment: float) -> "MailingList":
        """Return the list as it was at `moment`, in epoch seconds."""
        changed = {key: self.past.member(key, moment) for key in self.past.changed()}
        if not changed:
            return self
        then = MailingList(self.address, created_at=self.created_at)
        for key, member in {**self._by_change, **changed}.items():
            if member and key == member.address.lower():
                then.put(member)
        return then

    def put(self, member: StoredMember) -> None:
        """Store the member as given; it becomes the one changed last."""
        key = member.address.lower()
        current = self._by_change.pop(key, None)
        self._by_change[key] = member
        self.past.note(key, current, member, member.updated_at)
        if current is None:
            self._everybody.add(key)
        elif current.subscribed == member.subscribed:
            return
        else:
            self._by_subscription[current.subscribed].remove(key)
        self._by_subscription[member.subscribed].add(key)

    def remove(self, address: str, *, now: float) -> StoredMember:
        """Remove the member and return it.

        Raises:
            MailgunError: Mailgun's 404 if the list has no such member.
        """
        member = self.member(address)
        key = member.address.lower()
        del self._by_change[key]
        self.past.note(key, member, None, now)
        self._everybody.remove(key)
        self._by_subscription[member.subscribed].remove(key)
        return member

    def newest(self, count: int) -> list[StoredMember]:
        """Return at most `count` members, the one changed last first."""
        return [
            member
            for member, _ in zip(reversed(self._by_change.values()), range(count), strict=False)
        ]

    def ascending(self, *, subscribed: bool | None = None) -> list[str]:
        """Return the lowercase addresses of the subscribed, the unsubscribed or (None) all members.

        They are in ascending order. The caller must not change the list.
        """
        return (self._everybody if subscribed is None else self._by_subscription[subscribed]).all()

    def subscribed_count(self) -> int:
        """Return the number of subscribed members."""
        return len(self._by_subscription[True])


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


def upserted_member(
    current: StoredMember | None, fields: MemberFields, switches: Quirks, *, bulk: bool, now: float
) -> StoredMember:
    """Return the member after an upsert.

    A new member is subscribed unless the request says no (Mailgun docs: `subscribed` defaults to
    yes). The quirks decide what happens to fields that an update leaves out.
    """
    if current is None:
        return StoredMember(
            fields.address,
            fields.name or "",
            fields.subscribed is not False,
            fields.vars or {},
            now,
        )
    left_out = switches.bulk_omitted_subscribed if bulk else switches.omitted_subscribed
    return StoredMember(
        address=current.address,
        name=_given(fields.name, otherwise=current.name if switches.omitted_name == "kept" else ""),
        subscribed=_given(
            fields.subscribed, otherwise=current.subscribed if left_out == "kept" else True
        ),
        vars=_upserted_vars(current.vars, fields.vars, switches),
        updated_at=now,
    )


def put_member(current: StoredMember, fields: MemberFields, *, now: float) -> StoredMember:
    """Return the member after a PUT.

    Fields that are left out stay. `vars` is one property and is replaced as a whole (Mailgun docs).
    """
    return StoredMember(
        address=fields.address,
        name=_given(fields.name, otherwise=current.name),
        subscribed=_given(fields.subscribed, otherwise=current.subscribed),
        vars=_given(fields.vars, otherwise=current.vars),
        updated_at=now,
    )


def unsubscribed(current: StoredMember, *, now: float) -> StoredMember:
    """Return the member after a click on the unsubscribe link of a mail."""
    return replace(current, subscribed=False, updated_at=now)


def _upserted_vars(
    current: dict[str, Any], fields: dict[str, Any] | None, switches: Quirks
) -> dict[str, Any]:
    if fields is None:
        return current if switches.omitted_vars == "kept" else {}
    return {**current, **fields} if switches.vars_on_update == "merged" else fields


def _given(value: T | None, *, otherwise: T) -> T:
    return otherwise if value is None else value


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
