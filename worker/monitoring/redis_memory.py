"""The used share of Redis's maxmemory. When all of it is used, Redis refuses producers."""

import redis

FULL = 1.0
NEARLY_FULL = 0.8


def memory_share(store: "redis.Redis") -> float | None:
    """Return the used share of `maxmemory`.

    Returns:
        1.0 or more if Redis is full; None if it has no limit, or does not allow INFO.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    try:
        facts = store.info("memory")
    except redis.ResponseError:  # INFO is not allowed
        return None
    limit, used = facts.get("maxmemory", 0), facts.get("used_memory", 0)
    return used / limit if limit else None
