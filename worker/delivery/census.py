"""Mailgun's members read page by page into the ledger: one request, one script for up to a hundred of them.

    signal:<integration>:member:<digest>   hash   copy, copy_at as the ledger keeps them; doubt: a page came while a delivery
                                                  had the member, so what that delivery found is no copy to keep

What a page says is as old as the moment before it was asked for. A copy that is newer stands, unless they disagree on who is
subscribed: then there is none, and the member is read anew. Which pages, and when, is for others to say.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from worker.delivery.answers import why
from worker.delivery.ledger import Ledger, copy_of
from worker.mailgun.client import Mailgun
from worker.mailgun.member import Member
from worker.mailgun.outcome import Kind, Outcome, page_outcome
from worker.mailgun.page import Page, Query

# KEYS: of each member its lock and its record. ARGV: the moment before the page was asked for, the seconds that a record lives,
# and of each member its copy and whether it is subscribed.
TAKE_IN = """
local at, lives = tonumber(ARGV[1]), ARGV[2]

local function says_otherwise(copy, subscribed)
    local readable, held = pcall(cjson.decode, copy)
    return not readable or tostring(held[2]) ~= subscribed
end

for i = 1, #KEYS, 2 do
    local key, copy, subscribed = KEYS[i + 1], ARGV[i + 2], ARGV[i + 3]
    local held, held_at, record = unpack(redis.call('HMGET', key, 'copy', 'copy_at', 'record'))
    if redis.call('EXISTS', KEYS[i]) == 1 then
        redis.call('HDEL', key, 'copy', 'copy_at')
        redis.call('HSET', key, 'doubt', 1)
    elseif held and tonumber(held_at) >= at then
        if says_otherwise(held, subscribed) then redis.call('HDEL', key, 'copy', 'copy_at') end
    else
        redis.call('HSET', key, 'copy', copy, 'copy_at', ARGV[1])
        -- The next "no" may be the recipient's. Not decoded and encoded again: that would round the times.
        local cleared, was_ours = (record or ''):gsub('"our_no":true}$', '"our_no":false}')
        if was_ours == 1 and subscribed == 'true' then redis.call('HSET', key, 'record', cleared) end
    end
    redis.call('EXPIRE', key, lives)
end
"""


@dataclass(frozen=True)
class Wait:
    """No page may be asked for during so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Census:
    """How the members of one list are read into the ledger."""

    mailgun: Mailgun
    ledger: Ledger
    clock: Callable[[], datetime]  # UTC
    told: Callable[[str, str], None]  # what to do when a hold begins or ends: its kind, and why

    def read(self, query: Query) -> Page | Wait | Outcome:
        """Read the page that `query` asks for into the ledger, if hold and pace allow; gives it, or why there is none."""
        wait, at = self.ledger.flow.pay()
        if wait > 0:
            return Wait(wait)
        found = page_outcome(self.mailgun.read_page(query), query, self.mailgun.pages_url, self.clock())
        self._report(found if isinstance(found, Outcome) else Outcome(Kind.UNCHANGED, 200))
        if isinstance(found, Page) and found.members:
            self.take_in(found.members, at)
        return found

    def take_in(self, members: tuple[Member, ...], at: float) -> None:
        """The ledger knows of these members as they were at `at`, epoch seconds by Redis's clock."""
        keys = [key for member in members for key in self.ledger.keys_of(member.address)]
        texts = [text for member in members for text in _texts(member)]
        self._take_in(keys=keys, args=[f"{at:.6f}", int(self.ledger.days * 86_400), *texts])

    def _report(self, outcome: Outcome) -> None:
        outcome, reason = replace(outcome, requests=1), why(outcome)
        hold = self.ledger.flow.report_reading(outcome, reason, self.clock())
        if hold:
            self.told(hold, reason)

    @cached_property
    def _take_in(self) -> Any:
        return self.ledger.flow.redis.register_script(TAKE_IN)


def _texts(member: Member) -> Iterator[str]:
    yield copy_of(member)
    yield "true" if member.subscribed else "false"
