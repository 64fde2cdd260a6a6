"""What Redis evicts, refuses or loses: eviction, memory and persistence, by INFO and CONFIG."""

from collections.abc import Iterator
from typing import Any, cast

import redis

from worker.ops.redis_check.result import CheckResult, failed, passed, unknown, warned

NEARLY_FULL = 0.9

Facts = dict[str, Any]


def storage_results(client: "redis.Redis", facts: Facts) -> Iterator[CheckResult]:
    """Yield the results for eviction, memory and persistence, by INFO and, if allowed, CONFIG."""
    yield _eviction_result(facts.get("maxmemory_policy") or _setting(client, "maxmemory-policy"))
    yield _memory_result(facts)
    if facts.get("aof_enabled") is None:
        yield unknown(
            "Redis persistence",
            "could not be looked at",
            "Make sure that the append-only file is on.",
        )
    elif facts["aof_enabled"]:
        yield _append_only_result(_setting(client, "appendfsync"))
    else:
        yield warned(
            "Redis persistence",
            _without_append_only(_setting(client, "save")),
            "Set appendonly yes.",
        )


def _eviction_result(policy: str | None) -> CheckResult:
    what, fix = "Redis eviction", "Set maxmemory-policy noeviction."
    if policy is None:
        return unknown(
            what,
            "maxmemory-policy could not be looked at (CONFIG is not allowed)",
            f"Make sure of it: {fix}",
        )
    if policy == "noeviction":
        return passed(what, "none (noeviction)")
    lost = (
        "locks and the ledger"
        if policy.startswith("volatile")
        else "events, dead letters, locks and the ledger"
    )
    return failed(what, f"maxmemory-policy {policy} throws away {lost} when memory is full", fix)


def _memory_result(facts: Facts) -> CheckResult:
    what, limit, used = "Redis memory", facts.get("maxmemory", 0), facts.get("used_memory", 0)
    fix = "Raise maxmemory, or let workers empty the queue."
    if not limit:
        return passed(what, "not limited (maxmemory 0)")
    share = f"{used / limit:.0%} of maxmemory used"
    if is_full(facts):
        return failed(what, f"none left ({share}): producers are refused", fix)
    if used / limit >= NEARLY_FULL:
        return warned(what, f"nearly full ({share}): producers will be refused", fix)
    return passed(what, share)


def _append_only_result(fsync: str | None) -> CheckResult:
    what = "Redis persistence"
    if fsync is None:
        return passed(
            what, "append-only file; appendfsync could not be looked at (CONFIG is not allowed)"
        )
    if fsync == "no":
        found = (
            "append-only file with appendfsync no: "
            "a crash of its machine loses what the system had not written yet"
        )
        return warned(what, found, "Set appendfsync everysec, or always.")
    return passed(what, f"append-only file, appendfsync {fsync}")


def _without_append_only(save: str | None) -> str:
    if save is None:
        kept = "snapshots could not be looked at (CONFIG is not allowed)"
    else:
        kept = f"only snapshots (save {save})" if save else "no snapshots"
    lost = "everything" if save == "" else "every event since its last snapshot"
    return f"no append-only file, {kept}: a server that ends unexpectedly loses {lost}"


def is_full(facts: Facts | None) -> bool:
    """Return True if Redis uses all the memory that it may use."""
    return facts is not None and 0 < facts.get("maxmemory", 0) <= facts.get("used_memory", 0)


def _setting(client: "redis.Redis", name: str) -> str | None:
    """Return the value of a setting by CONFIG GET, or None if it is refused or not there."""
    try:
        return cast("dict[str, str]", client.config_get(name)).get(name)
    except (redis.ResponseError, redis.ConnectionError):
        return None
