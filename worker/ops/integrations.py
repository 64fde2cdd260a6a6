"""Whether an integration is known on this Redis, and which ones are: so that a misspelt name is noticed."""

import re
import time
from typing import TYPE_CHECKING, cast

from redis.exceptions import NoPermissionError

from worker.redis_client.keys import Keys
from worker.settings import Settings

if TYPE_CHECKING:
    import redis

NAMES = {  # how keys that tell of an integration look
    "mailgun.*": re.compile(r"mailgun\.([a-z0-9][a-z0-9_-]{0,62})(\.dead_letter)?"),
    "signal:*:workers": re.compile(r"signal:([a-z0-9][a-z0-9_-]{0,62}):workers"),
}
LOOK_SECONDS = 2.0  # a Redis of many millions of keys is not gone through to the end
LOOK_KEYS = 5000  # at a time


def is_known(settings: Settings, store: "redis.Redis") -> bool:
    """Return whether anything was ever stored for the integration: an event, a hold, a worker. Raises `redis.RedisError`.

    Whoever may not look is not told anything: True.
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


def is_served(settings: Settings, store: "redis.Redis") -> bool:
    """Return whether a worker has ever served the integration's queue, as `is_known` does; a producer's user may not look."""
    return _any_exists(store, *_served(Keys(settings.signal_integration)))


def integrations(store: "redis.Redis") -> list[str]:
    """Return the names of the integrations that are found on this Redis within two seconds. Raises `redis.RedisError`."""
    ends = time.monotonic() + LOOK_SECONDS
    names: set[str] = set()
    for pattern, name in NAMES.items():
        cursor = -1
        while cursor and time.monotonic() < ends:
            try:
                cursor, keys = cast(
                    "tuple[int, list[str]]",
                    store.scan(max(cursor, 0), match=pattern, count=LOOK_KEYS),
                )
            except NoPermissionError:
                break
            names |= {found[1] for found in map(name.fullmatch, keys) if found}
    return sorted(names)


def _served(keys: Keys) -> tuple[str, ...]:
    """Return the keys that a worker leaves."""
    return keys.workers, keys.ended, keys.totals


def _any_exists(store: "redis.Redis", *keys: str) -> bool:
    try:
        return bool(store.exists(*keys))
    except NoPermissionError:
        return True
