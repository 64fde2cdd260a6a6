"""Everybody on the list read into the ledger: begun, done page by page, and gone on with after an interruption.

signal:<integration>:sync   hash   began (epoch seconds by Redis's clock), cursor (the next page), members, unsubscribed,
                                   unreadable, requests, seconds: so far; until it is complete, or a day after its last page
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, assert_never

from worker.mailgun.outcome import Outcome, endless_outcome
from worker.mailgun.page import EVERYBODY, Page, Query, Round
from worker.members.opt_outs import OptOutScanner
from worker.members.page_import import PageImporter, RetryAfter
from worker.redis_client.lua import script

if TYPE_CHECKING:
    import redis

MORE_MEMBERS = 10_000  # than twice as many as the list says, which may lag
LIVES_SECONDS = 86_400  # and no longer: the cursor is somebody's address

BEGIN = script("worker.members", "sync_begin")
STORE = script("worker.members", "sync_store")


class SyncReplaced(Exception):
    """Another sync of the same list was begun, and goes on in place of this one."""


@dataclass(frozen=True)
class SyncProgress:
    """How far a sync has come."""

    began: str
    query: Query | None  # the next page; None: it is complete
    members: int = 0
    unsubscribed: int = 0
    requests: int = 0
    unreadable: int = 0  # members that cannot be held as they are shown
    seconds: float = 0.0  # spent on it; interruptions do not count


@dataclass(frozen=True)
class ListSync:
    """The sync of one integration."""

    page_importer: PageImporter
    opt_outs: OptOutScanner
    monotonic: Callable[[], float] = time.monotonic

    def begin(self, *, anew: bool) -> SyncProgress:
        """The sync that was interrupted, or, if there is none or `anew`, a new one."""
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
        """Go on until it is complete: after each page how far it has come, and why there was none. Raises `SyncReplaced`.

        When to try again is for whoever takes the steps to say. Pages that lead back to one another, or show far more members
        than the list says it has (`total`), are no list: the last step says so.
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
        """The page is in the ledger by now: a crash in between reads it once more."""
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

    @cached_property
    def _begin(self) -> Any:
        return self._redis.register_script(BEGIN)

    @cached_property
    def _stored(self) -> Any:
        return self._redis.register_script(STORE)


def after(page: Page, so_far: SyncProgress, seconds: float) -> SyncProgress:
    """How far a sync has come with one more page, `seconds` spent on it in all."""
    return replace(
        so_far,
        query=page.following,
        members=so_far.members + len(page.members),
        unsubscribed=so_far.unsubscribed + page.unsubscribed,
        requests=so_far.requests + 1,
        unreadable=so_far.unreadable + len(page.unreadable),
        seconds=seconds,
    )
