"""Health check of the Redis of REDIS_URL: can workers deliver, could it lose events, and the fix.

The check changes nothing there. What the server does not let this user see (INFO, CONFIG) is
reported as unknown, not as wrong.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.ops.redis_check.errors import Trouble, describe_redis_error
from worker.ops.redis_check.known_errors import (
    OLDEST_VERSION,
    ONE_SERVER,
    TO_PRIMARY,
    USE_NEWER,
    VERSION,
)
from worker.ops.redis_check.result import CheckResult, failed, passed, unknown
from worker.ops.redis_check.rights import WORKERS_USER
from worker.ops.redis_check.rights_results import rights_results
from worker.ops.redis_check.rights_trial import try_rights
from worker.ops.redis_check.storage import Facts, is_full, storage_results
from worker.redis_client.client import connect, where

WAIT_SECONDS = 5.0


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
    waits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), wait_seconds)
    connect_once = partial(connect, url, retry=Retry(NoBackoff(), 0), **waits)
    client = connect_once()
    results: list[CheckResult] = []
    try:
        results.extend(_looks(client, url, integration))
    except (redis.RedisError, OSError) as error:
        trouble = _diagnose(error, url, connect_once)
        return RedisReport((_of_trouble("Redis", trouble), *results), trouble.answered)
    finally:
        client.close()
    return RedisReport(tuple(results))


def _of_trouble(what: str, trouble: Trouble) -> CheckResult:
    return failed(what, trouble.found, trouble.fix, ends_worker=not trouble.passes)


def _diagnose(error: BaseException, url: str, connect_once: "Callable[[], redis.Redis]") -> Trouble:
    trouble = describe_redis_error(error, url)
    # A Cluster has only database 0. Of another one it says only that this is not there.
    if "database" in trouble.found:
        client = connect_once()
        client.connection_pool.connection_kwargs["db"] = 0
        if _is_cluster(_info(client)):
            return Trouble(f"{where(url)} is a Redis Cluster", ONE_SERVER)
    return trouble


def _looks(client: "redis.Redis", url: str, integration: str) -> Iterator[CheckResult]:
    refused = _refused_ping(client)
    facts = _info(client)
    server = _server_result(facts, url)
    yield server
    if server.ends_worker and not _is_too_old(facts):
        return
    yield from () if facts is None else storage_results(client, facts)
    trial = try_rights(client, WORKERS_USER, integration)
    yield from rights_results(trial, too_old=_is_too_old(facts))
    refused = trial.refused or refused
    # The results so far say already that a replica or a full server refuses writes.
    if refused and server.ok and not is_full(facts):
        yield _of_trouble("Redis writes", describe_redis_error(refused, url))


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


def _is_cluster(facts: Facts | None) -> bool:
    return facts is not None and (
        facts.get("cluster_enabled") == 1 or facts.get("redis_mode") == "cluster"
    )


def _is_sentinel(facts: Facts | None) -> bool:
    return facts is not None and "sentinel" in {facts.get("redis_mode"), facts.get("server_mode")}


def _is_too_old(facts: Facts | None) -> bool:
    version = re.match(r"(\d+)\.(\d+)", str((facts or {}).get("redis_version", "")))
    return version is not None and (int(version[1]), int(version[2])) < OLDEST_VERSION


def _server_result(facts: Facts | None, url: str) -> CheckResult:
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
    if _is_too_old(facts):
        found = f"{place} is Redis {facts['redis_version']}, which is older than {VERSION}"
        return failed("Redis", found, USE_NEWER, ends_worker=True)
    if facts.get("role") == "slave":
        primary = f"{facts.get('master_host')}:{facts.get('master_port')}"
        return failed("Redis", f"{place} is a replica of {primary}", TO_PRIMARY)
    return passed("Redis", f"{place} answers{_version(facts)}")


def _version(facts: Facts) -> str:
    version = facts.get("valkey_version") or facts.get("redis_version")
    return f" ({'Valkey' if 'valkey_version' in facts else 'Redis'} {version})" if version else ""
