"""The hash that the ledger stores for a member: decode its record and its copy, encode the copy."""

from dataclasses import replace
from typing import NamedTuple

from worker.mailgun.member import Member
from worker.members.record import Record, after_overwriting, after_reading, after_sync
from worker.members.record_json import decode
from worker.signal.quick_json import compact_json, loads


class Copy(NamedTuple):
    """A member as Mailgun once held it.

    Attributes:
        member: The member.
        at: When Mailgun held it, epoch seconds by Redis's clock, as stored; "" stands for the time
            of the release.
    """

    member: Member
    at: str = ""


class Stored(NamedTuple):
    """The fields of the hash `Keys.member` as texts; "" for a missing field.

    All times are epoch seconds by Redis's clock.

    Attributes:
        record: The record (`record.encoded`).
        copy: The member as Mailgun last confirmed it (`copy_of`).
        copy_at: When Mailgun held `copy`.
        seen_at: When Mailgun last confirmed that the member exists.
        late_at: When the member was last marked for a later look.
        yes_at: When Mailgun last showed a "yes", if a page has shown a "no" since and no lease was
            released in between.
    """

    record: str = ""
    copy: str = ""
    copy_at: str = ""
    seen_at: str = ""
    late_at: str = ""
    yes_at: str = ""

    def record_and_copy(
        self, address: str, synced: float, lag: float
    ) -> tuple[Record, Copy | None]:
        """Return the member's record and its copy.

        The record takes in the last sync and what the copy shows.

        Args:
            address: The member's address.
            synced: When the last complete sync began, epoch seconds by Redis's clock; 0 for never.
            lag: MAILGUN_READ_LAG_SECONDS, as in `after_reading`.

        Returns:
            The record, and the copy, or None if there is none or newer knowledge contradicts it.
        """
        before = decode(self.record, moment(self.seen_at))
        record = after_sync(before, synced, lag)
        is_forgotten = before.seen_at is not None and record.seen_at is None
        if not self.copy or record.absent or is_forgotten:
            return record, None
        member = member_of(self.copy, address)
        if member.subscribed and record.no is None and record.late is None:
            return record, Copy(member, self.copy_at)  # such a copy adds nothing to the record
        yes_at = moment(self.yes_at)
        if yes_at is not None:
            record, _ = after_reading(record, replace(member, subscribed=True), yes_at, lag)
        copy_at = float(self.copy_at or 0)
        record, doubt = after_reading(record, member, copy_at, lag)
        if yes_at is not None and not member.subscribed:
            record = after_overwriting(record, copy_at - yes_at, lag)
        return record, Copy(member, self.copy_at) if doubt is None else None


def moment(text: str) -> float | None:
    """Return the time that is stored as `text`, epoch seconds; None for an empty text."""
    return float(text) if text else None


def copy_of(member: Member) -> str:
    """Return the copy of a member as the ledger stores it: the JSON list name, subscribed, vars."""
    return compact_json([member.name, member.subscribed, member.vars])


def member_of(copy: str, address: str) -> Member:
    """Return the member at `address` from its stored `copy`."""
    name, subscribed, vars_ = loads(copy)
    return Member(address, name, subscribed, vars_)
