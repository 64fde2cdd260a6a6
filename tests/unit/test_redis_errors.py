"""What Redis says, in the words of several versions, told apart; no server is asked where the words are enough."""

import pytest
import redis

from worker.ops.redis_check.errors import describe_redis_error, is_forbidden, is_unavailable

URL = "redis://someone:s3cret@127.0.0.1:1/3"

# (error, what is found, a word of the fix, whether it passes by itself)
SAID = [
    (
        redis.AuthenticationError("Authentication required.", status_code="NOAUTH"),
        "wants a password",
        "REDIS_URL",
        False,
    ),
    (
        redis.AuthenticationError(
            "invalid username-password pair or user is disabled.", status_code="WRONGPASS"
        ),
        "refused user name or password",
        "percent-encode",
        False,
    ),
    (
        redis.AuthenticationError("Client sent AUTH, but no password is set"),
        "has no password, but REDIS_URL gives one",
        "Remove it",
        False,
    ),
    (
        redis.BusyLoadingError("Redis is loading the dataset in memory", status_code="LOADING"),
        "loading",
        "Wait",
        True,
    ),
    (
        redis.ReadOnlyError("You can't write against a read only replica.", status_code="READONLY"),
        "read-only replica",
        "primary",
        True,
    ),
    (
        redis.ResponseError(
            "Error running script (call to f_12): @user_script:9: -READONLY You can't write against …"
        ),
        "read-only replica",
        "primary",
        True,
    ),
    (
        redis.exceptions.MasterDownError("Link with MASTER is down", status_code="MASTERDOWN"),
        "lost its primary",
        "primary",
        True,
    ),
    (
        redis.OutOfMemoryError(
            "command not allowed when used memory > 'maxmemory'.", status_code="OOM"
        ),
        "no memory",
        "maxmemory",
        True,
    ),
    (
        redis.ResponseError(
            "MISCONF Redis is configured to save RDB snapshots, but … commands are disabled"
        ),
        "cannot write to its disk",
        "Free space",
        True,
    ),
    (
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        "fewer replicas",
        "min-replicas",
        True,
    ),
    (
        redis.ResponseError("DENIED Redis is running in protected mode because …"),
        "protected mode",
        "password",
        False,
    ),
    (
        redis.ConnectionError("max number of clients reached", status_code="ERR"),
        "maxclients",
        "maxclients",
        True,
    ),
    (
        redis.exceptions.ClusterDownError("Hash slot not served", status_code="CLUSTERDOWN"),
        "is a Redis Cluster",
        "one Redis",
        False,
    ),
    (
        redis.exceptions.MovedError("3999 127.0.0.1:6381", status_code="MOVED"),
        "is a Redis Cluster",
        "one Redis",
        False,
    ),
    (
        redis.exceptions.ClusterCrossSlotError(
            "Keys in request don't hash to the same slot", status_code="CROSSSLOT"
        ),
        "is a Redis Cluster",
        "one Redis",
        False,
    ),
    (redis.ResponseError("BUSY Redis is busy running a script."), "busy", "SCRIPT KILL", True),
    (
        redis.ResponseError("DB index is out of range", status_code="ERR"),
        "database is not there",
        "/0",
        False,
    ),
    (
        redis.exceptions.NoPermissionError(
            "User a has no permissions to run the 'script|load' command", status_code="NOPERM"
        ),
        "user run SCRIPT|LOAD",
        "docs/redis-rights.md",
        False,
    ),
    (
        redis.exceptions.NoPermissionError(
            "this user has no permissions to access one of the keys used as arguments",
            status_code="NOPERM",
        ),
        "a key or channel",
        "docs/redis-rights.md",
        False,
    ),
    (
        redis.ResponseError(
            "ACL failure in script: User a has no permissions to run the 'lmove' command script: 1a, on 7"
        ),
        "user run LMOVE",
        "docs/redis-rights.md",
        False,
    ),
    (
        redis.ResponseError("unknown command 'HELLO', with args beginning with: '3'"),
        "older than Redis 6",
        "6.2",
        False,
    ),
    (
        redis.ResponseError("unknown command `EVAL`, with args beginning with:"),
        "no command EVAL",
        "6.2",
        False,
    ),
    (
        redis.ResponseError("unknown command 'SENTINEL', with args"),
        "Redis itself",
        "redis://",
        False,
    ),
]


@pytest.mark.parametrize(
    ("error", "found", "fix", "passes"), SAID, ids=[str(each[0])[:30] for each in SAID]
)
def test_each_redis_error_has_its_own_text_and_fix(
    error: redis.RedisError,
    found: str,
    fix: str,
    passes: bool,  # noqa: FBT001
) -> None:
    trouble = describe_redis_error(error, URL)
    assert found in trouble.found
    assert fix in trouble.fix
    assert trouble.passes is passes
    assert "127.0.0.1:1" in trouble.found
    assert "s3cret" not in trouble.found + trouble.fix


def test_without_a_user_name_only_the_password_is_named() -> None:
    error = redis.AuthenticationError(
        "invalid username-password pair or user is disabled.", status_code="WRONGPASS"
    )
    assert (
        "refused the password" in describe_redis_error(error, "redis://:s3cret@127.0.0.1:1/0").found
    )


@pytest.mark.parametrize(
    "text",
    [
        "unknown command 'EVAL'",
        "unknown subcommand 'load'. Try SCRIPT HELP.",
        "command 'BLMOVE' is not supported by this proxy",
        "EVAL is not allowed",
    ],
)
def test_unknown_command_is_not_reported_as_a_missing_right(text: str) -> None:
    assert is_unavailable(redis.ResponseError(text))
    assert not is_forbidden(redis.ResponseError(text))


@pytest.mark.parametrize(
    "text",
    ["command not allowed when used memory > 'maxmemory'.", "MISCONF … commands are disabled"],
)
def test_server_that_refuses_writes_counts_as_having_the_command(text: str) -> None:
    assert not is_unavailable(redis.ResponseError(text))


def test_command_forbidden_in_a_transaction_counts_as_present() -> None:
    assert not is_unavailable(redis.ResponseError("Command not allowed inside a transaction"))
