"""The table of rights: each is tried alone on a real server, the document shows it, and the code asks for nothing else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.redis_rights import acl_rules
from tests.servers import RedisServer
from worker.ops.redis_check.check import RedisReport, report_on_redis
from worker.ops.redis_check.result import Severity
from worker.ops.redis_check.rights import PATTERNS, RIGHTS, WORKERS_USER, Who
from worker.ops.redis_check.rights_trial import try_rights
from worker.redis_client.client import connect

PROJECT = Path(__file__).parents[2]
DOCUMENT = PROJECT / "docs" / "redis-rights.md"
USER = "limited"
WORKER_RULES = acl_rules(WORKERS_USER, "default")
DELIVERS = acl_rules([Who.WORKER], "default").split()
EVERY_COMMAND = sorted(
    {command for right in RIGHTS if right.who in WORKERS_USER for command in right.commands.split()}
)

# What redis-py calls a command, if not by its name; and what the program calls of Redis that is no command of a user's key.
METHODS = {
    "delete": "DEL",
    "scan_iter": "SCAN",
    "zscan_iter": "ZSCAN",
    "hscan_iter": "HSCAN",
    "info": "",
    "config_get": "",
}
RECEIVERS = re.compile(r"(?i)redis|pipe|at_once|client|connected")
COMMANDS = {name for name in dir(redis.Redis) if not name.startswith("_")}
NO_COMMANDS = {
    "pipeline",
    "register_script",
    "execute",
    "execute_command",
    "close",
    "connection_pool",
    "from_pool",
    "parse_response",
    "connection",
    "reset",
}


@pytest.fixture
def admin(server: RedisServer) -> Iterator["redis.Redis"]:
    with server.client() as client:
        yield client
        client.acl_deluser(USER)


def limited(admin: "redis.Redis", server: RedisServer, *rules: str) -> str:
    """The address for a user with these rules."""
    admin.execute_command("ACL", "SETUSER", USER, "reset", "on", ">pw", *rules)  # type: ignore[no-untyped-call]
    return server.url.replace("redis://", f"redis://{USER}:pw@")


def report(url: str) -> RedisReport:
    return report_on_redis(url, "default")


def lacking(url: str) -> set[str]:
    with connect(url) as client:
        return {each.rule for each in try_rights(client, WORKERS_USER, "default").missing}


def test_the_documented_user_lacks_nothing(admin: "redis.Redis", server: RedisServer) -> None:
    assert lacking(limited(admin, server, *WORKER_RULES.split())) == set()


@pytest.mark.parametrize(
    "command", [each for each in EVERY_COMMAND if each not in {"SELECT", "MULTI"}]
)
def test_missing_command_is_named_alone(
    admin: "redis.Redis", server: RedisServer, command: str
) -> None:
    url = limited(admin, server, *WORKER_RULES.split(), f"-{command.lower()}")
    assert lacking(url) == {f"+{command.lower()}"}


@pytest.mark.parametrize(
    "pattern", sorted({PATTERNS[each.on] for each in RIGHTS if each.who is Who.WORKER and each.on})
)
def test_missing_key_pattern_is_named(
    admin: "redis.Redis", server: RedisServer, pattern: str
) -> None:
    rule = pattern.format(integration="default", database=0)
    rules = [each for each in WORKER_RULES.split() if each != rule]
    if rule == "~mailgun.default":  # the one for priorities holds it, too
        rules = [each if each != "~mailgun.default*" else "~mailgun.default.*" for each in rules]
    if rule == "~mailgun.default.dead_letter":
        rules = [each if each != "~mailgun.default*" else "~mailgun.default" for each in rules]
    assert rule in lacking(limited(admin, server, *rules))


def test_every_missing_right_is_named_not_only_the_first(
    admin: "redis.Redis", server: RedisServer
) -> None:
    url = limited(
        admin,
        server,
        *WORKER_RULES.split(),
        "-blmove",
        "-lmove",
        "-eval",
        "resetkeys",
        "~mailgun.default*",
    )
    [result] = [each for each in report(url).results if not each.ok]
    for rule in (
        "+blmove",
        "+lmove",
        "+eval",
        "~signal:default:*",
        "~signal:never",
        "~_kombu.binding*",
        "~*.celery.pidbox",
    ):
        assert rule in result.found
        assert rule in result.fix
    assert result.ends_worker


def test_user_without_any_right_is_advised_to_get_transactions_first(
    admin: "redis.Redis", server: RedisServer
) -> None:
    found = report(limited(admin, server))
    assert found.ending
    assert "+multi" in found.ending.fix


def test_read_only_key_patterns_are_reported_as_missing_rights(
    admin: "redis.Redis", server: RedisServer
) -> None:
    readable = [f"%R{each}" if each.startswith("~") else each for each in WORKER_RULES.split()]
    missing = lacking(limited(admin, server, *readable))
    assert {"~mailgun.default", "~signal:default:*"} <= missing


@pytest.mark.parametrize(
    ("rules", "named", "whom"),
    [
        (["-publish"], "+publish", "Flower"),
        (["resetchannels", "&/0.celery.pidbox"], "&/0.celeryev/*", "Flower"),
        (["-lpos", "-zscan"], "+lpos, +zscan", "command line"),
    ],
)
def test_right_that_a_worker_can_work_without_is_a_warning(
    admin: "redis.Redis", server: RedisServer, rules: list[str], named: str, whom: str
) -> None:
    found = report(limited(admin, server, *WORKER_RULES.split(), "+info", "+config|get", *rules))
    [result] = [each for each in found.results if each.severity is not Severity.OK]
    assert result.severity is Severity.WARNING
    assert named in result.found
    assert whom in result.found
    assert found.ending is None


def test_the_channels_are_those_of_the_database(admin: "redis.Redis", server: RedisServer) -> None:
    url = (
        limited(
            admin, server, *acl_rules(WORKERS_USER, "default", database=4).split()
        ).removesuffix("0")
        + "4"
    )
    assert lacking(url) == set()
    assert lacking(limited(admin, server, *WORKER_RULES.split()).removesuffix("0") + "4") != set()


@pytest.mark.parametrize(
    "who", [WORKERS_USER, [Who.PRODUCER], [Who.CELERY_CLIENT], [Who.FLOWER]], ids=str
)
def test_the_document_shows_each_users_rules(who: list[Who]) -> None:
    assert f"    {acl_rules(who, 'default')}\n" in DOCUMENT.read_text()


def test_the_document_shows_the_table() -> None:
    def row(who: Who, on: str, commands: str, what_for: str) -> str:
        place = PATTERNS.get(on, "").format(integration="default", database=0)
        return (
            f"| {who} | {f'`{place}`' if place else 'no key'} | {commands} | {what_for} |".replace(
                "SCRIPT|", r"SCRIPT\|"
            )
        )

    rows = [row(each.who, each.on, each.commands, each.what_for) for each in RIGHTS]
    assert "\n".join(rows) in DOCUMENT.read_text()


def asked_of_redis() -> dict[str, str]:
    """Every Redis command that this program's scripts and clients name, and a file that does."""
    found: dict[str, str] = {}
    for path in [*(PROJECT / "worker").rglob("*.py"), *(PROJECT / "worker").rglob("*.lua")]:
        text = path.read_text()
        found |= dict.fromkeys(re.findall(r"redis\.p?call\('([A-Z|]+)'", text), path.name)
        if "trips" in text:  # commands that share a round trip are given as tuples
            found |= dict.fromkeys(re.findall(r'\("([A-Z]+)",', text), path.name)
        if path.suffix == ".py":
            found |= dict.fromkeys(_called(ast.parse(text)), path.name)
    return found


def _called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=of, attr=method)) if (
                method in COMMANDS - NO_COMMANDS
            ):
                if RECEIVERS.search(ast.unparse(of)) and (
                    name := METHODS.get(method, method.upper())
                ):
                    yield name


def test_code_uses_no_command_outside_the_documented_table() -> None:
    granted = {command for right in RIGHTS for command in right.commands.split()}
    asked = asked_of_redis()
    assert len(asked) > 30
    assert {name: path for name, path in asked.items() if name not in granted} == {}


def test_command_outside_the_documented_table_would_be_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree = ast.parse("self.redis.sunion('a')\npipe.geoadd('a')\nmembers.sort()")
    assert set(_called(tree)) == {"SUNION", "GEOADD"}
