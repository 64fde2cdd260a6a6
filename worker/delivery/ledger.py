"""What is known of each member: which event time set which field, whether the last "no" was ours, and a copy.

    signal:<integration>:member:<digest>   hash     record (times, our_no), copy, copy_at, doubt; LEDGER_DAYS after its last use
    signal:<integration>:lock:<digest>     string   the delivery that has the member now; a lease longer than any delivery
    signal:<integration>:opt_outs          hash     fresh_from: when the last whole reading of the unsubscribed began

Opening takes the members' locks, checks the hold and reads the records in one step; closing writes, reports and releases in one:
as many members at once as share a request. A copy is taken out on opening and put back on closing, so one whose delivery died
in between is never trusted. Losing it loses no event, but which was the newer one, and whose the "no" was.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from typing import Any, cast
from uuid import uuid4

from worker.delivery.flow import FREES, Change, Flow, Report
from worker.delivery.merge import Known
from worker.delivery.plan import Wanted
from worker.delivery.visit import Busy, Held, Opened, Visit
from worker.mailgun.member import Member

BUSY_WAIT_SECONDS = 0.25  # a thread waits no longer for members that other deliveries have
BUSY_LOOK_SECONDS = 0.02
TRUST_REFRESHES = 2  # a copy is trusted while the unsubscribed were read within so many times the refresh interval

# KEYS 3: opt_outs; then lock and record of each member.
OPEN = (
    FREES
    + """
local wait = held(true)
if wait > 0 then return {'held', tostring(wait)} end
local opened = {'open', tostring(now), redis.call('HGET', KEYS[3], 'fresh_from') or ''}
for i = 4, #KEYS, 2 do
    if redis.call('SET', KEYS[i], ARGV[2], 'NX', 'PX', ARGV[3]) then
        local record, copy, copy_at = unpack(redis.call('HMGET', KEYS[i + 1], 'record', 'copy', 'copy_at'))
        if copy then redis.call('HDEL', KEYS[i + 1], 'copy', 'copy_at') end
        opened[#opened + 1] = {record or '', copy or '', copy_at or ''}
    else
        opened[#opened + 1] = 0
    end
end
return opened
"""
)
# ARGV 2: token, 3: lease, 4: tokens to pay, 5: lives, then what is to be known of each member first, or ''.
ASK_AGAIN = (
    FREES
    + """
local wait = held(true)
if wait > 0 then return {'held', tostring(wait)} end
local mine = {'open'}
for i = 4, #KEYS, 2 do
    local known = ARGV[6 + (i - 4) / 2]
    if redis.call('GET', KEYS[i]) == ARGV[2] and redis.call('HEXISTS', KEYS[i + 1], 'doubt') == 0 then
        redis.call('PEXPIRE', KEYS[i], ARGV[3])
        if known ~= '' then redis.call('HSET', KEYS[i + 1], 'record', known) redis.call('EXPIRE', KEYS[i + 1], ARGV[5]) end
        mine[#mine + 1] = 1
    else
        mine[#mine + 1] = 0
    end
end
charge(tonumber(ARGV[4]))
return mine
"""
)
# ARGV 2: token, 3: tokens to pay, 4: lives, 5: reports, then of each member: record, copy, copy_at, milliseconds to settle.
CLOSE = (
    FREES
    + """
for i = 4, #KEYS, 2 do
    local lock, member, first = KEYS[i], KEYS[i + 1], 6 + (i - 4) * 2
    if redis.call('GET', lock) == ARGV[2] then
        local record, copy, copy_at, settles = ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3]
        local doubted = redis.call('HDEL', member, 'doubt') == 1
        if record ~= '' then redis.call('HSET', member, 'record', record) end
        if copy ~= '' and not doubted then
            redis.call('HSET', member, 'copy', copy, 'copy_at', copy_at ~= '' and copy_at or now)
        end
        redis.call('EXPIRE', member, ARGV[4])
        if settles ~= '0' then redis.call('PEXPIRE', lock, settles) else redis.call('DEL', lock) end
    end
end
charge(tonumber(ARGV[3]))
return reported(cjson.decode(ARGV[5]))
"""
)


@dataclass(frozen=True)
class Entry:
    """What the ledger holds of a member, for people."""

    known: Known
    copy: Member | None  # as Mailgun last confirmed it
    copy_at: float  # when that was, epoch seconds


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
    refresh_seconds: float | None = (
        None  # MAILGUN_OPT_OUT_REFRESH_SECONDS where copies are trusted; None: they never are
    )
    sleep: Callable[[float], None] = time.sleep

    def grouped(self, wanted: Sequence[Wanted], places: Sequence[int]) -> tuple[dict[str, list[int]], list[int]]:
        """The places by address: all events of a member go together, and none has to wait."""
        grouped: dict[str, list[int]] = {}
        for place in places:
            grouped.setdefault(wanted[place].patch.address, []).append(place)
        return grouped, []

    def open(self, addresses: Sequence[str]) -> list[Opened] | Held:
        """Take the locks of these members, each named once, and read what is known of them.

        Waits a moment where all of them are busy.
        """
        digests = [self.digest_of(each) for each in addresses]
        token = uuid4().hex
        looks = int(BUSY_WAIT_SECONDS / BUSY_LOOK_SECONDS)
        opened: list[Opened] | Held = [Busy() for _ in addresses]
        for look in range(looks):
            answer = self._run(self._open, digests, token, self._lease)
            if answer[0] == "held":
                return Held(float(answer[1]))
            opened = self._visits(answer, addresses, digests, token)
            if look + 1 == looks or any(isinstance(each, Visit) for each in opened):
                break
            self.sleep(BUSY_LOOK_SECONDS)
        return opened

    def _visits(self, answer: list[Any], addresses: Sequence[str], digests: Sequence[str], token: str) -> list[Opened]:
        now, fresh_from = float(answer[1]), float(answer[2] or 0)
        trusting = self.refresh_seconds is not None and 0 <= now - fresh_from <= TRUST_REFRESHES * self.refresh_seconds
        return [
            self._visit(address, digest, token, *found, now=now, trusted_from=fresh_from if trusting else None)
            if found
            else Busy()
            for address, digest, found in zip(addresses, digests, answer[3:], strict=True)
        ]

    def _visit(
        self,
        address: str,
        digest: str,
        token: str,
        record: str,
        copy: str,
        copy_at: str,
        *,
        now: float,
        trusted_from: float | None,
    ) -> Visit:
        member = _member(copy, address)
        at = float(copy_at or 0)
        return Visit(
            address,
            digest,
            token,
            _known(record),
            member,
            copy_at,
            fresh=member is not None and now - at < self.cache_seconds,
            # Who is unsubscribed must have been seen so by the last reading of them, or since: else it was lifted elsewhere.
            trusted=member is not None and trusted_from is not None and (member.subscribed or at >= trusted_from),
        )

    def ask_again(self, visits: Sequence[Visit], known: Sequence[Known | None], pay: float) -> list[bool] | Held:
        """May these members be written? For each: is it still this visit's, or has its lease ended, or a page of members come
        that may know better? Renews the leases.

        `known`, where given, is written first: what must be known even if this delivery dies while it asks. `pay` is what
        the request costs beyond what was paid for it.
        """
        records = [_record(each) if each else "" for each in known]
        digests = [each.digest for each in visits]
        answer = self._run(self._ask_again, digests, visits[0].token, self._lease, pay, self._lives, *records)
        return Held(float(answer[1])) if answer[0] == "held" else [bool(each) for each in answer[1:]]

    def close(self, visits: Sequence[Visit], reports: Sequence[Report], pay: float) -> list[Change]:
        """Write what was learned, report what Mailgun answered, release the members; gives the holds that began or ended.

        After a write without an answer a member is not released before that has settled.
        """
        settled = chain.from_iterable(self._closing(each) for each in visits)
        digests = [each.digest for each in visits]
        answers = json.dumps(reports)
        began = self._run(self._close, digests, visits[0].token, pay, self._lives, answers, *settled)
        return [Change(*each) for each in began]

    def look_up(self, address: str) -> "Entry | None":
        """What is known of a member, for people; changes nothing."""
        fields = cast("dict[str, str]", self.flow.redis.hgetall(self.key_of(self.digest_of(address))))
        if not fields:
            return None
        return Entry(
            _known(fields.get("record", "")),
            _member(fields.get("copy", ""), address),
            float(fields.get("copy_at") or 0),
        )

    def keys_of(self, address: str) -> tuple[str, str]:
        """The keys of a member's lock and of what is known of it."""
        digest = self.digest_of(address)
        return self.lock_of(digest), self.key_of(digest)

    def forget(self, address: str) -> int:
        """Erase what is known of a member; gives how many records there were."""
        return int(self.flow.redis.delete(self.key_of(self.digest_of(address))))

    def digest_of(self, address: str) -> str:
        """What stands for the address in keys."""
        return blake2b(address.encode("utf-8", "replace"), key=self.digest_key[:64], digest_size=16).hexdigest()

    def key_of(self, digest: str) -> str:
        """The key of a member's hash."""
        return f"signal:{self.integration}:member:{digest}"

    def lock_of(self, digest: str) -> str:
        """The key of a member's lock."""
        return f"signal:{self.integration}:lock:{digest}"

    @property
    def opt_outs_key(self) -> str:
        """The hash that says when the unsubscribed were last read."""
        return f"signal:{self.integration}:opt_outs"

    def _closing(self, visit: Visit) -> tuple[str, str, str, int]:
        record = _record(visit.learned) if visit.learned else ""
        member, at = (visit.confirmed, "") if visit.confirmed else (visit.copy, visit.copy_at)
        copy = copy_of(member) if member and not visit.in_doubt else ""
        return record, copy, at, int(self.settle_seconds * 1000) if visit.unsettled else 0

    @property
    def _lease(self) -> int:
        return int(self.lease_seconds * 1000)

    @property
    def _lives(self) -> int:
        return int(self.days * 86_400)

    def _run(self, script: Any, digests: Sequence[str], *args: Any) -> Any:
        members = chain.from_iterable((self.lock_of(each), self.key_of(each)) for each in digests)
        return script(keys=[*self.flow.keys, self.opt_outs_key, *members], args=[*self.flow.first_args(), *args])

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


def copy_of(member: Member) -> str:
    """The copy of a member, as it is stored."""
    return f"[{json.dumps(member.name)},{'true' if member.subscribed else 'false'},{member.vars_text}]"


def _member(copy: str, address: str) -> Member | None:
    if not copy:
        return None
    name, subscribed, vars_ = json.loads(copy)
    return Member(address, name, subscribed, vars_)
