"""The trial of each right in the table of `rights.py`.

A trial uses no right. Redis checks rights, and whether it accepts writes at all, when a command is
queued in a transaction (MULTI), and the trial never executes the transaction. That is exact, needs
no further right and leaves nothing behind, unlike ACL DRYRUN, which needs a right of its own and
Redis 7.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from worker.ops.redis_check.errors import is_forbidden, is_unavailable, is_untriable, text_of
from worker.ops.redis_check.rights import PATTERNS, RIGHTS, TRIED_ON, Right, Who

# The arguments of a command on key K. A command that is not here takes only its key.
CALLS = {
    "EVAL": "return 0",
    "EVALSHA": "e0 0",
    "SCAN": "0",
    "SCRIPT|LOAD": "return",
    "SCRIPT|EXISTS": "e0",
    "PUNSUBSCRIBE": "/none",
    "PSUBSCRIBE": "K",
    "BLMOVE": "K K RIGHT RIGHT 0.01",
    "LMOVE": "K K RIGHT RIGHT",
    "BRPOP": "K 0.01",
    **dict.fromkeys(
        ("LPUSH", "RPUSH", "HGET", "HDEL", "HEXISTS", "HMGET", "SADD", "SREM", "SET", "ZREM"), "K x"
    ),
    **dict.fromkeys(("LPOS", "ZSCORE", "ZRANK", "PUBLISH"), "K x"),
    **dict.fromkeys(("LINDEX", "EXPIRE", "PEXPIRE", "HSCAN", "ZSCAN"), "K 0"),
    **dict.fromkeys(
        ("LRANGE", "LTRIM", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZREMRANGEBYSCORE"), "K 0 0"
    ),
    **dict.fromkeys(("LREM", "LSET", "ZADD"), "K 0 x"),
    **dict.fromkeys(("HSET", "HSETNX"), "K x x"),
    **dict.fromkeys(("HINCRBY", "HINCRBYFLOAT"), "K x 0"),
}

# Not tried within the transaction: MULTI begins it, EXEC is tried alone, and SELECT is part of
# connecting, if it is needed.
OUTSIDE = ("MULTI", "EXEC", "SELECT")


@dataclass(frozen=True)
class Missing:
    """A right that was refused.

    Attributes:
        right: The right.
        command: The command of it that was refused.
        pattern: The ACL pattern of the key or channel if that was refused, not the command.
        unavailable: The server does not have the command at all.
    """

    right: Right
    command: str
    pattern: str = ""
    unavailable: bool = False

    def rule(self, integration: str, database: int) -> str:
        """Return the ACL rule that grants it."""
        return (
            self.pattern.format(integration=integration, database=database)
            or f"+{self.command.lower()}"
        )


@dataclass(frozen=True)
class Trial:
    """The result of trying rights.

    Attributes:
        tried: How many commands were tried.
        missing: The rights that were refused.
        refused: Why Redis refused a command that the user may send: it is full, a replica, …
    """

    tried: int
    missing: tuple[Missing, ...]
    refused: redis.RedisError | None = None


def try_rights(client: "redis.Redis", who: Sequence[Who], integration: str) -> Trial:
    """Try rights as the client's user, in its database, on a connection of their own.

    If MULTI is missing, no other right can be tried, and it is the only one in the result.

    Raises:
        redis.RedisError: Redis is away.
    """
    connection: Any = client.connection_pool.get_connection()
    try:
        database = int(connection.db or 0)
        return _try_calls(connection, list(_calls(who, integration, database)))
    finally:
        connection.disconnect()  # this drops the transaction
        client.connection_pool.release(connection)


def _calls(
    who: Sequence[Who], integration: str, database: int
) -> Iterator[tuple[Right, str, list[str]]]:
    seen = set()
    for right in (each for each in RIGHTS if each.who in who):
        name = TRIED_ON.get(right.on) or PATTERNS.get(right.on, "")[1:]
        key = name.format(integration=integration, database=database)
        for command in right.commands.split():
            if (command, right.on) not in seen:
                seen.add((command, right.on))
                yield right, command, _call(command, key)


def _call(command: str, key: str) -> list[str]:
    words = CALLS.get(command, "K" if key else "").split()
    return [*command.split("|"), *(key if word == "K" else word for word in words)]


def _try_calls(connection: Any, calls: list[tuple[Right, str, list[str]]]) -> Trial:
    alone = [each for each in calls if each[1] == "EXEC"]
    within = [each for each in calls if each[1] not in OUTSIDE]
    # Without a transaction Redis refuses EXEC, for that reason or because the right is missing.
    replies = _replies(connection, [call for _, _, call in alone])
    lacking = _begin(connection)
    if lacking:
        return Trial(1, (lacking,))
    replies += _replies(connection, [call for _, _, call in within])
    missing = [
        _missing(right, command, reply)
        for (right, command, _), reply in zip([*alone, *within], replies, strict=True)
    ]
    others = (reply for reply in replies[len(alone) :] if isinstance(reply, redis.RedisError))
    refused = next(
        (
            each
            for each in others
            if not (is_forbidden(each) or is_unavailable(each) or is_untriable(each))
        ),
        None,
    )
    return Trial(len(calls), tuple(each for each in missing if each), refused)


def _begin(connection: Any) -> Missing | None:
    """Begin a transaction, and return MULTI as missing if there can be none, else None.

    A PING makes sure that commands are queued in it and not executed.
    """
    absent = Missing(RIGHTS[0], "MULTI", unavailable=True)
    [begun] = _replies(connection, [["MULTI"]])
    if isinstance(begun, redis.RedisError):
        return _missing(RIGHTS[0], "MULTI", begun) or absent
    [queued] = _replies(connection, [["PING"]])
    if isinstance(queued, redis.RedisError) or queued in {"QUEUED", b"QUEUED"}:
        return None
    return absent  # a proxy answered MULTI, and queues nothing


def _missing(right: Right, command: str, reply: Any) -> Missing | None:
    if not isinstance(reply, redis.RedisError):
        return None
    if is_unavailable(reply):
        return Missing(right, command, unavailable=True)
    if not is_forbidden(reply):
        return None
    of_command = re.search(r"run the|run this command", text_of(reply))
    return Missing(right, command, "" if of_command else PATTERNS[right.on])


def _replies(connection: Any, calls: list[list[str]]) -> list[Any]:
    """Send all of `calls` at once, and return for each of them the reply or the error."""
    connection.send_packed_command(connection.pack_commands(calls))
    return [_reply(connection) for _ in calls]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
