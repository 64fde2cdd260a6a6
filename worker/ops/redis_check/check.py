"""Health check of the Redis of REDIS_URL: can workers deliver, could it lose events, and the fix.

The check changes nothing there. What the server does not let this user see (INFO, CONFIG) is
reported as unknown, not as wrong.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.ops.redis_check.errors import Trouble, describe_redis_error, too_old_fix
from worker.ops.redis_check.known_errors import OLDEST_VERSION, ONE_SERVER, TO_PRIMARY
from worker.ops.redis_check.result import CheckResult, failed, passed, unknown, warned
from worker.ops.redis_check.rights import WORKERS_USER, Who
from worker.ops.redis_check.rights_trial import Missing, Trial, try_rights
from worker.redis_client.client import connect, where

NEARLY_FULL = 0.9
WAIT_SECONDS = 5.0
VERSION = ".".join(map(str, OLDEST_VERSION))
APPEND_ONLY = "Set appendonly yes."
NEEDED_BY = {
    Who.WORKER: "workers need",
    Who.REMOTE: "Flower needs to see workers",
    Who.COMMANDS: "the command line needs",
}

Facts = dict[str, Any]


@dataclass(frozen=True)
class RedisReport:
    """The results of all looks at Redis.

    Attributes:
        results: One or more results for each look.
        answered: False if Redis was away or not ready, so that most looks are still to come.
    """

    results: tuple[CheckResult, ...]
    answered: bool = True

    @property
    def ending(self) -> CheckResult | None:
        """Return the first result with which a worker ends, or None."""
        return next((each for each in self.results if each.ends_worker), None)


def report_on_redis(
    url: str, integration: str, *, wait_seconds: float = WAIT_SECONDS
) -> RedisReport:
    """Check the Redis at `url`, and report.

    A look takes at most a few times `wait_seconds`, the time-out of each connection and reply.
    """
    options: dict[str, Any] = {
        "socket_timeout": wait_seconds,
        "socket_connect_timeout": wait_seconds,
    }
    client = connect(url, retry=Retry(NoBackoff(), 0), **options)
    results: list[CheckResult] = []
    try:
        results.extend(_looks(client, url, integration))
    except (redis.RedisError, OSError) as error:
        trouble = _diagnose(error, url, options)
        return RedisReport((of_trouble(trouble), *results), trouble.answered)
    finally:
        client.close()
    return RedisReport(tuple(results))


def of_trouble(trouble: Trouble) -> CheckResult:
    """Return the trouble as a result."""
    return failed("Redis", trouble.found, trouble.fix, ends_worker=not trouble.passes)


def _diagnose(error: BaseException, url: str, options: dict[str, Any]) -> Trouble:
    trouble = describe_redis_error(error, url)
    # A Cluster has only database 0. Of another one it says only that this is not there.
    if "database" in trouble.found:
        client = connect(url, retry=Retry(NoBackoff(), 0), **options)
        client.connection_pool.connection_kwargs["db"] = 0
        if _is_cluster(_info(client)):
            return Trouble(f"{where(url)} is a Redis Cluster", ONE_SERVER)
    return trouble


def _looks(client: "redis.Redis", url: str, integration: str) -> Iterator[CheckResult]:
    refused = _refused_ping(client)
    facts = _info(client)
    server = server_result(facts, url)
    yield server
    if server.ends_worker and not is_too_old(facts):
        return
    yield from () if facts is None else state_results(client, facts)
    trial = try_rights(client, WORKERS_USER, integration)
    yield from rights_results(trial, integration, _database(client), too_old=is_too_old(facts))
    refused = trial.refused or refused
    # The results so far say already that a replica or a full server refuses writes.
    if refused and server.ok and not is_full(facts):
        trouble = describe_redis_error(refused, url)
        yield failed("Redis writes", trouble.found, trouble.fix, ends_worker=not trouble.passes)


def _refused_ping(client: "redis.Redis") -> redis.RedisError | None:
    """Return the error if Redis refuses PING because it cannot write to its disk, else None.

    Raises:
        redis.RedisError: Redis cannot be used at all.
    """
    try:
        client.ping()
    except (redis.exceptions.MasterDownError, redis.exceptions.NoPermissionError):
        return None
    except redis.ResponseError as error:
        if "MISCONF" not in str(error):
            raise
        return error
    return None


def _info(client: "redis.Redis") -> Facts | None:
    """Return the reply to INFO, or None if Redis or a proxy in between refuses it."""
    try:
        return client.info()
    except (redis.ResponseError, redis.ConnectionError):
        return None


def _setting(client: "redis.Redis", name: str) -> str | None:
    """Return the value of a setting by CONFIG GET, or None if it is refused or not there."""
    try:
        return cast("dict[str, str]", client.config_get(name)).get(name)
    except (redis.ResponseError, redis.ConnectionError):
        return None


def _database(client: "redis.Redis") -> int:
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _is_cluster(facts: Facts | None) -> bool:
    return facts is not None and (
        facts.get("cluster_enabled") == 1 or facts.get("redis_mode") == "cluster"
    )


def _is_sentinel(facts: Facts | None) -> bool:
    return facts is not None and "sentinel" in {facts.get("redis_mode"), facts.get("server_mode")}


def is_too_old(facts: Facts | None) -> bool:
    """Return True if the version in INFO is older than `OLDEST_VERSION`."""
    version = re.match(r"(\d+)\.(\d+)", str((facts or {}).get("redis_version", "")))
    return version is not None and (int(version[1]), int(version[2])) < OLDEST_VERSION


def is_full(facts: Facts | None) -> bool:
    """Return True if Redis uses all the memory that it may use."""
    return facts is not None and 0 < facts.get("maxmemory", 0) <= facts.get("used_memory", 0)


def server_result(facts: Facts | None, url: str) -> CheckResult:
    """Return what kind of server it is, and whether workers can use it.

    `facts` is the reply to INFO, or None if it was refused.
    """
    place = where(url)
    if facts is None:
        return unknown(
            "Redis",
            f"{place} answers; its version, role, memory and persistence could not be looked at "
            "(INFO is not allowed)",
            f"Make sure that it is a primary, Redis {VERSION} or newer, with noeviction and an "
            "append-only file.",
        )
    if _is_sentinel(facts):
        fix = (
            "Write sentinel://HOST:PORT/DB?master_name=NAME in REDIS_URL, "
            "or the address of Redis itself."
        )
        return failed("Redis", f"{place} is a Sentinel, not Redis", fix, ends_worker=True)
    if _is_cluster(facts):
        return failed("Redis", f"{place} is a Redis Cluster", ONE_SERVER, ends_worker=True)
    if is_too_old(facts):
        found = f"{place} is Redis {facts['redis_version']}, which is older than {VERSION}"
        return failed("Redis", found, too_old_fix(), ends_worker=True)
    if facts.get("role") == "slave":
        primary = f"{facts.get('master_host')}:{facts.get('master_port')}"
        return failed("Redis", f"{place} is a replica of {primary}", TO_PRIMARY)
    return passed("Redis", f"{place} answers{_version(facts)}")


def _version(facts: Facts) -> str:
    version = facts.get("valkey_version") or facts.get("redis_version")
    return f" ({'Valkey' if 'valkey_version' in facts else 'Redis'} {version})" if version else ""


def state_results(client: "redis.Redis", facts: Facts) -> Iterator[CheckResult]:
    """Yield the results for eviction, memory and persistence, by INFO and, if allowed, CONFIG."""
    yield eviction_result(facts.get("maxmemory_policy") or _setting(client, "maxmemory-policy"))
    yield memory_result(facts)
    if facts.get("aof_enabled") is None:
        yield unknown(
            "Redis persistence",
            "could not be looked at",
            "Make sure that the append-only file is on.",
        )
    elif facts["aof_enabled"]:
        yield append_only_result(_setting(client, "appendfsync"))
    else:
        yield warned(
            "Redis persistence", without_append_only(_setting(client, "save")), APPEND_ONLY
        )


def eviction_result(policy: str | None) -> CheckResult:
    """Return a result that says whether Redis evicts keys when its memory is full."""
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


def memory_result(facts: Facts) -> CheckResult:
    """Return a result that says whether memory is left for events."""
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


def append_only_result(fsync: str | None) -> CheckResult:
    """Return what a server with an append-only file and this `appendfsync` may lose."""
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


def without_append_only(save: str | None) -> str:
    """Return what a server without an append-only file and with this `save` loses."""
    if save is None:
        kept = "snapshots could not be looked at (CONFIG is not allowed)"
    else:
        kept = f"only snapshots (save {save})" if save else "no snapshots"
    lost = "everything" if save == "" else "every event since its last snapshot"
    return f"no append-only file, {kept}: a server that ends unexpectedly loses {lost}"


def rights_results(
    trial: Trial, integration: str, database: int, *, too_old: bool = False
) -> Iterator[CheckResult]:
    """Yield a result for absent commands and for each user of the worker's rights that lacks some.

    If the server is `too_old`, that says already why commands are absent.
    """
    absent = [each for each in trial.missing if each.unavailable]
    if absent and not too_old:
        names = ", ".join(dict.fromkeys(each.command for each in absent))
        found = (
            f"Redis, or a proxy before it, has no {names}: renamed, switched off, or too old for it"
        )
        yield failed(
            "Redis commands",
            found,
            f"Let workers use them by these names; Redis {VERSION} has them.",
            ends_worker=True,
        )
    for who in WORKERS_USER:
        lacking = [each for each in trial.missing if each.right.who is who and not each.unavailable]
        if lacking:
            yield _lacking_result(who, lacking, integration, database)
    if not trial.missing:
        yield passed("Redis rights", f"all {trial.tried} that are needed")


def _lacking_result(
    who: Who, lacking: Sequence[Missing], integration: str, database: int
) -> CheckResult:
    rules = dict.fromkeys(each.rule(integration, database) for each in lacking)
    reasons = dict.fromkeys(each.right.what_for for each in lacking)
    fix = f"Grant its user: {' '.join(rules)} (docs/redis-rights.md)."
    found = (
        f"REDIS_URL's user lacks {', '.join(rules)}, which {NEEDED_BY[who]} ({'; '.join(reasons)})"
    )
    if who is Who.WORKER:
        return failed("Redis rights", found, fix, ends_worker=True)
    return warned("Redis rights", found, fix)
