"""Trust in the ledger's copies: whether a copy, or none, may replace a reading of a member."""

from dataclasses import dataclass
from typing import NamedTuple

from worker.members.lease import Trust
from worker.members.stored import Copy, Stored
from worker.signal.address import is_plain

# A copy is trusted if the last scan of the unsubscribed began within this many refresh intervals.
TRUST_REFRESHES = 2


class Times(NamedTuple):
    """Times that an acquisition reads, epoch seconds by Redis's clock; 0 stands for never.

    Attributes:
        now: The current time.
        fresh_from: When the last complete scan of the unsubscribed began.
        synced: When the last complete sync began.
        forgot: When a member was last erased from the ledger (`forget`).
    """

    now: float
    fresh_from: float
    synced: float
    forgot: float


@dataclass(frozen=True)
class CopyTrust:
    """The trust in the copies of one integration.

    Attributes:
        refresh_seconds: MAILGUN_OPT_OUT_REFRESH_SECONDS if copies may replace readings; None if
            they never do.
        cache_seconds: MAILGUN_MEMBER_CACHE_SECONDS.
        days: LEDGER_DAYS.
    """

    refresh_seconds: float | None
    cache_seconds: float
    days: float

    def of(self, address: str, stored: Stored, copy: Copy | None, times: Times) -> Trust:
        """Return what a member's copy may be used for.

        Args:
            address: The member's address.
            stored: What the ledger holds of the member.
            copy: The copy in it; None if there is none.
            times: The times that were read with it.
        """
        if self._is_not_on_list(address, stored, times):
            return Trust.STANDS
        if copy is None:
            return Trust.NONE
        at = float(copy.at)
        # An unsubscribed member must have been seen by the last complete scan of the unsubscribed,
        # or since. Otherwise the opt-out was lifted elsewhere.
        if self._is_fresh(times) and (copy.member.subscribed or at >= times.fresh_from):
            return Trust.STANDS
        return Trust.SHOWS if times.now - at < self.cache_seconds else Trust.NONE

    def _is_not_on_list(self, address: str, stored: Stored, times: Times) -> bool:
        """Return whether the ledger shows that Mailgun does not hold a member.

        It has read the whole list, and since then all who unsubscribed. It was told to forget none
        in between, and what it read has not expired.
        """
        since = max(times.synced, times.forgot)
        unknown = not any(stored) and is_plain(address)
        lives = 0 < times.synced <= times.now < times.synced + self.days * 86_400
        return unknown and lives and since <= times.fresh_from and self._is_fresh(times)

    def _is_fresh(self, times: Times) -> bool:
        """Return whether those who unsubscribed were read lately, and copies may be trusted."""
        refresh = self.refresh_seconds
        return (
            refresh is not None and 0 <= times.now - times.fresh_from <= TRUST_REFRESHES * refresh
        )
