"""Redis's clock: the one that all workers agree on, whatever their own clocks say."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis


def redis_now(store: "redis.Redis") -> float:
    """Return the moment by Redis's clock, epoch seconds. Raises `redis.RedisError`."""
    seconds, microseconds = store.time()
    return seconds + microseconds / 1e6
