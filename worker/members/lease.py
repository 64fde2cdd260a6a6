"""The lease of a member that a delivery holds, or the reason why it has none.

The ledger (`ledger.py`) acquires, renews and releases leases.
"""

import time
from dataclasses import dataclass, field
from enum import IntEnum

from worker.members.record import Record
from worker.members.stored import Copy

# Unlike the monotonic clock, the time since boot goes on while a machine is suspended.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

# The shortest wait for a look at a member after a write without an answer.
FIRST_LOOK_SECONDS = 1.0


def uptime() -> float:
    """Return the seconds since boot, which go on while the process or the machine is suspended."""
    return time.clock_gettime(_UPTIME)


class Trust(IntEnum):
    """What the ledger's copy of a member may be used for.

    Attributes:
        NONE: Nothing; the member must be read.
        SHOWS: The copy is younger than MAILGUN_MEMBER_CACHE_SECONDS. It may show that no write is
            needed, but no write may be based on it.
        STANDS: The copy replaces a reading.
    """

    NONE = 0
    SHOWS = 1
    STANDS = 2


@dataclass
class MemberLease:
    """A lease of one member: the only right to write that member.

    Attributes:
        address: The member's normalized address.
        token: The delivery's token, the value of the member's lock.
        record: What is known of the member by now. The release stores it if it is not `stored`.
        keys: The Redis keys of the member's lock and of its hash; empty without a ledger.
        stored: The record that Redis holds.
        cached: The member as Mailgun last confirmed it before this lease; None if the ledger holds
            no such copy, or newer knowledge contradicts it.
        trust: What `cached` may be used for.
        opened_at: When the lease was acquired, epoch seconds by Redis's clock.
        opened_up: The same moment, or a little later, by `uptime`.
        writes_until: The uptime after which no write may begin, because the lease may end before
            Mailgun has applied it.
        found: What Mailgun is known to hold; None if that is no member, or if a write may have
            changed it.
        write_pending: Mailgun may still apply a write that was sent under this lease.
        late_at: When the member was last marked for a later look, epoch seconds by Redis's clock:
            after a write without an answer, or after one that may have replaced a newer value;
            None if it is not marked.
        looks: The delivery has looked at the member because it was marked so.
        lost: The lease has ended before the release. The member is marked for a later look.
    """

    address: str
    token: str
    record: Record
    keys: tuple[str, str] = ("", "")
    stored: Record | None = None
    cached: Copy | None = None
    trust: Trust = Trust.NONE
    opened_at: float = 0.0
    opened_up: float = field(default_factory=uptime)
    writes_until: float = float("inf")
    found: Copy | None = None
    write_pending: bool = False
    late_at: float | None = None
    looks: bool = False
    lost: bool = False

    def now(self) -> float:
        """Return the current time by Redis's clock, epoch seconds."""
        return self.opened_at + uptime() - self.opened_up

    def may_write(self) -> bool:
        """Return True if the lease outlasts a write that begins now."""
        return uptime() < self.writes_until

    def look_again_in(self, settle: float, lag: float) -> str:
        """Return the seconds until the next look at the member, as release.lua takes them.

        The first look comes when the write must have settled, each further one after as long again
        as has passed since the write.

        Args:
            settle: The seconds in which a write without an answer settles.
            lag: MAILGUN_READ_LAG_SECONDS.

        Returns:
            The seconds; "" for no change, "0" for no further look.
        """
        if self.write_pending:
            return f"{max(FIRST_LOOK_SECONDS, settle):.3f}"
        if not self.looks:
            return ""
        age = self.now() - self.late_at if self.late_at is not None else lag
        left = lag - age
        return f"{max(FIRST_LOOK_SECONDS, min(age, left)):.3f}" if left > 0 else "0"


@dataclass(frozen=True)
class OnHold:
    """The integration is on hold; no request may be sent for `seconds`."""

    seconds: float


class Locked:
    """A member whose lease another delivery holds."""


LeaseResult = MemberLease | Locked
