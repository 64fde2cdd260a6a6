"""A member that a delivery has been given, or why it has not. Giving members out is the ledger's work."""

from dataclasses import dataclass, field

from worker.delivery.merge import Known
from worker.mailgun.member import Member


@dataclass
class Visit:
    """A member that this delivery has to itself."""

    address: str
    digest: str
    token: str
    known: Known
    copy: Member | None  # as Mailgun last confirmed it
    copy_at: str = ""  # when that was, epoch seconds
    fresh: bool = False  # the copy is younger than the cache allows: it may show that nothing needs writing
    trusted: bool = False  # the copy stands for a reading
    confirmed: Member | None = field(default=None)  # what Mailgun confirmed on this visit
    in_doubt: bool = False  # a write may have changed what the copy says
    unsettled: bool = False  # a write without an answer
    learned: Known | None = None  # what is known after it


@dataclass(frozen=True)
class Held:
    """Nobody may ask Mailgun for so many seconds."""

    seconds: float


class Busy:
    """Another delivery has the member."""


Opened = Visit | Busy
