"""Discovery of the integrations on this Redis, so that an operator notices a misspelt name."""

import re
import time
from typing import cast

import redis

from worker.redis_client.keys import Keys
from worker.settings import Settings

# Pattern for SCAN → expression for the name. Keys of these forms show that an integration exists.
NAMES = {
    "mailgun.*": re.compile(r"mailgun\.([a-z0-9][a-z0-9_-]{0,62})(\.dead_letter)?"),
    "signal:*:workers": re.compile(r"signal:([a-z0-9][a-z0-9_-]{0,62}):workers"),
    "signal:*:totals": re.compile(r"signal:([a-z0-9][a-z0-9_-]{0,62}):totals"),
}
# A Redis with many millions of keys is not read to the end.
LOOK_SECONDS = 2.0
# Keys that one SCAN looks at.
LOOK_KEYS = 5000


def is_known(settings: Settings, store: redis.Redis) -> bool:
    """Return True if anything is stored for the integration: an event, a hold, a worker.

    It also returns True if the Redis user may not look. Raises `redis.RedisError`.
    """
    keys = Keys(settings.signal_integration)
    stored = (
        keys.hold,
        keys.pace,
        keys.in_flight,
        keys.delayed,
        keys.dead_letter_counts,
        keys.opt_outs,
    )
    return _any_exists(store, keys.queue, keys.dead_letters, *_served(keys), *stored)


def is_served(settings: Settings, store: redis.Redis) -> bool:
    """Return True if a worker has ever served the integration's queue.

    It also returns True if the Redis user, such as a producer's, may not look. Raises
    `redis.RedisError`.
    """
    return _any_exists(store, *_served(Keys(settings.signal_integration)))


def integrations(store: redis.Redis, *, within: float = LOOK_SECONDS) -> list[str]:
    """Return the names, sorted, of the integrations found on this Redis in `within` seconds.

    Raises `redis.RedisError`.
    """
    ends = time.monotonic() + within
    names: set[str] = set()
    for pattern, name in NAMES.items():
        cursor = -1
        while cursor and time.monotonic() < ends:
            try:
                cursor, keys = cast(
                    "tuple[int, list[str]]",
                    store.scan(max(cursor, 0), match=pattern, count=LOOK_KEYS),
                )
            except redis.exceptions.NoPermissionError:
                break
            names |= {found[1] for found in map(name.fullmatch, keys) if found}
    return sorted(names)


def _served(keys: Keys) -> tuple[str, ...]:
    """Return keys that only a worker writes."""
    return keys.workers, keys.ended, keys.totals


def _any_exists(store: redis.Redis, *keys: str) -> bool:
    try:
        return bool(store.exists(*keys))
    except redis.exceptions.NoPermissionError:
        return True
