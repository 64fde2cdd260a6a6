"""What is known of each member: what events have set and when, whose the last "no" was, and a copy.

    signal:<integration>:member:<digest>   hash     record (record.py), seen_at, copy, copy_at, yes_at, late_at,
                                                    doubt; LEDGER_DAYS after its last use
    signal:<integration>:lock:<digest>     string   the delivery that has the member; a lease longer than any delivery
    signal:<integration>:closed:<token>    hash     how members were closed, should the reply be lost; a minute
    signal:<integration>:opt_outs          hash     fresh_from: when the last whole reading of the unsubscribed began
    signal:<integration>:synced            string   when the last whole reading of everybody began; LEDGER_DAYS
    signal:<integration>:look_after        set      address -> when it is to be looked at again (look_after.py)

Opening takes the members' locks, checks the hold and reads the records in one step; closing writes, reports and
releases in one: as many members at once as share a request. A copy is dropped before the member is written and put
back on closing, so one whose delivery died in between is never trusted. Losing the ledger loses no event, but what
events have set, and whose the "no" was.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import blake2b
from itertools import chain
from threading import Event
from typing import Any, NamedTuple, cast
from uuid import uuid4

from worker.gate.gate import ALLOW_WHEN_FULL, Gate, HoldChange, RequestReport
from worker.members.lease import LeaseResult, Locked, MemberLease, OnHold, Trust, uptime
from worker.members.merge_plan import TimedPatch
from worker.members.record import Record, encoded
from worker.members.stored import Copy, Stored, copy_of, moment
from worker.redis_client.keys import Keys
from worker.redis_client.lua import script
from worker.redis_client.repeats import Repeats

FIRST_LOOK_SECONDS = 1.0  # at the earliest, after a write whose end is not known
TRUST_REFRESHES = 2  # a copy is trusted while the unsubscribed were read within so many times the refresh interval

OPEN, ASK_AGAIN, CLOSE, GIVE_UP = (
    ALLOW_WHEN_FULL + script("worker.members", "lease", "open"),
    ALLOW_WHEN_FULL + script("worker.members", "lease", "ask_again"),
    ALLOW_WHEN_FULL + script("worker.members", "lease", "close"),
    ALLOW_WHEN_FULL + script("worker.members", "lease", "give_up"),
)
NOTE_SYNC = script("worker.members", "note_sync")

NEW = Record()  # nothing is known of the member


@dataclass(frozen=True)
class LedgerEntry:
    """What the ledger holds of a member, for people."""

    record: Record
    copy: Copy | None  # as Mailgun last confirmed it
    look_at: float | None  # when it is to be looked at again, because of a write without an answer


@dataclass(frozen=True)
class Ledger:
    """The ledger of one integration."""

    gate: Gate
    integration: str
    digest_key: bytes
    lease_seconds: float
    cache_seconds: float  # MAILGUN_MEMBER_CACHE_SECONDS
    days: float  # LEDGER_DAYS
    settle_seconds: float = (
        0.0  # a write without an answer may yet be applied: nobody has the member meanwhile
    )
    refresh_seconds: float | None = (
        None  # MAILGUN_OPT_OUT_REFRESH_SECONDS where copies are trusted; None: they never are
    )
    lag_seconds: float = 0.0  # MAILGUN_READ_LAG_SECONDS
    # Set when a member was released that events wait for (waiting.py).
    awaited: Event = field(default_factory=Event, compare=False)
    repeats: Repeats = field(default_factory=Repeats, compare=False)

    def group_by_member(
        self, wanted: Sequence[TimedPatch], places: Sequence[int]
    ) -> tuple[dict[str, list[int]], list[int]]:
        """The places by address: all events of a member go together, and none has to wait."""
        grouped: dict[str, list[int]] = {}
        for place in places:
            grouped.setdefault(wanted[place].patch.address, []).append(place)
        return grouped, []

    def acquire(self, addresses: Sequence[str]) -> list[LeaseResult] | OnHold:
        """Take the locks of these members, each named once, and read what is known of them."""
        digests = [self.digest_of(each) for each in addresses]
        token = uuid4().hex
        began = uptime()
        answer = self.repeats.attempt(
            partial(self._run, self._open, digests, token, self._lease),
            otherwise=partial(self._release, [self.keys.lock(each) for each in digests], token),
        )
        if answer[0] == "held":
            return OnHold(float(answer[1]))
        return self._opened(answer, addresses, digests, token, began)

    def _opened(
        self,
        answer: list[Any],
        addresses: Sequence[str],
        digests: Sequence[str],
        token: str,
        began: float,
    ) -> list[LeaseResult]:
        _, *moments = answer[:4]
        seen, up = _Seen(*(float(each or 0) for each in moments)), uptime()
        return [
            self._visit(
                MemberLease(address, digest, token, NEW, opened_at=seen.now, opened_up=up),
                Stored(*found),
                seen,
                began,
            )
            if found
            else Locked()
            for address, digest, found in zip(addresses, digests, answer[4:], strict=True)
        ]

    def _visit(
        self, lease: MemberLease, stored: Stored, seen: "_Seen", began: float
    ) -> MemberLease:
        lease.record, lease.cached = stored.known(lease.address, seen.synced, self.lag_seconds)
        lease.stored = lease.record
        lease.writes_until = began + self.lease_seconds / 2
        lease.late_at = moment(stored.late_at)
        lease.trust = self._trust(lease.cached, seen)
        return lease

    def _trust(self, copy: Copy | None, seen: "_Seen") -> Trust:
        if copy is None:
            return Trust.NONE
        at, refresh = float(copy.at), self.refresh_seconds
        trusting = (
            refresh is not None and 0 <= seen.now - seen.fresh_from <= TRUST_REFRESHES * refresh
        )
        # Who is unsubscribed must have been seen so by the last reading of them, or since: else it was lifted elsewhere.
        if trusting and (copy.member.subscribed or at >= seen.fresh_from):
            return Trust.STANDS
        return Trust.SHOWS if seen.now - at < self.cache_seconds else Trust.NONE

    def renew(
        self, leases: Sequence[MemberLease], notes: Sequence[Record], pay: float
    ) -> list[bool] | OnHold:
        """May these members be written? For each: is it still this visit's, or has its lease ended, or a page of members come
        that may know better? Renews the leases.

        Of `notes`, what is not known yet is written first: it must be known even if this delivery dies while it asks. `pay` is
        what the request costs beyond what was paid for it.
        """
        began = uptime()
        records = [
            encoded(note) if note is not lease.record else ""
            for lease, note in zip(leases, notes, strict=True)
        ]
        digests = [each.digest for each in leases]
        answer = self._run(
            self._ask_again, digests, leases[0].token, self._lease, pay, self._lives, *records
        )
        if answer[0] == "held":
            return OnHold(float(answer[1]))
        ours = [bool(each) for each in answer[1:]]
        for lease, note, mine in zip(leases, notes, ours, strict=True):
            lease.writes_until = began + self.lease_seconds / 2
            if mine and note is not lease.record:
                lease.stored = note
        return ours

    def release(
        self, leases: Sequence[MemberLease], reports: Sequence[RequestReport], pay: float
    ) -> list[HoldChange]:
        """Write what was learned, report what Mailgun answered, release the members; gives the holds that began or ended.

        After a write without an answer a member is not released before that has settled, and is looked after for as long as it
        may yet be applied. A visit whose lease has ended is `lost` afterwards.
        """
        closing = list(chain.from_iterable(self._closing(each) for each in leases))
        close = partial(
            self._run,
            self._close,
            [each.digest for each in leases],
            leases[0].token,
            pay,
            self._lives,
        )
        began, lost, awaited = self.repeats.attempt(
            partial(close, json.dumps(reports), *closing),
            otherwise=partial(
                close, json.dumps([]), *closing
            ),  # later the answers would be told as new
        )
        for number in lost:
            leases[number].lost = True
        if awaited:
            self.awaited.set()
        return [HoldChange(*each) for each in began]

    def repeat(self) -> None:
        """Release the members whose opening or closing Redis did not answer. Raises `redis.RedisError`."""
        self.repeats.run()

    def look_up(self, address: str) -> "LedgerEntry | None":
        """What is known of a member, for people; changes nothing."""
        key = self.keys.member(self.digest_of(address))
        fields = cast("dict[str, str]", self.gate.redis.hgetall(key))
        look_at = self.gate.redis.zscore(self.keys.look_after, address)
        if not fields and look_at is None:
            return None
        synced = cast("str | None", self.gate.redis.get(self.keys.synced))
        stored = Stored(*(fields.get(name, "") for name in Stored._fields))
        return LedgerEntry(*stored.known(address, float(synced or 0), self.lag_seconds), look_at)

    def keys_of(self, address: str) -> tuple[str, str]:
        """The keys of a member's lock and of what is known of it."""
        digest = self.digest_of(address)
        return self.keys.lock(digest), self.keys.member(digest)

    def forget(self, address: str) -> int:
        """Erase what is known of a member; gives how many records there were."""
        redis, digest = self.gate.redis, self.digest_of(address)
        redis.delete(self.keys.waiting_for(digest))
        return int(redis.delete(self.keys.member(digest))) + int(
            redis.zrem(self.keys.look_after, address)
        )

    def note_sync(self, began: float) -> None:
        """Everybody was read, which began then, epoch seconds by Redis's clock: members that were not seen since do not exist."""
        self._note_sync(keys=[self.keys.synced], args=[f"{began:.6f}", self._lives])

    def digest_of(self, address: str) -> str:
        """What stands for the address in keys."""
        return blake2b(
            address.encode("utf-8", "replace"), key=self.digest_key[:64], digest_size=16
        ).hexdigest()

    @cached_property
    def keys(self) -> Keys:
        """The keys of the integration."""
        return Keys(self.integration)

    def _release(self, locks: Sequence[str], token: str) -> None:
        if self._give_up(keys=[self.keys.look_after, self.keys.waiting, *locks], args=[token]):
            self.awaited.set()

    def _closing(self, lease: MemberLease) -> tuple[str | int, ...]:
        record = encoded(lease.record) if lease.record is not lease.stored else ""
        copy, copy_at = (copy_of(lease.found.member), lease.found.at) if lease.found else ("", "")
        seen_at = lease.record.seen_at
        seen = f"{seen_at:.6f}" if seen_at is not None else ""
        settles = int(self.settle_seconds * 1000) if lease.write_pending else ""
        return record, copy, copy_at, seen, settles, self._look_again_in(lease), lease.address

    def _look_again_in(self, lease: MemberLease) -> str:
        """Return the seconds: first when the write must have settled, then as long again as it is since; "0" at the end."""
        if lease.write_pending:
            return f"{max(FIRST_LOOK_SECONDS, self.settle_seconds):.3f}"
        if not lease.looks:
            return ""
        age = lease.now() - lease.late_at if lease.late_at is not None else self.lag_seconds
        left = self.lag_seconds - age
        return f"{max(FIRST_LOOK_SECONDS, min(age, left)):.3f}" if left > 0 else "0"

    @property
    def _lease(self) -> int:
        return int(self.lease_seconds * 1000)

    @property
    def _lives(self) -> int:
        return int(self.days * 86_400)

    def _run(self, script: Any, digests: Sequence[str], *args: Any) -> Any:
        members = chain.from_iterable(
            (self.keys.lock(each), self.keys.member(each)) for each in digests
        )
        ours = self.keys.opt_outs, self.keys.synced, self.keys.look_after, self.keys.waiting
        keys = [*self.gate.keys, *ours, *members]
        return script(keys=keys, args=[*self.gate.first_args(), *args])

    @cached_property
    def _open(self) -> Any:
        return self.gate.script(OPEN)

    @cached_property
    def _give_up(self) -> Any:
        return self.gate.redis.register_script(GIVE_UP)

    @cached_property
    def _ask_again(self) -> Any:
        return self.gate.script(ASK_AGAIN)

    @cached_property
    def _note_sync(self) -> Any:
        return self.gate.redis.register_script(NOTE_SYNC)

    @cached_property
    def _close(self) -> Any:
        return self.gate.script(CLOSE)


class _Seen(NamedTuple):
    """Moments by Redis's clock, epoch seconds: the present one, and when the last whole readings began; 0: never."""

    now: float
    fresh_from: float
    synced: float
