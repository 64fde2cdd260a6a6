"""How much of the memory that Redis may use is used: at all of it producers are refused."""

from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from collections.abc import Mapping

FULL = 1.0
NEARLY_FULL = 0.8


def memory_share(store: "redis.Redis") -> float | None:
    """Return the share of `maxmemory` that is used, 1 or more if Redis is full; None without a limit, or the right to ask.

    Raises `redis.RedisError` if Redis does not answer.
    """
    try:
        return share_in(store.info("memory"))
    except redis.ResponseError:  # INFO is not allowed
        return None


def share_in(facts: "Mapping[str, Any]") -> float | None:
    """Return the same from what INFO tells."""
    limit, used = facts.get("maxmemory", 0), facts.get("used_memory", 0)
    return used / limit if limit else None
