"""A member that a delivery has been given, or why it has not. Giving members out is the ledger's work."""

import time
from dataclasses import dataclass, field
from enum import IntEnum

from worker.members.record import Record
from worker.members.stored import Copy

# Unlike the monotonic clock, the time since boot goes on while a machine is suspended.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def uptime() -> float:
    """Return seconds that only ever grow, also while the process is stopped or the machine suspended."""
    return time.clock_gettime(_UPTIME)


class Trust(IntEnum):
    """What the copy of a member is good for."""

    NONE = 0
    # It is younger than the cache allows: it may show that nothing needs writing.
    SHOWS = 1
    # It stands for a reading.
    STANDS = 2


@dataclass
class MemberLease:
    """A member that a delivery has to itself."""

    address: str
    digest: str
    token: str
    # What is known of it by now; stored when the visit is closed, where it differs from what is stored already.
    record: Record
    stored: Record | None = None
    # As Mailgun last confirmed it before this visit.
    cached: Copy | None = None
    trust: Trust = Trust.NONE
    # The moment of opening: epoch seconds by Redis's clock, and, a little later, by the uptime.
    opened_at: float = 0.0
    opened_up: float = field(default_factory=uptime)
    # The uptime after which no write may be begun: the lease may end before Mailgun has applied it.
    writes_until: float = float("inf")
    # What Mailgun is known to hold; None: nothing, or a write may have changed it.
    found: Copy | None = None
    # Mailgun may yet apply a write of this visit.
    write_pending: bool = False
    # When the latest write without an answer, or over another delivery's, was made; None: there is none to look after.
    late_at: float | None = None
    # It was opened to look after such a write, and that was done.
    looks: bool = False
    # Another delivery may have the member by now: what this one did is to be looked after.
    lost: bool = False

    def now(self) -> float:
        """Return the present moment by Redis's clock, epoch seconds."""
        return self.opened_at + uptime() - self.opened_up

    def may_write(self) -> bool:
        """Return True as long as the lease outlasts a write that begins now."""
        return uptime() < self.writes_until


@dataclass(frozen=True)
class OnHold:
    """Nobody may ask Mailgun for so many seconds."""

    seconds: float


class Locked:
    """Another delivery has the member."""


LeaseResult = MemberLease | Locked
