"""A Redis that workers cannot use, or not without danger: what `check`, any other command, and a starting worker say."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests import odd_servers
from tests.integration.bench import Bench, identified
from tests.redis_rights import acl_rules
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer, cluster, eventually, free_port
from tests.workers import RunningWorker
from worker.ops.redis_check.rights import WORKERS_USER, Who

OURS = ("-m", "worker", "worker")
CELERYS = ("-m", "celery", "-A", "worker.app", "worker")
EVENT = json.dumps(identified("p@example.com"))


@pytest.fixture
def sandbox(running_sandbox: RunningSandbox) -> RunningSandbox:
    running_sandbox.control.reset()
    return running_sandbox


@contextmanager
def bench_on(folder: Path, sandbox: RunningSandbox, **config: str) -> Iterator[Bench]:
    """A bench whose server has this configuration."""
    server = RedisServer(folder / "redis", **config).start()
    bench = Bench(server, sandbox, folder)
    try:
        yield bench
    finally:
        bench.end_workers()
        server.stop()


def user(bench: Bench, *rules: str) -> str:
    """The server's address for a user with these rules."""
    bench.redis.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">pw", *rules)
    return bench.server.url.replace("redis://", "redis://limited:pw@")


def ending(bench: Bench, command: tuple[str, ...], **settings: str) -> tuple[int, str]:
    """The status and the last line of a worker that does not start."""
    worker = bench.worker(*command, **settings)
    eventually(lambda: worker.process.poll() is not None, 60, "a worker that ends")
    return worker.process.wait(), worker.printed().strip().splitlines()[-1]


def logged(worker: RunningWorker) -> list[dict[str, str]]:
    """What a worker's own check of Redis logged."""
    lines = [json.loads(line) for line in worker.printed().splitlines() if line.startswith("{")]
    return [each for each in lines if each["logger"] == "signal_mailgun.redis"]


def test_good_redis_passes_the_check_and_is_not_logged_about(own: Bench) -> None:
    checked = own.run("check")
    assert (checked.status, checked.out.count("✓")) == (0, 7)
    with own.working() as worker:
        assert logged(worker) == []


def test_check_with_json_tells_warnings_from_errors(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    with bench_on(tmp_path, sandbox, appendonly="no") as bench:
        checked = bench.run("check", "--json")
    found = {each["what"]: each for each in json.loads(checked.out)}
    assert checked.status == 0
    assert found["Redis persistence"]["ok"]
    assert found["Redis persistence"]["warning"]
    assert found["Redis persistence"]["severity"] == "warning"
    assert found["Redis rights"]["severity"] == "ok"


# How a server is set up, the database asked for, and what `check` says.
NO_WORKER: dict[str, tuple[dict[str, str], int, str, str]] = {
    "cluster": (cluster(), 0, "is a Redis Cluster", "Use one Redis"),
    "database": ({"databases": "1"}, 3, "this database is not there", "such as /0"),
    "password": ({}, 0, "wants a password, and REDIS_URL has none", "Put user and password"),
    "no scripts": ({"rename-command": "EVAL HIDDEN"}, 0, "has no EVAL", "Let workers use them"),
}


@pytest.mark.parametrize("trouble", NO_WORKER)
@pytest.mark.parametrize("command", [OURS, CELERYS], ids=["ours", "celery's"])
def test_permanent_redis_error_is_named_by_check_and_ends_a_worker(
    tmp_path: Path, sandbox: RunningSandbox, trouble: str, command: tuple[str, ...]
) -> None:
    config, database, found, fix = NO_WORKER[trouble]
    with bench_on(tmp_path, sandbox, **config) as bench:
        if trouble == "password":
            bench.redis.config_set("requirepass", "right")
        url = bench.server.url.removesuffix("0") + str(database)
        checked = bench.run("check", REDIS_URL=url)
        status, last = ending(bench, command, REDIS_URL=url)
    assert checked.status == 1
    assert found in checked.out
    assert fix in checked.out
    assert (status, last.startswith("signal-mailgun: ")) == (1, True)
    assert found in last
    assert fix in last


def test_every_missing_right_is_named_by_check_and_ends_a_worker(own: Bench) -> None:
    url = user(
        own,
        *acl_rules(WORKERS_USER, own.integration).split(),
        "-blmove",
        "-hincrbyfloat",
        "resetchannels",
    )
    checked = own.run("check", REDIS_URL=url)
    status, last = ending(own, OURS, REDIS_URL=url)
    assert (checked.status, status) == (1, 1)
    for rule in ("+blmove", "+hincrbyfloat", "&/0.celery.pidbox"):
        assert rule in checked.out
        assert rule in last
    assert "Traceback" not in checked.everything


def test_an_old_server_ends_a_worker(own: Bench) -> None:
    with odd_servers.old_redis(own.server.port) as old:
        status, last = ending(own, OURS, REDIS_URL=old.url)
    assert status == 1
    assert "is Redis 6.0.9, which is older than 6.2; Use Redis 6.2 or newer, or Valkey" in last


@pytest.mark.parametrize("kind", ["http", "tls"])
def test_server_that_is_not_redis_ends_a_worker(own: Bench, tmp_path: Path, kind: str) -> None:
    with odd_servers.http() if kind == "http" else odd_servers.tls(tmp_path) as there:
        status, last = ending(own, OURS, REDIS_URL=there.url)
    assert status == 1
    assert ("is an HTTP server" if kind == "http" else "Write rediss://") in last


# What a worker lives with: (configuration, level, what it logs).
LIVED_WITH: dict[str, tuple[dict[str, str], str, str]] = {
    "evicting": ({"maxmemory-policy": "allkeys-lru"}, "error", "allkeys-lru throws away events"),
    "no append-only file": ({"appendonly": "no"}, "warning", "no append-only file"),
}


@pytest.mark.parametrize("trouble", LIVED_WITH)
def test_dangerous_redis_configuration_is_logged_once_and_delivers(
    tmp_path: Path, sandbox: RunningSandbox, trouble: str
) -> None:
    config, level, text = LIVED_WITH[trouble]
    with bench_on(tmp_path, sandbox, **config) as bench, bench.working() as worker:
        bench.put(identified("p@example.com"))
        bench.member("p@example.com")
        bench.redis.client_kill_filter(
            _type="normal", skipme=True
        )  # a second connecting tells nothing again
        bench.put(identified("q@example.com"))
        bench.member("q@example.com")
        [line] = logged(worker)
    assert line["level"] == level
    assert text in line["message"]
    assert line["fix"]


def test_a_replica_is_an_error_and_its_promotion_is_waited_for(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    with bench_on(tmp_path, sandbox) as bench:
        bench.redis.replicaof("127.0.0.1", "1")
        sent = bench.run("send", "-", given=EVENT)
        paused = bench.run("pause")
        worker = bench.worker()
        eventually(lambda: logged(worker), 60, "a log line")
        bench.redis.replicaof("NO", "ONE")
        bench.put(identified("p@example.com"))
        bench.member("p@example.com")
        [line] = logged(worker)
    assert "is a replica of 127.0.0.1:1" in line["message"]
    for refused in (sent, paused):
        assert refused.status == 1
        *_, only = refused.err.strip().splitlines()
        assert "is a read-only replica; Set REDIS_URL to its primary" in only


def test_redis_that_starts_late_is_waited_for_and_then_checked(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    with bench_on(tmp_path, sandbox, appendonly="no") as bench:
        bench.server.kill()
        worker = bench.worker()
        eventually(lambda: logged(worker), 60, "a log line")
        bench.server.start()
        bench.put(identified("p@example.com"))
        bench.member("p@example.com")
        lines = eventually(
            lambda: (found := logged(worker))[1:] and found, 60, "what is wrong with it"
        )
    assert [
        "does not answer: the connection is refused" in lines[0]["message"],
        "no append-only file" in lines[1]["message"],
    ] == [
        True,
        True,
    ]
    assert len(lines) == 2


@pytest.mark.parametrize("command", [OURS, CELERYS], ids=["ours", "celery's"])
def test_redis_that_starts_late_and_is_unusable_ends_the_worker(
    tmp_path: Path, sandbox: RunningSandbox, command: tuple[str, ...]
) -> None:
    with bench_on(tmp_path, sandbox) as bench:
        bench.server.kill()
        worker = bench.worker(*command)
        eventually(lambda: logged(worker), 60, "a log line")
        later = RedisServer(tmp_path / "later", **cluster())
        later.port = bench.server.port
        later.start()
        try:
            eventually(lambda: worker.process.poll() is not None, 60, "a worker that ends")
        finally:
            later.stop()
    assert worker.process.returncode == 1
    assert "is a Redis Cluster" in worker.printed()


@pytest.mark.parametrize(
    ("arguments", "rules", "found"),
    [
        (("send", "-"), ("-lpush",), "does not let REDIS_URL's user run LPUSH"),
        (("status",), ("-llen",), "does not let REDIS_URL's user run LLEN"),
        (("pause",), ("-evalsha",), "does not let REDIS_URL's user run EVALSHA"),
        (("pause",), ("-hsetnx",), "does not let REDIS_URL's user run HSETNX"),
        (
            ("dead-letters", "list"),
            ("resetkeys", "~signal:*"),
            "does not let REDIS_URL's user use a key",
        ),
    ],
)
def test_command_without_its_redis_right_fails_in_one_line_with_the_fix(
    own: Bench, arguments: tuple[str, ...], rules: tuple[str, ...], found: str
) -> None:
    url = user(own, *acl_rules(WORKERS_USER, own.integration).split(), *rules)
    refused = own.run(*arguments, given=EVENT, REDIS_URL=url)
    *_, only = refused.err.strip().splitlines()
    assert refused.status == 1
    assert found in only
    assert "docs/redis-rights.md" in only


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (
            "redis://127.0.0.1:{free}/0",
            "does not answer: the connection is refused; Start Redis there",
        ),
        (
            "redis://no-such-host.invalid/0",
            "does not answer: its host name does not resolve; Correct the host",
        ),
        ("redis://127.0.0.1:{port}/99", "this database is not there; End REDIS_URL"),
        ("redis://who:s3cret@127.0.0.1:{port}/0", "refused user name or password"),
        ("rediss://127.0.0.1:{port}/0", "speaks no TLS, which rediss:// needs; Write redis://"),
    ],
)
def test_wrong_redis_address_fails_in_one_line_with_the_fix(
    own: Bench, url: str, found: str
) -> None:
    refused = own.run("pause", REDIS_URL=url.format(free=free_port(), port=own.server.port))
    [only] = refused.err.strip().splitlines()
    assert refused.status == 1
    assert found in only
    assert "s3cret" not in only


def test_worker_without_the_publish_right_delivers_and_warns_once(own: Bench) -> None:
    url = user(
        own, *acl_rules([Who.WORKER, Who.COMMANDS], own.integration).split(), "+info", "+config|get"
    )
    alone = replace(own)
    with alone.working(REDIS_URL=url) as worker:
        own.put(identified("p@example.com"))
        own.member("p@example.com")
        [line] = logged(worker)
    assert line["level"] == "warning"
    assert "+publish" in line["message"]
    assert "Flower" in line["message"]
