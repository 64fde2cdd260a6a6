"""What is known of each member: which event time set which field, whether the last "no" was ours, and a short-lived copy.

    signal:<integration>:member:<digest>   hash     record (times, our_no), copy, copy_at; LEDGER_DAYS after its last use
    signal:<integration>:lock:<digest>     string   the delivery that has the member now; a lease longer than any delivery

Opening takes the lock, checks the hold and reads the record in one step; closing writes, reports and releases in one. A copy is
taken out on opening and put back on closing, so one whose delivery died in between is never trusted. Losing it loses no event,
but which was the newer one, and whose the "no" was.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any, cast
from uuid import uuid4

from worker.delivery.flow import FREES, Flow, reported
from worker.delivery.merge import Known
from worker.mailgun.member import Member
from worker.mailgun.outcome import Outcome

BUSY_WAIT_SECONDS = 0.25  # a thread waits no longer for a member that another delivery has
BUSY_LOOK_SECONDS = 0.02

OPEN = (
    FREES
    + """
local wait = held(true)
if wait > 0 then return {'held', tostring(wait)} end
if not redis.call('SET', KEYS[3], ARGV[2], 'NX', 'PX', ARGV[3]) then return {'busy', ''} end
local record, copy, copy_at = unpack(redis.call('HMGET', KEYS[4], 'record', 'copy', 'copy_at'))
redis.call('HDEL', KEYS[4], 'copy', 'copy_at')
local fresh = copy and now - copy_at < tonumber(ARGV[4])
return {'open', record or '', fresh and copy or '', copy_at or ''}
"""
)
ASK_AGAIN = (
    FREES
    + """
local wait = held(true)
if wait > 0 then return {'held', tostring(wait)} end
if redis.call('GET', KEYS[3]) ~= ARGV[2] then return {'busy', ''} end
redis.call('PEXPIRE', KEYS[3], ARGV[6])
charge(tonumber(ARGV[3]))
if ARGV[4] ~= '' then redis.call('HSET', KEYS[4], 'record', ARGV[4]) redis.call('EXPIRE', KEYS[4], ARGV[5]) end
return {'open', ''}
"""
)
CLOSE = (
    FREES
    + """
if redis.call('GET', KEYS[3]) == ARGV[6] then
    if ARGV[7] ~= '' then redis.call('HSET', KEYS[4], 'record', ARGV[7]) end
    if ARGV[8] ~= '' then redis.call('HSET', KEYS[4], 'copy', ARGV[8], 'copy_at', ARGV[9] ~= '' and ARGV[9] or now) end
    redis.call('EXPIRE', KEYS[4], ARGV[10])
    if ARGV[11] ~= '0' then redis.call('PEXPIRE', KEYS[3], ARGV[11]) else redis.call('DEL', KEYS[3]) end
end
return report(ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5])
"""
)


@dataclass
class Visit:
    """A member that this delivery has to itself."""

    digest: str
    token: str
    known: Known
    copy: Member | None  # as Mailgun confirmed it, younger than the cache allows
    copy_at: str = ""  # when that was
    requests: int = 0  # made on this visit
    confirmed: Member | None = field(default=None)  # what Mailgun confirmed on this visit
    learned: Known | None = None  # what is known after it


@dataclass(frozen=True)
class Entry:
    """What the ledger holds of a member, for people."""

    known: Known
    copy: Member | None  # as Mailgun last confirmed it
    copy_at: float  # when that was, epoch seconds


@dataclass(frozen=True)
class Held:
    """Nobody may ask Mailgun for so many seconds."""

    seconds: float


class Busy:
    """Another delivery has the member."""


@dataclass(frozen=True)
class Ledger:
    """The ledger of one integration."""

    flow: Flow
    integration: str
    digest_key: bytes
    lease_seconds: float
    cache_seconds: float  # MAILGUN_MEMBER_CACHE_SECONDS
    days: float  # LEDGER_DAYS
    settle_seconds: float = 0.0  # a write without an answer may yet be applied: nobody has the member meanwhile
    sleep: Callable[[float], None] = time.sleep

    def open(self, address: str) -> Visit | Held | Busy:
        """Take the member's lock and read what is known of it; waits a moment for one that is busy."""
        digest = self._digest(address)
        token = uuid4().hex
        for _ in range(int(BUSY_WAIT_SECONDS / BUSY_LOOK_SECONDS)):
            answer = self._run(self._open, digest, token, self._lease, self.cache_seconds)
            if answer[0] == "held":
                return Held(float(answer[1]))
            if answer[0] == "open":
                return Visit(digest, token, _known(answer[1]), _member(answer[2], address), answer[3])
            self.sleep(BUSY_LOOK_SECONDS)
        return Busy()

    def ask_again(self, visit: Visit, known: Known | None) -> Held | Busy | None:
        """May the member be written on this visit? None, or why not: `Busy` where the lease ended and another may have it.

        `known`, where given, is written first: what must be known even if this delivery dies while it asks.
        """
        record = _record(known) if known else ""
        unpaid = 1 if visit.requests else 0  # the first request was paid for when the event was taken
        answer = self._run(self._ask_again, visit.digest, visit.token, unpaid, record, self._lives, self._lease)
        match answer[0]:
            case "held":
                return Held(float(answer[1]))
            case "busy":
                return Busy()
            case _:
                return None

    def close(self, visit: Visit, outcome: Outcome, why: str, now: datetime) -> str:
        """Write what was learned, report the outcome, release the member; gives the hold that began or ended, or "".

        After a write without an answer the member is not released before that has settled.
        """
        record = _record(visit.learned) if visit.learned else ""
        settles = int(self.settle_seconds * 1000) if outcome.unsettled else 0
        member, at = (visit.confirmed, "") if visit.requests else (visit.copy, visit.copy_at)
        copy = json.dumps([member.name, member.subscribed, member.vars]) if member else ""
        report = reported(outcome, why, now)
        return str(self._run(self._close, visit.digest, *report, visit.token, record, copy, at, self._lives, settles))

    def look_up(self, address: str) -> "Entry | None":
        """What is known of a member, for people; changes nothing."""
        fields = cast("dict[str, str]", self.flow.redis.hgetall(self._key(self._digest(address))))
        if not fields:
            return None
        return Entry(
            _known(fields.get("record", "")),
            _member(fields.get("copy", ""), address),
            float(fields.get("copy_at") or 0),
        )

    def keys_of(self, address: str) -> tuple[str, str]:
        """The keys of a member's lock and of what is known of it."""
        digest = self._digest(address)
        return f"signal:{self.integration}:lock:{digest}", self._key(digest)

    def forget(self, address: str) -> int:
        """Erase what is known of a member; gives how many records there were."""
        return int(self.flow.redis.delete(self._key(self._digest(address))))

    @property
    def _lease(self) -> int:
        return int(self.lease_seconds * 1000)

    @property
    def _lives(self) -> int:
        return int(self.days * 86_400)

    def _digest(self, address: str) -> str:
        return blake2b(address.encode("utf-8", "replace"), key=self.digest_key[:64], digest_size=16).hexdigest()

    def _key(self, digest: str) -> str:
        return f"signal:{self.integration}:member:{digest}"

    def _run(self, script: Any, digest: str, *args: Any) -> Any:
        script_keys = [*self.flow.keys, f"signal:{self.integration}:lock:{digest}", self._key(digest)]
        return script(keys=script_keys, args=[*self.flow.first_args(), *args])

    @cached_property
    def _open(self) -> Any:
        return self.flow.script(OPEN)

    @cached_property
    def _ask_again(self) -> Any:
        return self.flow.script(ASK_AGAIN)

    @cached_property
    def _close(self) -> Any:
        return self.flow.script(CLOSE)


def _record(known: Known) -> str:
    return json.dumps({"times": known.times, "our_no": known.our_no}, separators=(",", ":"))


def _known(record: str) -> Known:
    data = json.loads(record) if record else {}
    return Known(data.get("times", {}), our_no=data.get("our_no", False))


def _member(copy: str, address: str) -> Member | None:
    if not copy:
        return None
    name, subscribed, vars_ = json.loads(copy)
    return Member(address, name, subscribed, vars_)
