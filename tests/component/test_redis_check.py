"""`check` of Redis: each trouble, on a real server or at a real socket, is told apart, with its fix and its severity."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import odd_servers
from tests.servers import RedisServer, cluster, eventually, free_port
from worker.ops.redis_check.check import RedisReport, report_on_redis
from worker.ops.redis_check.result import CheckResult, Severity

OK, UNKNOWN, WARNING, NO = Severity.OK, Severity.UNKNOWN, Severity.WARNING, Severity.NO
PLACES = ("Redis", "Redis eviction", "Redis memory", "Redis persistence", "Redis rights")


def report(url: str, **options: Any) -> RedisReport:
    return report_on_redis(url, "default", wait_seconds=options.pop("wait_seconds", 5))


def failed_checks(url: str) -> list[CheckResult]:
    """What is not well."""
    return [each for each in report(url).results if each.severity is not OK]


@contextmanager
def running(folder: Path, **config: str) -> Iterator[RedisServer]:
    server = RedisServer(folder / "own", **config).start()
    try:
        yield server
    finally:
        server.stop()


def test_healthy_server_is_ok_in_every_check(server: RedisServer) -> None:
    found = report(server.url)
    assert [each.what for each in found.results] == list(PLACES)
    assert {each.severity for each in found.results} == {OK}
    assert (found.answered, found.ending) == (True, None)


def test_redis_check_leaves_nothing_behind(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()
        client.rpush("mailgun.default", "one", "two")
        before = client.info("stats")["keyspace_misses"], client.lrange("mailgun.default", 0, -1)
        report(server.url)
        assert (
            client.info("stats")["keyspace_misses"],
            client.lrange("mailgun.default", 0, -1),
        ) == before
        assert client.keys() == ["mailgun.default"]
        client.flushall()


# What a server is set to, and what is then found: (what, found, fix, severity), whether a worker ends.
SET_TO: dict[str, tuple[dict[str, str], tuple[str, str, str, Severity], bool]] = {
    "allkeys-lru": (
        {"maxmemory-policy": "allkeys-lru"},
        ("Redis eviction", "allkeys-lru throws away events", "noeviction", NO),
        False,
    ),
    "volatile-ttl": (
        {"maxmemory-policy": "volatile-ttl"},
        ("Redis eviction", "volatile-ttl throws away locks and the ledger", "noeviction", NO),
        False,
    ),
    "full": ({"maxmemory": "1"}, ("Redis memory", "none left", "Raise maxmemory", NO), False),
    "no append-only file": (
        {"appendonly": "no"},
        ("Redis persistence", "no append-only file, no snapshots", "appendonly yes", WARNING),
        False,
    ),
    "snapshots": (
        {"appendonly": "no", "save": "3600 1"},
        ("Redis persistence", "only snapshots (save 3600 1)", "appendonly yes", WARNING),
        False,
    ),
    "appendfsync no": (
        {"appendfsync": "no"},
        ("Redis persistence", "appendfsync no", "everysec", WARNING),
        False,
    ),
    "no replicas": (
        {"min-replicas-to-write": "1"},
        ("Redis writes", "fewer replicas in step", "min-replicas-to-write", NO),
        False,
    ),
}
AS_BEFORE = {
    "maxmemory-policy": "noeviction",
    "maxmemory": "0",
    "appendonly": "yes",
    "save": "",
    "appendfsync": "everysec",
    "min-replicas-to-write": "0",
}


@pytest.mark.parametrize("trouble", SET_TO)
def test_bad_setting_of_the_server_is_reported(server: RedisServer, trouble: str) -> None:
    settings, (what, found, fix, severity), ends = SET_TO[trouble]
    with server.client() as client:
        for name, value in settings.items():
            client.config_set(name, value)
        try:
            [result] = failed_checks(server.url)
        finally:
            for name in settings:
                client.config_set(name, AS_BEFORE[name])
    assert (result.what, result.severity, result.ends_worker) == (what, severity, ends)
    assert found in result.found
    assert fix in result.fix


def test_a_memory_that_is_nearly_full_is_a_warning(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.05))
        try:
            [result] = failed_checks(server.url)
        finally:
            client.config_set("maxmemory", 0)
    assert (result.what, result.severity) == ("Redis memory", WARNING)
    assert "nearly full" in result.found


@pytest.mark.parametrize("stale", ["yes", "no"])
def test_a_replica_is_named_with_its_primary_and_ends_no_worker(
    server: RedisServer, stale: str
) -> None:
    with server.client() as client:
        client.config_set("replica-serve-stale-data", stale)
        client.replicaof("127.0.0.1", "1")
        try:
            found = report(server.url)
        finally:
            client.replicaof("NO", "ONE")
    [result] = [each for each in found.results if not each.ok]
    assert "is a replica of 127.0.0.1:1" in result.found
    assert "primary" in result.fix
    assert found.ending is None


@pytest.mark.parametrize("database", [0, 3])
def test_cluster_is_reported_whatever_the_database(tmp_path: Path, database: int) -> None:
    with running(tmp_path, **cluster()) as server:
        [result] = failed_checks(server.url.removesuffix("0") + str(database))
    assert "is a Redis Cluster" in result.found
    assert result.ends_worker


def test_missing_database_is_reported(tmp_path: Path) -> None:
    with running(tmp_path, databases="1") as server:
        [result] = failed_checks(server.url.removesuffix("0") + "3")
    assert f"{server.url.removesuffix('0')}3: this database is not there" in result.found
    assert "/0" in result.fix
    assert result.ends_worker


def test_too_old_server_is_reported_by_its_version(server: RedisServer) -> None:
    with odd_servers.old_redis(server.port) as old:
        [result] = failed_checks(old.url)
    assert "is Redis 6.0.9, which is older than 6.2" in result.found
    assert "Valkey" in result.fix
    assert result.ends_worker


def test_server_that_cannot_write_its_disk_is_reported(tmp_path: Path) -> None:
    with running(tmp_path, appendonly="no", save="3600 1") as server, server.client() as client:
        (tmp_path / "own" / "dump.rdb" / "in the way").mkdir(parents=True)
        client.set("x", "y")
        client.bgsave()
        eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        [result] = [each for each in failed_checks(server.url) if not each.ok]
    assert result.what == "Redis writes"
    assert "cannot write to its disk" in result.found
    assert "Free space" in result.fix


def test_a_server_that_is_loading_is_waited_for(tmp_path: Path) -> None:
    with (
        running(tmp_path, appendonly="no", rdbcompression="no") as server,
        server.client() as client,
    ):
        client.mset({str(number): "x" * 100 for number in range(2000)})
        client.save()
        server.kill()
        loading = server.start_loading(delay_microseconds=20_000)
        try:
            found = eventually(
                lambda: next(filter(_is_loading, [report(server.url)]), None),
                what="a server that loads",
            )
        finally:
            loading.kill()
            loading.wait(10)
    assert found
    assert (found.answered, found.ending) == (False, None)
    assert "Wait" in found.results[0].fix


def _is_loading(found: RedisReport) -> bool:
    return "is still loading its data set" in found.results[0].found


# What is asked for, and how commands are hidden; what is then found.
@pytest.mark.parametrize(
    ("renamed", "what", "found", "severity"),
    [
        ("EVAL", "Redis commands", "no EVAL", NO),
        ("EVALSHA", "Redis commands", "no EVALSHA", NO),
        ("SCRIPT", "Redis commands", "no SCRIPT|LOAD, SCRIPT|EXISTS", NO),
        ("BLMOVE", "Redis commands", "no BLMOVE", NO),
        ("MULTI", "Redis commands", "no MULTI", NO),
        ("EXEC", "Redis commands", "no EXEC", NO),
        ("PUBLISH", "Redis commands", "no PUBLISH", NO),
        ("INFO", "Redis", "could not be looked at (INFO is not allowed)", UNKNOWN),
    ],
)
def test_a_command_that_is_renamed_is_named(
    tmp_path: Path, renamed: str, what: str, found: str, severity: Severity
) -> None:
    with running(tmp_path, **{"rename-command": f"{renamed} HIDDEN"}) as server:
        [result] = failed_checks(server.url)
    assert (result.what, result.severity) == (what, severity)
    assert found in result.found


def test_proxy_without_config_and_info_is_no_error(server: RedisServer) -> None:
    with odd_servers.proxy_without(server.port, "CONFIG") as proxy:
        assert not failed_checks(proxy.url)
        assert "could not be looked at" in report(proxy.url).results[3].found
    with odd_servers.proxy_without(server.port, "CONFIG", "INFO") as proxy:
        [result] = failed_checks(proxy.url)
    assert result.severity is UNKNOWN
    assert "noeviction" in result.fix


def test_redis_check_tries_nothing_on_a_proxy_without_transactions(server: RedisServer) -> None:
    with (
        odd_servers.proxy_that_forgets_transactions(server.port) as proxy,
        server.client() as client,
    ):
        client.flushall()
        [result] = failed_checks(proxy.url)
        assert client.keys() == []
    assert "no MULTI" in result.found
    assert result.ends_worker


Odd = Callable[[Path], AbstractContextManager[odd_servers.OddServer]]
AT_AN_ADDRESS: dict[str, tuple[Odd, str, str, bool]] = {
    "http": (
        lambda _: odd_servers.http(),
        "is an HTTP server, not Redis",
        "where Redis runs",
        True,
    ),
    "tls": (odd_servers.tls, "speaks TLS, which redis:// does not", "Write rediss://", True),
    "silent": (
        lambda _: odd_servers.silent(),
        "accepts connections, but does not answer",
        "where Redis runs",
        False,
    ),
    "closing": (lambda _: odd_servers.closing(), "closes each connection", "load balancer", False),
    "other": (
        lambda _: odd_servers.saying(b"220 mail.example.com ESMTP\r\n"),
        "another protocol",
        "where Redis runs",
        True,
    ),
    "protected": (
        lambda _: odd_servers.saying(
            b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n"
        ),
        "is in protected mode",
        "password",
        True,
    ),
    "full of clients": (
        lambda _: odd_servers.saying(b"-ERR max number of clients reached\r\n"),
        "has no connection left",
        "maxclients",
        False,
    ),
}


@pytest.mark.parametrize("kind", AT_AN_ADDRESS)
def test_foreign_server_in_place_of_redis_is_reported(tmp_path: Path, kind: str) -> None:
    odd, found, fix, ends = AT_AN_ADDRESS[kind]
    with odd(tmp_path) as there:
        [result] = report(there.url, wait_seconds=1).results
    assert result.found == f"{there.url} {found}" or found in result.found
    assert fix in result.fix
    assert result.ends_worker is ends


def test_tls_to_a_plain_server_is_reported(server: RedisServer) -> None:
    [result] = report(server.url.replace("redis://", "rediss://"), wait_seconds=1).results
    assert "speaks no TLS" in result.found
    assert "Write redis://" in result.fix
    assert result.ends_worker


def test_untrusted_certificate_is_reported(tmp_path: Path) -> None:
    with odd_servers.tls(tmp_path) as there:
        [result] = report(there.url.replace("redis://", "rediss://")).results
    assert "is not trusted" in result.found
    assert "ssl_ca_certs" in result.fix


@pytest.mark.parametrize(
    ("url", "found", "fix"),
    [
        (
            "redis://127.0.0.1:{free}/0",
            "does not answer: the connection is refused",
            "Start Redis there",
        ),
        (
            "redis://no-such-host.invalid/0",
            "does not answer: its host name does not resolve",
            "Correct the host",
        ),
        ("sentinel://127.0.0.1:{free}/0", "no sentinel answers", "start them"),
    ],
)
def test_unreachable_redis_is_reported_by_cause_and_waited_for(
    url: str, found: str, fix: str
) -> None:
    away = report(url.format(free=free_port()), wait_seconds=1)
    [result] = away.results
    assert found in result.found
    assert fix in result.fix
    assert (away.answered, away.ending) == (False, None)


def test_redis_check_ends_soon_at_a_silent_address() -> None:
    with odd_servers.silent() as there:
        began = time.monotonic()
        report(there.url, wait_seconds=1)
    assert time.monotonic() - began < 60
