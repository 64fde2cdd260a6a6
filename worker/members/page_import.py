"""Import pages of Mailgun's members into the ledger: one request and one script for up to 100.

A page is as old as the moment before it was requested, or older if Mailgun lags. A newer copy in
the ledger stands, with one exception: a "no" on the page replaces a "yes", and the member is marked
for a later look, because a delivery may have written the "yes" over it. If a delivery holds the
member's lease, the script notes a `doubt` in `Keys.member`, so that the release keeps no copy.

The callers choose the pages and the times: `opt_outs.py` and `sync.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from worker.mailgun.client import MailgunClient
from worker.mailgun.member import Member
from worker.mailgun.outcome import (
    Outcome,
    OutcomeKind,
    list_outcome,
    members_count,
    page_outcome,
    why,
)
from worker.mailgun.page import Page, Query
from worker.mailgun.response import Response
from worker.members.ledger import Ledger
from worker.members.stored import copy_of
from worker.redis_client.lua import script

STORE_PAGE = script("worker.members", "store_page")


class AnotherList(Exception):
    """The error of a process whose list or SIGNAL_DIGEST_KEY is not that of the workers."""


@dataclass(frozen=True)
class RetryAfter:
    """The gate lets no background request pass; the next page may be requested after `seconds`."""

    seconds: float


@dataclass(frozen=True)
class PageImporter:
    """The importer of one list's pages.

    Attributes:
        mailgun: The client of the list.
        ledger: The ledger that stores the members.
        clock: Returns the current time, UTC.
        on_hold_change: Called with the kind of a hold that a page began or ended, and the reason.
    """

    mailgun: MailgunClient
    ledger: Ledger
    clock: Callable[[], datetime]
    on_hold_change: Callable[[str, str], None]

    def read(self, query: Query) -> Page | RetryAfter | Outcome:
        """Read a page and store its members, if the gate lets a background request pass.

        Args:
            query: The query of the page.

        Returns:
            The page, whose members the ledger knows by then; `RetryAfter` if no request was sent;
            or the outcome of a request that returned no page.

        Raises:
            AnotherList: The workers have another list by now; nothing was stored.
            redis.RedisError: Redis did not answer.
        """
        wait, at = self.ledger.gate.acquire_background()
        if wait > 0:
            return RetryAfter(wait)
        found = page_outcome(
            self.mailgun.read_page(query), query, self.mailgun.pages_url, self.clock()
        )
        self._report(found if isinstance(found, Outcome) else Outcome(OutcomeKind.UNCHANGED, 200))
        if isinstance(found, Page) and (found.members or found.unreadable):
            self.store_page(found.members, at, found.unreadable)
        return found

    def count(self) -> int | None:
        """Return how many members the list states; None if that cannot be asked now.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        if self.ledger.gate.acquire_background()[0] > 0:
            return None
        answer = self.mailgun.read_list()
        self._report(list_outcome(answer, self.clock()))
        return (members_count(answer) or None) if isinstance(answer, Response) else None

    def store_page(
        self, members: tuple[Member, ...], at: float, unreadable: tuple[str, ...] = ()
    ) -> None:
        """Store the members of a page in the ledger.

        The ledger drops its older copy of an unreadable member, so a delivery reads that member
        before it writes it.

        Args:
            members: The members that the page shows.
            at: The moment before the page was requested, epoch seconds by Redis's clock.
            unreadable: The addresses of members on the page that cannot be read.

        Raises:
            AnotherList: The workers have another list by now; nothing was stored.
        """
        ledger = self.ledger
        addresses = [*(member.address for member in members), *unreadable]
        keys = [key for address in addresses for key in ledger.keys_of(address)]
        texts = [text for member in members for text in _texts(member)]
        texts += [text for address in unreadable for text in ("", "", address)]
        lives = int(ledger.days * 86_400)
        args: list[str | float] = [f"{at:.6f}", lives, ledger.lag_seconds, ledger.list_mark, *texts]
        store = ledger.gate.redis.register_script(STORE_PAGE)
        if not store(keys=[ledger.keys.look_after, ledger.keys.opt_outs, *keys], args=args):
            raise AnotherList

    def _report(self, outcome: Outcome) -> None:
        outcome, reason = outcome._replace(requests=1), why(outcome)
        hold = self.ledger.gate.record_page(outcome, reason, self.clock())
        if hold:
            self.on_hold_change(hold, reason)


def _texts(member: Member) -> Iterator[str]:
    yield copy_of(member)
    yield "true" if member.subscribed else "false"
    yield member.address
