"""The ledger of members and their leases: what events have set and when, whose "no" stands, a copy.

`Keys.member` holds a member's record (`record.py`), `seen_at`, `copy`, `copy_at`, `yes_at`,
`late_at` and `doubt`; `Keys.lock` holds its lease, and `Keys.released` the replies to releases, in
case a reply is lost. The ledger also reads `Keys.opt_outs` (`opt_outs.py`), `Keys.synced`
(`sync.py`) and `Keys.look_after` (`delivery/late_writes.py`).

`acquire` takes the members' locks, checks the hold and reads the records in one script. `release`
stores the records, reports Mailgun's answers and frees the locks in one script. Both take all
members that share a request. `renew` drops a copy before the member is written and `release` puts
it back, so the copy of a delivery that died in between is never trusted. If Redis loses the ledger,
no event is lost, but what events have set, and whose the "no" was.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from threading import Event
from typing import Any
from uuid import uuid4

from worker.gate.gate import Gate
from worker.gate.reports import HoldChange, RequestReport
from worker.members.copy_trust import CopyTrust, Times
from worker.members.lease import LeaseResult, Locked, MemberLease, OnHold, uptime
from worker.members.merge_plan import TimedPatch
from worker.members.record import Record
from worker.members.record_json import encode
from worker.members.stored import Stored, copy_of, moment
from worker.privacy import digest as keyed_digest
from worker.redis_client.keys import Keys
from worker.redis_client.lua import ALLOW_WHEN_FULL, script
from worker.redis_client.repeats import Repeats

ACQUIRE, RENEW, RELEASE, GIVE_UP = (
    ALLOW_WHEN_FULL + script("worker.members", "lease", "acquire"),
    ALLOW_WHEN_FULL + script("worker.members", "lease", "renew"),
    ALLOW_WHEN_FULL + script("worker.members", "lease", "release"),
    ALLOW_WHEN_FULL + script("worker.members", "lease", "give_up"),
)
NOTE_SYNC = script("worker.members", "note_sync")

NEW = Record()  # nothing is known of the member
KEY_DIGEST_BYTES = 16  # so many that no two members share a key


@dataclass(frozen=True)
class Ledger:
    """The ledger of one integration.

    Attributes:
        gate: The gate of the integration.
        integration: The value of SIGNAL_INTEGRATION.
        digest_key: The key with which addresses are hashed; its first 64 bytes count.
        lease_seconds: The length of a lease.
        cache_seconds: MAILGUN_MEMBER_CACHE_SECONDS.
        days: LEDGER_DAYS.
        settle_seconds: How long a member stays locked after a write without an answer, which
            Mailgun may still apply.
        refresh_seconds: MAILGUN_OPT_OUT_REFRESH_SECONDS if copies may replace readings; None if
            they never do.
        lag_seconds: MAILGUN_READ_LAG_SECONDS.
        list_mark: A mark of the mailing list; what was read of another list is not trusted.
        awaited: Set when a member that events wait for was released (delivery/waiting_events.py).
        repeats: The acquisitions and releases that Redis did not answer.
    """

    gate: Gate
    integration: str
    digest_key: bytes
    lease_seconds: float
    cache_seconds: float
    days: float
    settle_seconds: float
    refresh_seconds: float | None
    lag_seconds: float
    list_mark: str
    awaited: Event = field(default_factory=Event, compare=False)
    repeats: Repeats = field(default_factory=Repeats, compare=False)

    def group_by_member(
        self, patches: Sequence[TimedPatch], positions: Sequence[int]
    ) -> tuple[dict[str, list[int]], list[int]]:
        """Group the positions of patches by address, because the events of a member go together.

        Args:
            patches: The patches.
            positions: The positions in `patches` to group.

        Returns:
            The positions by address, and those that must wait for the next round: none here.
        """
        grouped: dict[str, list[int]] = {}
        for position in positions:
            grouped.setdefault(patches[position].patch.address, []).append(position)
        return grouped, []

    def acquire(self, addresses: Sequence[str]) -> list[LeaseResult] | OnHold:
        """Acquire the leases of members and read their records.

        Args:
            addresses: The members' addresses, each once.

        Returns:
            For each address, in order, its lease, or `Locked` if another delivery holds it; or
            `OnHold` if the integration is on hold, in which case no lease was acquired.

        Raises:
            redis.RedisError: Redis did not answer; `repeat` frees the locks that were taken.
        """
        keys = [self.keys_of(each) for each in addresses]
        token = uuid4().hex
        began = uptime()
        answer = self.repeats.attempt(
            partial(self._run, ACQUIRE, keys, token, self._lease_ms, self.list_mark),
            otherwise=partial(self._give_up_leases, [lock for lock, _ in keys], token),
        )
        if answer[0] == "on_hold":
            return OnHold(float(answer[1]))
        _, *moments = answer[:5]
        times, up = Times(*(float(each or 0) for each in moments)), uptime()
        return [
            self._lease_of(
                MemberLease(address, token, NEW, own, opened_at=times.now, opened_up=up),
                Stored(*found),
                times,
                began,
            )
            if found
            else Locked()
            for address, own, found in zip(addresses, keys, answer[5:], strict=True)
        ]

    def _lease_of(
        self, lease: MemberLease, stored: Stored, times: Times, began: float
    ) -> MemberLease:
        lease.record, lease.cached = stored.record_and_copy(
            lease.address, times.synced, self.lag_seconds
        )
        # What the copy shows is learned anew as long as it lies there, and else is stored.
        lease.stored = None if lease.record.no and lease.record.no.repeat else lease.record
        lease.writes_until = began + self.lease_seconds / 2
        lease.late_at = moment(stored.late_at)
        lease.trust = self._copy_trust.of(lease.address, stored, lease.cached, times)
        return lease

    def renew(
        self, leases: Sequence[MemberLease], notes: Sequence[Record], charge: float
    ) -> list[bool] | OnHold:
        """Renew the leases of members that are about to be written, and drop their copies.

        A note is stored before the write, so that it is known even if the delivery dies during the
        request.

        Args:
            leases: The leases, all of one token.
            notes: For each lease the record to store; nothing is stored if it is `lease.record`.
            charge: The requests to charge: what the write needs beyond the permits of the batch.

        Returns:
            For each lease, in order, True if the member may be written; False if the lease has
            ended, or if a page of members came meanwhile that may hold newer knowledge. `OnHold` if
            the integration is on hold, in which case nothing has changed.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        began = uptime()
        records = [
            encode(note) if note is not lease.record else ""
            for lease, note in zip(leases, notes, strict=True)
        ]
        keys = [each.keys for each in leases]
        token = leases[0].token
        answer = self._run(
            RENEW, keys, token, self._lease_ms, charge, self._record_seconds, *records
        )
        if answer[0] == "on_hold":
            return OnHold(float(answer[1]))
        ours = [bool(each) for each in answer[1:]]
        for lease, note, mine in zip(leases, notes, ours, strict=True):
            lease.writes_until = began + self.lease_seconds / 2
            if mine and note is not lease.record:
                lease.stored = note
        return ours

    def release(
        self, leases: Sequence[MemberLease], reports: Sequence[RequestReport], charge: float
    ) -> list[HoldChange]:
        """Store what was learned, report Mailgun's answers to the gate, and release the members.

        A member with a write without an answer stays locked until that write has settled, and is
        looked at again as long as Mailgun may still apply the write. A lease that has ended is
        `lost` afterwards.

        Args:
            leases: The leases, all of one token.
            reports: The reports on the requests that were sent.
            charge: The requests to charge: those that had no permit.

        Returns:
            The holds that began or ended.

        Raises:
            redis.RedisError: Redis did not answer; `repeat` releases the members.
        """
        args = list(chain.from_iterable(self._release_args(each) for each in leases))
        release_all = partial(
            self._run,
            RELEASE,
            [each.keys for each in leases],
            leases[0].token,
            charge,
            self._record_seconds,
            self.list_mark,
        )
        began, lost, awaited = self.repeats.attempt(
            partial(release_all, json.dumps(reports), *args),
            # A repeat reports no answers: the gate would take them for new ones.
            otherwise=partial(release_all, json.dumps([]), *args),
        )
        for number in lost:
            leases[number].lost = True
        if awaited:
            self.awaited.set()
        return [HoldChange(*each) for each in began]

    def repeat(self) -> None:
        """Release the members whose acquisition or release Redis did not answer.

        Raises:
            redis.RedisError: Redis does not answer; the rest is kept for the next call.
        """
        self.repeats.run()

    def keys_of(self, address: str) -> tuple[str, str]:
        """Return the Redis keys of a member's lock and of its hash."""
        digest = self.digest_of(address)
        return self.keys.lock(digest), self.keys.member(digest)

    def note_sync(self, began: float) -> bool:
        """Note that a complete sync began at `began`, epoch seconds by Redis's clock.

        A member that was not seen since does not exist. Returns False, and notes nothing, if what
        the sync read first has expired.
        """
        note = self.gate.redis.register_script(NOTE_SYNC)
        return bool(note(keys=[self.keys.synced], args=[f"{began:.6f}", self._record_seconds]))

    def digest_of(self, address: str) -> str:
        """Return the keyed digest that stands for the address in Redis keys."""
        return keyed_digest(address, self.digest_key, size=KEY_DIGEST_BYTES)

    @cached_property
    def keys(self) -> Keys:
        """Return the Redis keys of the integration."""
        return Keys(self.integration)

    def _give_up_leases(self, locks: Sequence[str], token: str) -> None:
        if self.gate.redis.register_script(GIVE_UP)(
            keys=[self.keys.look_after, self.keys.waiting, *locks], args=[token]
        ):
            self.awaited.set()

    def _release_args(self, lease: MemberLease) -> tuple[str | int, ...]:
        record = encode(lease.record) if lease.record is not lease.stored else ""
        copy, copy_at = (copy_of(lease.found.member), lease.found.at) if lease.found else ("", "")
        seen_at = lease.record.seen_at
        seen = f"{seen_at:.6f}" if seen_at is not None else ""
        settles = int(self.settle_seconds * 1000) if lease.write_pending else ""
        look_in = lease.look_again_in(self.settle_seconds, self.lag_seconds)
        return record, copy, copy_at, seen, settles, look_in, lease.address

    @cached_property
    def _copy_trust(self) -> CopyTrust:
        return CopyTrust(self.refresh_seconds, self.cache_seconds, self.days)

    @property
    def _lease_ms(self) -> int:
        return int(self.lease_seconds * 1000)

    @property
    def _record_seconds(self) -> int:
        return int(self.days * 86_400)

    def _run(self, body: str, members: Sequence[tuple[str, str]], *args: Any) -> Any:
        """Run a script for members, each named by the keys of its lock and its hash."""
        ours = self.keys.opt_outs, self.keys.synced, self.keys.look_after, self.keys.waiting
        return self.gate.run_shared(body, [*ours, *chain.from_iterable(members)], *args)
