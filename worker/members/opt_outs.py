"""Those who unsubscribed, read from Mailgun again and again, so that the ledger's copies of all others can be trusted.

    signal:<integration>:opt_outs   hash   fresh_from: when the last complete reading began; ended, members, seconds: of that one;
                                           since: when one was first due; began, cursor, so_far: of the one under way;
                                           token, running_until: who is at it; failures, resume_at: after failures;
                                           a day after the last turn. Moments are epoch seconds by Redis's clock

Whatever happens to a reading, `fresh_from` only ever moves when one is complete: failing, it costs requests, never consent. Any
worker takes its turn, and goes on where one that was killed stopped. A reading that began too long ago begins anew.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, assert_never, cast
from uuid import uuid4

from worker.gate.gate import ALLOW_WHEN_FULL, PAYABLE
from worker.mailgun.outcome import Outcome, endless_outcome
from worker.mailgun.page import OPTED_OUT, Page, Query, Round
from worker.members.ledger import TRUST_REFRESHES
from worker.members.page_import import PageImporter, RetryAfter
from worker.redis_client.clock import redis_now
from worker.redis_client.keys import Keys
from worker.redis_client.lua import script

if TYPE_CHECKING:
    import redis

LIVES_SECONDS = 86_400
LONGEST_READING_SECONDS = (
    3600.0  # or ten times the refresh interval: pages that go on for ever are given up
)
LONGEST_WAIT_SECONDS = (
    1.0  # that a reading waits for its next page; for longer it is given up, and gone on with later
)

START = ALLOW_WHEN_FULL + PAYABLE + script("worker.members", "opt_outs_start")
GO_ON = ALLOW_WHEN_FULL + script("worker.members", "opt_outs_go_on")
LEAVE = ALLOW_WHEN_FULL + script("worker.members", "opt_outs_leave")
COMPLETE = ALLOW_WHEN_FULL + script("worker.members", "opt_outs_complete")


@dataclass(frozen=True)
class ScanLease:
    """A reading that is this process's to go on with."""

    token: str
    query: Query  # the page to ask for
    so_far: int  # unsubscribed members on the pages before it


@dataclass(frozen=True)
class OptOutStatus:
    """What operators are told of the readings. Seconds."""

    age: (
        float | None
    )  # since the last complete one began; before the first, since it was due; None: no worker has looked
    members: int | None  # that were unsubscribed then; None: none was ever complete
    took: float | None
    trusted: bool  # the ledger's copies may be used instead of reading members one by one


@dataclass(frozen=True)
class OptOutScanner:
    """The readings of one integration."""

    page_importer: PageImporter
    refresh_seconds: float  # MAILGUN_OPT_OUT_REFRESH_SECONDS
    lease_seconds: float  # longer than any page takes
    sleep: Callable[[float], None] = time.sleep

    def try_start(self) -> ScanLease | None:
        """Is a reading due, or to be gone on with, and is it this caller's turn? Cheap: to be asked once a second."""
        token = uuid4().hex
        ages = self.refresh_seconds, TRUST_REFRESHES * self.refresh_seconds
        found = self._run(
            self._turn, token, self.lease_seconds, *ages, LONGEST_WAIT_SECONDS, LIVES_SECONDS
        )
        if not found:
            return None
        cursor, so_far = found
        return ScanLease(token, json.loads(cursor) if cursor else OPTED_OUT, int(so_far))

    def run(self, turn: ScanLease) -> Outcome | float | None:
        """Go on with a reading to its end, or as far as it goes now.

        Gives the seconds that a complete one took in all, what Mailgun answered instead of a page, or None: held, or others
        are at it by now.
        """
        query, so_far, pages = turn.query, turn.so_far, Round()
        while True:
            match self.page_importer.read(query):
                case RetryAfter(seconds) if seconds <= LONGEST_WAIT_SECONDS:
                    self.sleep(seconds)
                case RetryAfter():
                    self._run(self._leave, turn.token, "held")
                    return None
                case Outcome() as outcome:
                    self._run(self._leave, turn.token, "failed")
                    return outcome
                case Page() as page if pages.closes(page):
                    self._run(self._leave, turn.token, "failed")
                    return endless_outcome()
                case Page() as page:
                    so_far += page.unsubscribed
                    if page.following is None:
                        return self._complete(turn.token, "", so_far)
                    query = page.following
                    longest = max(LONGEST_READING_SECONDS, 10 * self.refresh_seconds)
                    if not self._run(
                        self._go_on,
                        turn.token,
                        json.dumps(query),
                        so_far,
                        self.lease_seconds,
                        longest,
                    ):
                        return None
                case never:
                    assert_never(never)

    def complete(self, began: float, members: int) -> None:
        """Everybody was read, which began then, epoch seconds by Redis's clock: so many were unsubscribed."""
        self._complete("", f"{began:.6f}", members)

    def _complete(self, token: str, began: str, members: int) -> float | None:
        took = self._run(self._ended, token, began, members, LIVES_SECONDS)
        return float(took) if took else None

    def _run(self, script: Any, *args: Any) -> Any:
        gate = self.page_importer.ledger.gate
        return script(
            keys=[*gate.keys, key(self.page_importer.ledger.integration)],
            args=[*gate.first_args(), *args],
        )

    @cached_property
    def _turn(self) -> Any:
        return self.page_importer.ledger.gate.script(START)

    @cached_property
    def _go_on(self) -> Any:
        return self.page_importer.ledger.gate.script(GO_ON)

    @cached_property
    def _leave(self) -> Any:
        return self.page_importer.ledger.gate.script(LEAVE)

    @cached_property
    def _ended(self) -> Any:
        return self.page_importer.ledger.gate.script(COMPLETE)


def key(integration: str) -> str:
    """The key of the readings."""
    return Keys(integration).opt_outs


def last_read(redis: "redis.Redis", integration: str, refresh_seconds: float) -> OptOutStatus:
    """What is known of the readings. Changes nothing. Raises `redis.RedisError`."""
    names = ("fresh_from", "since", "members", "seconds")
    fresh_from, since, members, took = cast(
        "list[str | None]", redis.hmget(key(integration), list(names))
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
