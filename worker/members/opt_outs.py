"""Scan the unsubscribed members periodically under a lease, so that other copies are trusted.

`Keys.opt_outs` holds the state; times are epoch seconds by Redis's clock. `fresh_from`, `ended`,
`members` and `seconds` describe the last complete scan: when it began and ended, how many members
were unsubscribed, and how long it took. `since` is when a scan was first due. `began`, `cursor` and
`so_far` describe the unfinished scan, `token` and `running_until` the lease of the worker that runs
it, `failures` and `resume_at` the backoff, `list` the mark of the mailing list, `moved_at` when
workers began to read that list, and `forgot` when a member was last erased from the ledger. The
hash lives a day after the last lease.

Only a complete scan or sync moves `fresh_from`, so a failed scan costs requests, never consent. Any
worker may acquire the lease, and resumes where a killed worker stopped. A scan that began too long
ago starts anew.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never, cast
from uuid import uuid4

from worker.gate.gate import BACKGROUND
from worker.mailgun.outcome import ENDLESS_PAGES, Outcome
from worker.mailgun.page import OPTED_OUT, Page, PageWalk, Query
from worker.members.copy_trust import TRUST_REFRESHES
from worker.members.page_import import AnotherList, PageImporter, RetryAfter
from worker.redis_client.clock import redis_now
from worker.redis_client.keys import Keys
from worker.redis_client.lua import ALLOW_WHEN_FULL, script

if TYPE_CHECKING:
    import redis

LIVES_SECONDS = 86_400
# The longest scan, or ten refresh intervals if that is more: pages that never end are given up.
LONGEST_READING_SECONDS = 3600.0
# The longest wait for the next page. If the gate asks for more, the scan stops and resumes later.
LONGEST_WAIT_SECONDS = 1.0

START = ALLOW_WHEN_FULL + BACKGROUND + script("worker.members", "opt_outs_start")
GO_ON = ALLOW_WHEN_FULL + script("worker.members", "opt_outs_go_on")
LEAVE = ALLOW_WHEN_FULL + script("worker.members", "leave")
COMPLETE = ALLOW_WHEN_FULL + script("worker.members", "opt_outs_complete")


@dataclass(frozen=True)
class ScanLease:
    """The lease of a scan.

    Attributes:
        token: The token of the worker that holds the lease.
        query: The query of the next page.
        so_far: The number of unsubscribed members on the pages before it.
    """

    token: str
    query: Query
    so_far: int


@dataclass(frozen=True)
class OptOutStatus:
    """The state of the scans, as operators see it.

    Attributes:
        age: The seconds since the last complete scan began; before the first one, since it was due;
            None if no worker has looked yet.
        members: How many members were unsubscribed then; None if no scan was ever complete.
        took: The seconds that the last complete scan took; None if no scan was ever complete.
        trusted: The ledger's copies may replace readings of single members.
    """

    age: float | None
    members: int | None
    took: float | None
    trusted: bool


@dataclass(frozen=True)
class OptOutScanner:
    """The scanner of one integration.

    Attributes:
        page_importer: Reads a page and stores its members.
        refresh_seconds: MAILGUN_OPT_OUT_REFRESH_SECONDS.
        lease_seconds: The length of a scan's lease, which is longer than any page takes.
        sleep: Waits for a number of seconds.
    """

    page_importer: PageImporter
    refresh_seconds: float
    lease_seconds: float
    sleep: Callable[[float], None] = time.sleep

    def try_start(self) -> ScanLease | None:
        """Acquire the lease of a scan that is due or unfinished.

        The call is cheap: housekeeping makes it once a second.

        Returns:
            The lease; None if no scan is due, another worker runs it, or the gate is closed.
        """
        token = uuid4().hex
        ages = self.refresh_seconds, TRUST_REFRESHES * self.refresh_seconds
        found = self._run(
            START,
            *(token, self.lease_seconds, *ages, LONGEST_WAIT_SECONDS, LIVES_SECONDS),
            self.page_importer.ledger.list_mark,
        )
        if not found:
            return None
        cursor, so_far = found
        return ScanLease(token, json.loads(cursor) if cursor else OPTED_OUT, int(so_far))

    def run(self, lease: ScanLease) -> Outcome | float | None:
        """Continue a scan to its end, or as far as it gets now.

        Args:
            lease: The lease that `try_start` returned.

        Returns:
            The seconds that the complete scan took in all; the outcome of a request that returned
            no page; or None if the gate closed, or another worker has the scan by now.
        """
        try:
            return self._read_on(lease)
        except AnotherList:
            return None

    def _read_on(self, lease: ScanLease) -> Outcome | float | None:
        query, so_far, pages = lease.query, lease.so_far, PageWalk()
        while True:
            match self.page_importer.read(query):
                case RetryAfter(seconds) if seconds <= LONGEST_WAIT_SECONDS:
                    self.sleep(seconds)
                case RetryAfter():
                    self._run(LEAVE, lease.token, "on_hold")
                    return None
                case Outcome() as outcome:
                    self._run(LEAVE, lease.token, "failed")
                    return outcome
                case Page() as page if pages.closes(page):
                    self._run(LEAVE, lease.token, "failed")
                    return ENDLESS_PAGES
                case Page() as page:
                    so_far += page.unsubscribed
                    if page.following is None:
                        return self._complete(lease.token, "", so_far)
                    query = page.following
                    longest = max(LONGEST_READING_SECONDS, 10 * self.refresh_seconds)
                    if not self._run(
                        GO_ON, lease.token, json.dumps(query), so_far, self.lease_seconds, longest
                    ):
                        return None
                case never:
                    assert_never(never)

    def complete(self, began: float, members: int) -> bool:
        """Note that a sync has read all members, the unsubscribed included.

        Returns False, and notes nothing, if the workers have another list by now.

        Args:
            began: When the sync began, epoch seconds by Redis's clock.
            members: The number of unsubscribed members.
        """
        return self._complete("", f"{began:.6f}", members) is not None

    def _complete(self, token: str, began: str, members: int) -> float | None:
        mark = self.page_importer.ledger.list_mark
        took = self._run(COMPLETE, token, began, members, LIVES_SECONDS, mark)
        return float(took) if took else None

    def _run(self, body: str, *args: Any) -> Any:
        ledger = self.page_importer.ledger
        return ledger.gate.run(body, [ledger.keys.opt_outs, ledger.keys.synced], *args)


def opt_out_status(redis: "redis.Redis", integration: str, refresh_seconds: float) -> OptOutStatus:
    """Return the state of the scans. Changes nothing.

    Args:
        redis: The client of Redis.
        integration: The value of SIGNAL_INTEGRATION.
        refresh_seconds: MAILGUN_OPT_OUT_REFRESH_SECONDS.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    names = ("fresh_from", "since", "members", "seconds")
    fresh_from, since, members, took = cast(
        "list[str | None]", redis.hmget(Keys(integration).opt_outs, list(names))
    )
    counts_from = fresh_from or since
    age = redis_now(redis) - float(counts_from) if counts_from else None
    return OptOutStatus(
        age=age,
        members=int(members) if members else None,
        took=float(took) if took else None,
        trusted=bool(
            fresh_from and age is not None and 0 <= age <= TRUST_REFRESHES * refresh_seconds
        ),
    )
