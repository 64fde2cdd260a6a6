"""Redis's clock, which all workers share; their own clocks may differ."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis


def redis_now(store: "redis.Redis") -> float:
    """Return the time by Redis's clock, in epoch seconds.

    Raises:
        redis.RedisError: Redis did not answer, or refused.
    """
    seconds, microseconds = store.time()
    return seconds + microseconds / 1e6
