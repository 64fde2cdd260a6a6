"""One attempt to bring one event to Mailgun: event, patch, member, outcome. It changes nothing but the member at Mailgun."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.delivery.merge import Subscribing, merged_member
from worker.mailgun.client import Mailgun
from worker.mailgun.member import Member
from worker.mailgun.outcome import Kind, Outcome, read_outcome, write_outcome
from worker.signal.event import parse_event
from worker.signal.patch import Patch, Skip, patch_of
from worker.signal.preset import Preset


@dataclass(frozen=True)
class Delivery:
    """How events are brought to one mailing list."""

    mailgun: Mailgun
    preset: Preset
    rules: Subscribing
    overwrite: bool  # MAILGUN_WRITE_MODE=overwrite: one POST with the event's own fields, nothing read
    clock: Callable[[], datetime]  # UTC

    def patch(self, event: Any) -> Patch | Skip:
        """What `event`, a decoded JSON value, changes. Raises `MalformedEvent` or `MalformedEmail`."""
        return patch_of(parse_event(event), self.preset)

    def attempt(self, patch: Patch) -> Outcome:
        """Make Mailgun hold what `patch` says, asking no more than needed."""
        if self.overwrite:
            return self._write(merged_member(None, patch, self.rules))
        held = read_outcome(self.mailgun.read_member(patch.address), patch.address, self.clock())
        if isinstance(held, Outcome):
            return held
        member = merged_member(held, patch, self.rules)
        if held and member.form() == held.form():  # as texts: to Python 1 equals true
            return Outcome(Kind.UNCHANGED, 200, member=member)
        return self._write(member)

    def _write(self, member: Member) -> Outcome:
        return write_outcome(self.mailgun.upsert(member), member.address, self.clock())
