"""Mailgun's members read page by page into the ledger: one request, one script for up to a hundred of them.

    signal:<integration>:member:<digest>   hash   copy, copy_at, seen_at as the ledger keeps them; doubt: a page came while
                                                  a delivery had the member, so what that found is no copy to keep

What a page says is as old as the moment before it was asked for, or older where Mailgun lags. A copy that is newer
stands, except for a "no": that goes before a "yes", and whoever wrote the "yes" is looked after. Which pages, and when,
is for others to say.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from worker.mailgun.client import MailgunClient
from worker.mailgun.member import Member
from worker.mailgun.outcome import Outcome, OutcomeKind, page_outcome, why
from worker.mailgun.page import Page, Query
from worker.members.ledger import Ledger
from worker.members.stored import copy_of
from worker.redis_client.lua import script

TAKE_IN = script("worker.members", "store_page")


@dataclass(frozen=True)
class RetryAfter:
    """No page may be asked for during so many seconds."""

    seconds: float


@dataclass(frozen=True)
class PageImporter:
    """How the members of one list are read into the ledger."""

    mailgun: MailgunClient
    ledger: Ledger
    clock: Callable[[], datetime]  # UTC
    told: Callable[[str, str], None]  # what to do when a hold begins or ends: its kind, and why

    def read(self, query: Query) -> Page | RetryAfter | Outcome:
        """Read the page that `query` asks for into the ledger, if hold and pace allow; gives it, or why there is none."""
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

    def store_page(
        self, members: tuple[Member, ...], at: float, unreadable: tuple[str, ...] = ()
    ) -> None:
        """The ledger knows of these members as they were at `at`, epoch seconds by Redis's clock.

        Of those that cannot be read it knows no copy any more: they are read before they are written.
        """
        ledger = self.ledger
        addresses = [*(member.address for member in members), *unreadable]
        keys = [key for address in addresses for key in ledger.keys_of(address)]
        texts = [text for member in members for text in _texts(member)]
        texts += [text for address in unreadable for text in ("", "", address)]
        args = [f"{at:.6f}", int(ledger.days * 86_400), ledger.lag_seconds, *texts]
        self._take_in(keys=[ledger.keys.look_after, *keys], args=args)

    def _report(self, outcome: Outcome) -> None:
        outcome, reason = replace(outcome, requests=1), why(outcome)
        hold = self.ledger.gate.record_page(outcome, reason, self.clock())
        if hold:
            self.told(hold, reason)

    @cached_property
    def _take_in(self) -> Any:
        return self.ledger.gate.redis.register_script(TAKE_IN)


def _texts(member: Member) -> Iterator[str]:
    yield copy_of(member)
    yield "true" if member.subscribed else "false"
    yield member.address
