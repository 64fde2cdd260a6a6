"""The hash of a member, read and written: its record, with a sync and the copy taken in, and the copy."""

import json
from dataclasses import replace
from typing import NamedTuple

from worker.mailgun.member import Member
from worker.members.record import Record, after_reading, after_sync, decoded


class Copy(NamedTuple):
    """A member as Mailgun once held it."""

    member: Member
    # When that was, epoch seconds by Redis's clock, as it is stored; "": on this visit.
    at: str = ""


class Stored(NamedTuple):
    """The fields of the hash, as they are stored; "" for one that is not there."""

    record: str = ""
    copy: str = ""
    copy_at: str = ""
    seen_at: str = ""
    late_at: str = ""
    # When Mailgun last showed a "yes", if a page has shown a "no" since, and no visit has come in between.
    yes_at: str = ""

    def known(self, address: str, synced: float, lag: float) -> tuple[Record, Copy | None]:
        """Return what is known of the member, and its copy, if no younger knowledge contradicts it.

        `synced` is when the last whole reading of the list began, epoch seconds, `lag` as `after_reading` has it.
        """
        before = decoded(self.record, moment(self.seen_at))
        record = after_sync(before, synced, lag)
        is_forgotten = before.seen_at is not None and record.seen_at is None
        if not self.copy or record.absent or is_forgotten:
            return record, None
        member = member_of(self.copy, address)
        if member.subscribed and record.no is None and record.late is None:
            return record, Copy(member, self.copy_at)  # it teaches nothing
        yes_at = moment(self.yes_at)
        if yes_at is not None:
            record, _ = after_reading(record, replace(member, subscribed=True), yes_at, lag)
        record, doubt = after_reading(record, member, float(self.copy_at or 0), lag)
        return record, Copy(member, self.copy_at) if doubt is None else None


def moment(text: str) -> float | None:
    """Return the moment that is stored as `text`, epoch seconds; None for an empty text."""
    return float(text) if text else None


def copy_of(member: Member) -> str:
    """The copy of a member, as it is stored."""
    return (
        f"[{json.dumps(member.name)},{'true' if member.subscribed else 'false'},{member.vars_text}]"
    )


def member_of(copy: str, address: str) -> Member:
    """The member of which that is the copy."""
    name, subscribed, vars_ = json.loads(copy)
    return Member(address, name, subscribed, vars_)
