"""The ledger's entry of a member, as operators see it, and its erasure."""

from dataclasses import dataclass
from typing import cast

from worker.members.ledger import Ledger
from worker.members.record import Record
from worker.members.stored import Copy, Stored
from worker.redis_client.clock import redis_now

# How long it is remembered that a member was erased: as long as the state of the scans lives.
FORGOT_SECONDS = 86_400


@dataclass(frozen=True)
class LedgerEntry:
    """What the ledger holds of a member, as `signal-mailgun` shows it.

    Attributes:
        record: What is known of the member.
        copy: The member as Mailgun last confirmed it; None if there is no such copy.
        look_at: When a worker looks at the member again because of an unsettled write, epoch
            seconds by Redis's clock; None if no worker does.
    """

    record: Record
    copy: Copy | None
    look_at: float | None


def look_up(ledger: Ledger, address: str) -> LedgerEntry | None:
    """Return the ledger's entry of a member, or None if there is none. Changes nothing."""
    redis, keys = ledger.gate.redis, ledger.keys
    fields = cast("dict[str, str]", redis.hgetall(keys.member(ledger.digest_of(address))))
    look_at = redis.zscore(keys.look_after, address)
    if not fields and look_at is None:
        return None
    synced = cast("str | None", redis.get(keys.synced))
    stored = Stored(*(fields.get(name, "") for name in Stored._fields))
    return LedgerEntry(
        *stored.record_and_copy(address, float(synced or 0), ledger.lag_seconds), look_at
    )


def forget(ledger: Ledger, address: str) -> int:
    """Erase the ledger's entry of a member and the list of messages that wait for it.

    Mailgun may still hold the member. So unknown addresses are read again until the next scan of
    the unsubscribed shows who has opted out.

    Returns:
        How many of these existed: the member's hash, and its mark for a later look.
    """
    redis, keys, digest = ledger.gate.redis, ledger.keys, ledger.digest_of(address)
    if redis.exists(keys.opt_outs, keys.sync, keys.synced):
        redis.hset(keys.opt_outs, "forgot", f"{redis_now(redis):.6f}")
        redis.expire(keys.opt_outs, FORGOT_SECONDS)
    redis.delete(keys.waiting_for(digest))
    return int(redis.delete(keys.member(digest))) + int(redis.zrem(keys.look_after, address))
