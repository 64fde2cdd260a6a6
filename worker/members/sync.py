"""Sync the whole list into the ledger page by page; an interrupted sync resumes at its cursor.

`Keys.sync` holds the progress: `began` (epoch seconds by Redis's clock), `cursor` (the query of the
next page), and so far `members`, `unsubscribed`, `unreadable`, `requests` and `seconds`. It lives
until the sync is complete, or a day after its last page.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, assert_never

from worker.mailgun.outcome import Outcome, endless_outcome
from worker.mailgun.page import EVERYBODY, Page, Query, Round
from worker.members.opt_outs import OptOutScanner
from worker.members.page_import import PageImporter, RetryAfter
from worker.redis_client.lua import script

if TYPE_CHECKING:
    import redis

# A sync ends if it has read this many members beyond twice the list's own count, which may lag.
MORE_MEMBERS = 10_000
# Not longer, because the cursor holds a member's address.
LIVES_SECONDS = 86_400

BEGIN = script("worker.members", "sync_begin")
STORE = script("worker.members", "sync_store")


class SyncReplaced(Exception):
    """The error of a sync that another sync of the same list has replaced."""


@dataclass(frozen=True)
class SyncProgress:
    """The progress of a sync.

    Attributes:
        began: When the sync began, epoch seconds by Redis's clock, as stored.
        query: The query of the next page; None if the sync is complete.
        members: The number of members read so far.
        unsubscribed: How many of them are unsubscribed.
        requests: The number of requests sent so far.
        unreadable: The number of members that cannot be read as Mailgun shows them.
        seconds: The time spent on the sync, without interruptions.
    """

    began: str
    query: Query | None
    members: int = 0
    unsubscribed: int = 0
    requests: int = 0
    unreadable: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class ListSync:
    """The sync of one integration."""

    page_importer: PageImporter
    opt_outs: OptOutScanner
    monotonic: Callable[[], float] = time.monotonic

    def begin(self, *, anew: bool) -> SyncProgress:
        """Resume the interrupted sync, or begin one if there is none or `anew` is True."""
        pairs = self._begin(keys=[self._key], args=["anew" if anew else "", LIVES_SECONDS])
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        query = json.loads(fields.pop("cursor", "null")) or EVERYBODY
        began, seconds = fields.pop("began"), float(fields.pop("seconds", 0))
        return SyncProgress(
            began, query, **{name: int(count) for name, count in fields.items()}, seconds=seconds
        )

    def steps(
        self, so_far: SyncProgress, total: int | None = None
    ) -> Iterator[SyncProgress | RetryAfter | Outcome]:
        """Continue the sync until it is complete, one step per page.

        The caller decides when to try again after a step without a page. A sync ends with
        `endless_outcome` if its pages lead back to one another, or show far more members than
        `total`.

        Args:
            so_far: The progress that `begin` returned.
            total: The number of members that the list states; None if it is not known.

        Yields:
            The progress after each page; `RetryAfter` if no request may be sent; or the outcome of
            a request that returned no page.

        Raises:
            SyncReplaced: Another sync of the same list was begun.
        """
        started, pages = self.monotonic() - so_far.seconds, Round()
        most = math.inf if total is None else 2 * total + MORE_MEMBERS
        while so_far.query is not None:
            found = self.page_importer.read(so_far.query)
            match found:
                case RetryAfter():
                    yield found
                case Outcome():
                    so_far = replace(so_far, requests=so_far.requests + 1)
                    yield found
                case Page() if pages.closes(found) or so_far.members > most:
                    yield endless_outcome()
                    return
                case Page():
                    so_far = after(found, so_far, self.monotonic() - started)
                    self._store(so_far)
                    yield so_far
                case _:
                    assert_never(found)

    def _store(self, so_far: SyncProgress) -> None:
        # The ledger holds the page already. After a crash in between, the page is read once more.
        fields = asdict(so_far)
        began, query = fields.pop("began"), fields.pop("query")
        if query is None:
            self.opt_outs.complete(float(began), so_far.unsubscribed)
            self.page_importer.ledger.note_sync(float(began))
            self._stored(keys=[self._key], args=[began, LIVES_SECONDS])
            return
        pairs = [each for pair in {"cursor": json.dumps(query), **fields}.items() for each in pair]
        if not self._stored(keys=[self._key], args=[began, LIVES_SECONDS, *pairs]):
            raise SyncReplaced

    @property
    def _redis(self) -> "redis.Redis":
        return self.page_importer.ledger.gate.redis

    @property
    def _key(self) -> str:
        return self.page_importer.ledger.keys.sync

    _begin = cached_property(lambda self: self._redis.register_script(BEGIN))
    _stored = cached_property(lambda self: self._redis.register_script(STORE))


def after(page: Page, so_far: SyncProgress, seconds: float) -> SyncProgress:
    """Return the progress of a sync after one more page.

    Args:
        page: The page that was read.
        so_far: The progress before it.
        seconds: The time spent on the whole sync.
    """
    return replace(
        so_far,
        query=page.following,
        members=so_far.members + len(page.members),
        unsubscribed=so_far.unsubscribed + page.unsubscribed,
        requests=so_far.requests + 1,
        unreadable=so_far.unreadable + len(page.unreadable),
        seconds=seconds,
    )
