"""Mailing lists, and Mailgun's rules for changing them.

Pure: the caller hands in the time. What Mailgun refuses raises `MailgunError` with the status and
text of Mailgun's answer.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from worker.sandbox.member_fields import MailgunError, MemberFields
from worker.sandbox.past import Past
from worker.sandbox.quirks import Quirks
from worker.sandbox.sorted_addresses import SortedAddresses
from worker.sandbox.stored_member import StoredMember

T = TypeVar("T")


class MailingList:
    """The members of one list.

    Mailgun compares addresses ignoring case, so members are stored by their lowercase address.
    """

    def __init__(self, address: str, *, created_at: float) -> None:
        self.address = address
        self.created_at = created_at
        self._by_change: dict[str, StoredMember] = {}  # oldest change first
        self._all = SortedAddresses()
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
        return self._found(address, self.find(address))

    def shown(self, address: str, moment: float) -> StoredMember:
        """Return the member as it was at `moment`, in epoch seconds.

        Raises:
            MailgunError: Mailgun's 404 if the list had no such member.
        """
        key = address.lower()
        then = self.past.member(key, moment) if self.past.knows(key) else self.find(address)
        return self._found(address, then)

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
            self._all.add(key)
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
        self._all.remove(key)
        self._by_subscription[member.subscribed].remove(key)
        return member

    def newest(self, count: int) -> list[StoredMember]:
        """Return at most `count` members, the one changed last first."""
        return list(islice(reversed(self._by_change.values()), count))

    def ascending(self, *, subscribed: bool | None = None) -> list[str]:
        """Return the lowercase addresses of the subscribed, the unsubscribed or (None) all members.

        They are in ascending order. The caller must not change the list.
        """
        return (self._all if subscribed is None else self._by_subscription[subscribed]).all()

    def subscribed_count(self) -> int:
        """Return the number of subscribed members."""
        return len(self._by_subscription[True])

    def _found(self, address: str, member: StoredMember | None) -> StoredMember:
        if member is None:
            raise MailgunError(404, f"Member {address} of mailing list {self.address} not found")
        return member


def upserted_member(
    current: StoredMember | None, fields: MemberFields, switches: Quirks, *, bulk: bool, now: float
) -> StoredMember:
    """Return the member after an upsert.

    A new member is subscribed unless the request says no (Mailgun docs: `subscribed` defaults to
    yes). The quirks decide what happens to fields that an update leaves out.
    """
    if current is None:
        is_subscribed = fields.subscribed is not False
        return StoredMember(
            fields.address, fields.name or "", is_subscribed, fields.vars or {}, now
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
