"""How far the sync of the list is: for the process that runs it, and for operators."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from worker.mailgun.page import ALL_MEMBERS, Page, Query
from worker.redis_client.clock import redis_now
from worker.redis_client.keys import Keys

if TYPE_CHECKING:
    import redis


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
        total: The number of members that the list states; None if it is not known.
        covers: The sync is complete, and none of what it read has expired.
    """

    began: str
    query: Query | None
    members: int = 0
    unsubscribed: int = 0
    requests: int = 0
    unreadable: int = 0
    seconds: float = 0.0
    total: int | None = None
    covers: bool = False

    @property
    def seen(self) -> int:
        """Return how many members the pages showed so far."""
        return self.members + self.unreadable


@dataclass(frozen=True)
class SyncStatus:
    """The state of the syncs, as operators see it.

    Attributes:
        age: The seconds since the last complete sync began; None if there was none lately.
        members: The number of members read so far by the unfinished sync; None if there is none.
        total: The number of members that the list states; None if it is not known.
        running: A process reads on.
        covers: The ledger knows all members, so an address that it does not know needs no read.
    """

    age: float | None
    members: int | None
    total: int | None
    running: bool
    covers: bool


def progress_in(pairs: Sequence[str]) -> SyncProgress:
    """Return the progress that the fields and values of `Keys.sync` describe."""
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    query = json.loads(fields.get("cursor", "null")) or ALL_MEMBERS
    return SyncProgress(
        fields["began"],
        query,
        members=_count(fields, "members"),
        unsubscribed=_count(fields, "unsubscribed"),
        requests=_count(fields, "requests"),
        unreadable=_count(fields, "unreadable"),
        seconds=float(fields.get("seconds", 0)),
        total=_count(fields, "total") or None,
    )


def _count(fields: Mapping[str, str], name: str) -> int:
    return int(fields.get(name) or 0)


def sync_status(
    redis: "redis.Redis", integration: str, *, days: float, trusted: bool
) -> SyncStatus:
    """Return the state of the syncs. Changes nothing.

    Args:
        redis: The client of Redis.
        integration: The value of SIGNAL_INTEGRATION.
        days: LEDGER_DAYS.
        trusted: Those who unsubscribed were read lately.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    keys, now = Keys(integration), redis_now(redis)
    fields = cast("dict[str, str]", redis.hgetall(keys.sync))
    synced = cast("str | None", redis.get(keys.synced))
    times = cast("list[str | None]", redis.hmget(keys.opt_outs, ["forgot", "fresh_from"]))
    forgot, fresh_from = (float(each or 0) for each in times)
    age = now - float(synced) if synced else None
    is_read = max(float(synced or 0), forgot) <= fresh_from
    return SyncStatus(
        age,
        _count(fields, "members") if "began" in fields else None,
        _count(fields, "total") or None,
        running=float(fields.get("running_until", 0)) > now,
        covers=trusted and is_read and age is not None and 0 <= age < days * 86_400,
    )


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
