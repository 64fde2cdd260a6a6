"""The trial of each right in the table of `rights.py`.

A trial uses no right. Redis checks rights, and whether it accepts writes at all, when a command is
queued in a transaction (MULTI), and the trial never executes the transaction. That is exact, needs
no further right and leaves nothing behind, unlike ACL DRYRUN, which needs a right of its own and
Redis 7.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
        rule: The ACL rule that grants the command, or its key or channel if that was refused.
        unavailable: The server does not have the command at all.
    """

    right: Right
    command: str
    rule: str
    unavailable: bool = False


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
        calls = list(_calls(who, integration=integration, database=database))
        return _try_calls(connection, calls)
    finally:
        connection.disconnect()  # this drops the transaction
        client.connection_pool.release(connection)


class _Call(NamedTuple):
    """One command on one key or channel, with its pattern in an ACL; both empty if it has none."""

    right: Right
    command: str
    key: str = ""
    pattern: str = ""

    def words(self) -> list[str]:
        """Return what is sent."""
        words = CALLS.get(self.command, "K" if self.key else "").split()
        return [*self.command.split("|"), *(self.key if word == "K" else word for word in words)]


def _calls(who: Sequence[Who], **names: object) -> Iterator[_Call]:
    seen = set()
    for right in (each for each in RIGHTS if each.who in who):
        pattern = PATTERNS.get(right.on, "")
        key = TRIED_ON.get(right.on) or pattern[1:]
        for command in right.commands.split():
            if (command, right.on) not in seen:
                seen.add((command, right.on))
                yield _Call(right, command, key.format(**names), pattern.format(**names))


def _try_calls(connection: Any, calls: list[_Call]) -> Trial:
    alone = [each for each in calls if each.command == "EXEC"]
    within = [each for each in calls if each.command not in OUTSIDE]
    # Without a transaction Redis refuses EXEC, for that reason or because the right is missing.
    replies = _replies(connection, alone)
    lacking = _begin(connection)
    if lacking:
        return Trial(1, (lacking,))
    replies += _replies(connection, within)
    missing = map(_missing, [*alone, *within], replies)
    others = (reply for reply in replies[len(alone) :] if isinstance(reply, redis.RedisError))
    of_rights = (is_forbidden, is_unavailable, is_untriable)
    refused = next((each for each in others if not any(known(each) for known in of_rights)), None)
    return Trial(len(calls), tuple(each for each in missing if each), refused)


def _begin(connection: Any) -> Missing | None:
    """Begin a transaction, and return MULTI as missing if there can be none, else None.

    A PING makes sure that commands are queued in it and not executed.
    """
    multi = _Call(RIGHTS[0], "MULTI")
    absent = Missing(multi.right, multi.command, "+multi", unavailable=True)
    [begun] = _replies(connection, [multi])
    if isinstance(begun, redis.RedisError):
        return _missing(multi, begun) or absent
    [queued] = _replies(connection, [_Call(RIGHTS[0], "PING")])
    if isinstance(queued, redis.RedisError) or queued in {"QUEUED", b"QUEUED"}:
        return None
    return absent  # a proxy answered MULTI, and queues nothing


def _missing(call: _Call, reply: Any) -> Missing | None:
    if not isinstance(reply, redis.RedisError):
        return None
    unavailable = is_unavailable(reply)
    if not unavailable and not is_forbidden(reply):
        return None
    of_command = unavailable or re.search(r"run the|run this command", text_of(reply))
    pattern = "" if of_command else call.pattern
    return Missing(call.right, call.command, pattern or f"+{call.command.lower()}", unavailable)


def _replies(connection: Any, calls: list[_Call]) -> list[Any]:
    """Send all of `calls` at once, and return for each of them the reply or the error."""
    connection.send_packed_command(connection.pack_commands([each.words() for each in calls]))
    return [_reply(connection) for _ in calls]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
