"""Sync the whole list into the ledger page by page; an interrupted sync resumes at its cursor.

`Keys.sync` holds the progress: `began` (epoch seconds by Redis's clock), `cursor` (the query of the
next page), so far `members`, `unsubscribed`, `unreadable`, `requests` and `seconds`, and `total`,
the members that the list states. `token` and `running_until` are the lease of the process that runs
it, `failures` and `resume_at` the backoff, `list` the mark of the mailing list. The hash lives
until the sync is complete, or a day after its last page.

An operator begins a sync at any time (`begin`); workers begin one if it is due (`try_start`), one
worker at a time.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, assert_never
from uuid import uuid4

from worker.gate.gate import BACKGROUND
from worker.mailgun.outcome import ENDLESS_PAGES, TOO_FEW_MEMBERS, Outcome
from worker.mailgun.page import Page, PageWalk
from worker.members.opt_outs import LEAVE, LONGEST_WAIT_SECONDS, OptOutScanner
from worker.members.page_import import AnotherList, PageImporter, RetryAfter
from worker.members.sync_progress import SyncProgress, after, progress_in
from worker.redis_client.lua import ALLOW_WHEN_FULL, script

if TYPE_CHECKING:
    import redis

# A sync ends if it has read this many members beyond twice the list's own count, which may lag.
MORE_MEMBERS = 10_000
# A last page is believed if at least this share of the list's own count was read, which may lag.
LEAST_SHARE = 0.9
# Not longer, because the cursor holds a member's address.
LIVES_SECONDS = 86_400
COUNTS = ("members", "unsubscribed", "requests", "unreadable")

# Workers sync again after this share of LEDGER_DAYS, before what the last sync stored expires.
DUE_AGAIN = 0.5

BEGIN = script("worker.members", "sync_begin")
START = ALLOW_WHEN_FULL + BACKGROUND + script("worker.members", "sync_start")
STORE = script("worker.members", "sync_store")


class SyncReplaced(Exception):
    """The error of a sync that another process goes on with, or has begun anew."""


@dataclass(frozen=True)
class ListSync:
    """The sync of one integration, as one process runs it.

    Attributes:
        page_importer: Reads a page and stores its members.
        opt_outs: The scan of the unsubscribed, which a complete sync replaces.
        monotonic: Returns seconds that never go back.
        token: The token of the lease.
    """

    page_importer: PageImporter
    opt_outs: OptOutScanner
    monotonic: Callable[[], float] = time.monotonic
    token: str = field(default_factory=lambda: uuid4().hex, compare=False)

    def begin(self, *, anew: bool) -> SyncProgress:
        """Resume the interrupted sync, or begin one if there is none or `anew` is True.

        A process that runs it stops.
        """
        mark = self.page_importer.ledger.list_mark
        args = ["anew" if anew else "", LIVES_SECONDS, self.token, self._lease, mark]
        keys = [self._key, self.page_importer.ledger.keys.opt_outs]
        return progress_in(self._redis.register_script(BEGIN)(keys=keys, args=args))

    def try_start(self) -> SyncProgress | None:
        """Acquire the lease of a sync that is due or unfinished.

        The call is cheap: housekeeping makes it once a second.

        Returns:
            The progress so far; None if no sync is due, another process runs it, or the gate is
            closed.
        """
        ledger = self.page_importer.ledger
        due_again = DUE_AGAIN * ledger.days * 86_400
        pairs = ledger.gate.run(
            START,
            [self._key, ledger.keys.synced],
            *(self.token, self._lease, due_again, LONGEST_WAIT_SECONDS, LIVES_SECONDS),
            ledger.list_mark,
        )
        return progress_in(pairs) if pairs else None

    def leave(self, *, failed: bool) -> None:
        """Release the lease, so that any process may go on; after a failure not at once."""
        gate = self.page_importer.ledger.gate
        gate.run(LEAVE, [self._key], self.token, "failed" if failed else "on_hold")

    def steps(
        self, so_far: SyncProgress, total: int | None = None
    ) -> Iterator[SyncProgress | RetryAfter | Outcome]:
        """Continue the sync until it is complete, one step per page.

        The caller decides when to try again after a step without a page. A sync ends with
        `ENDLESS_PAGES` if its pages lead back to one another, or show far more members than
        `total`. If they end long before `total`, the last page is asked for again: the members that
        it left out would count as new contacts.

        Args:
            so_far: The progress that `begin` returned.
            total: The number of members that the list states; None if it was not asked now.

        Yields:
            The progress after each page; `RetryAfter` if no request may be sent; or the outcome of
            a request that returned no page.

        Raises:
            SyncReplaced: Another process has the sync by now.
            AnotherList: The workers have another list by now.
        """
        started, pages = self.monotonic() - so_far.seconds, PageWalk()
        so_far = replace(so_far, total=so_far.total if total is None else total)
        most = math.inf if so_far.total is None else 2 * so_far.total + MORE_MEMBERS
        while so_far.query is not None:
            found = self.page_importer.read(so_far.query)
            match found:
                case RetryAfter():
                    self._renew("wait")
                    yield found
                case Outcome():
                    so_far = replace(so_far, requests=so_far.requests + 1)
                    yield found
                case Page() if pages.closes(found) or so_far.members > most:
                    yield ENDLESS_PAGES
                    return
                case Page():
                    read = after(found, so_far, self.monotonic() - started)
                    if read.query is None and read.seen < LEAST_SHARE * (read.total or 0):
                        so_far = replace(so_far, requests=read.requests)
                        yield TOO_FEW_MEMBERS
                        continue
                    so_far = replace(read, covers=self._store(read))
                    yield so_far
                case _:
                    assert_never(found)

    def _store(self, so_far: SyncProgress) -> bool:
        """Store the progress after a page, and return whether the ledger knows all members now."""
        # The ledger holds the page already. After a crash in between, the page is read once more.
        if so_far.query is None:
            if not self.opt_outs.complete(float(so_far.began), so_far.unsubscribed):
                raise AnotherList
            noted = self.page_importer.ledger.note_sync(float(so_far.began))
            with suppress(SyncReplaced):
                self._renew("end")
            return noted
        counts = {each: getattr(so_far, each) for each in COUNTS}
        cursor, seconds, total = json.dumps(so_far.query), so_far.seconds, so_far.total
        self._renew("page", cursor=cursor, seconds=seconds, total=total, **counts)
        return False

    def _renew(self, after: str, **fields: Any) -> None:
        """Renew the lease `after` a "page", whose progress is stored, a "wait", or the "end".

        Raises:
            SyncReplaced: Another process has the sync by now.
        """
        pairs = chain.from_iterable(each for each in fields.items() if each[1] is not None)
        args = [self.token, LIVES_SECONDS, self._lease, after, *pairs]
        if not self._redis.register_script(STORE)(keys=[self._key], args=args):
            raise SyncReplaced

    @property
    def _lease(self) -> float:
        return self.opt_outs.lease_seconds

    @property
    def _redis(self) -> "redis.Redis":
        return self.page_importer.ledger.gate.redis

    @property
    def _key(self) -> str:
        return self.page_importer.ledger.keys.sync
