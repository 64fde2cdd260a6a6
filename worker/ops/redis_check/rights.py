"""Access rights (ACL) that Redis must grant, as one table, and the trial of each.

The table names keys and channels by placeholders, and `PATTERNS` spells them:

* `{queue}` is `Keys.queue`, `{dead}` is `Keys.dead_letters`, `{own}` is all other keys of `Keys`.
* `{priority}` is the lists, beside the queue, of messages that were sent with a priority.
* `{never}` is the key that is never written. If Redis's memory is full, a script that deletes it
  may go on.
* `{bindings}` is kombu's record of the queues, `{replies}` its lists of replies of the remote
  control, `{watching}` its queue of task events for Flower.
* `{control}` is the channel of the remote control's requests, `{events}` that of task events.

A trial uses no right. Redis checks rights, and whether it accepts writes at all, when a command is
queued in a transaction (MULTI), and the trial never executes the transaction. That is exact, needs
no further right and leaves nothing behind, unlike ACL DRYRUN, which needs a right of its own and
Redis 7.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

from worker.ops.redis_check.errors import is_forbidden, is_unavailable, is_untriable, text_of


class Who(StrEnum):
    """The component that needs a right."""

    # Without these rights no event, or not every event, is delivered.
    WORKER = "worker"
    # A worker's part in remote control and Flower.
    REMOTE = "remote control"
    # The command line, with a worker's REDIS_URL.
    COMMANDS = "command line"
    PRODUCER = "producer"
    # Any other Celery client that sends events.
    CELERY_CLIENT = "Celery client"
    FLOWER = "Flower"


WORKERS_USER = (Who.WORKER, Who.REMOTE, Who.COMMANDS)


@dataclass(frozen=True)
class Right:
    """The right to some commands on one kind of key or channel.

    Attributes:
        who: The component that needs it.
        on: The placeholder of the keys or channels; empty for commands without a key.
        commands: The commands, separated by spaces; a subcommand as `SCRIPT|LOAD`.
        what_for: What the component does with them, for people.
    """

    who: Who
    on: str
    commands: str
    what_for: str


# What a connection of redis-py and kombu, and every script, needs.
CONNECTION = "PING SELECT"
SCRIPTS = "EVAL EVALSHA SCRIPT|LOAD SCRIPT|EXISTS TIME MULTI EXEC"
RIGHTS = (
    Right(Who.WORKER, "", f"{CONNECTION} {SCRIPTS}", "connect, run scripts and transactions"),
    Right(
        Who.WORKER,
        "{queue}",
        "BLMOVE RPOP LPUSH RPUSH LLEN LMOVE LINDEX",
        "take messages, put them back, measure",
    ),
    Right(Who.WORKER, "", "SCAN", "find lists of what was given a priority"),
    Right(Who.WORKER, "{priority}", "LMOVE LLEN", "take what was given a priority, measure"),
    Right(Who.WORKER, "{dead}", "LPUSH LLEN LRANGE LINDEX LSET LREM", "bury, count, replay"),
    Right(
        Who.WORKER,
        "{own}",
        "DEL EXISTS EXPIRE GET HDEL HEXISTS HGET HGETALL HINCRBY HINCRBYFLOAT HLEN HMGET HSET "
        "HSETNX LPUSH LTRIM PEXPIRE SADD SET SMEMBERS ZADD ZCARD ZRANGE ZRANGEBYSCORE ZREM "
        "ZREMRANGEBYSCORE",
        "what is in hand, retries, ledger, holds, counts",
    ),
    Right(Who.WORKER, "{never}", "DEL", "go on when memory is full"),
    Right(Who.WORKER, "{bindings}", "SADD ZADD", "declare the queue"),
    Right(
        Who.WORKER, "{replies}", "LLEN", "open remote control, without which Celery takes nothing"
    ),
    Right(
        Who.WORKER,
        "{control}",
        "PSUBSCRIBE",
        "open remote control, without which Celery takes nothing",
    ),
    Right(Who.REMOTE, "", "PUNSUBSCRIBE", "leave in order"),
    Right(Who.REMOTE, "{bindings}", "SREM SMEMBERS ZRANGEBYSCORE ZREM EXISTS DEL", "answer Flower"),
    Right(Who.REMOTE, "{replies}", "LPUSH DEL", "answer Flower"),
    Right(Who.REMOTE, "{events}", "PUBLISH", "tell Flower of each event"),
    Right(Who.COMMANDS, "{queue}", "LRANGE LINDEX LREM LPOS LSET", "explain, forget"),
    Right(Who.COMMANDS, "{priority}", "LRANGE", "explain, forget"),
    Right(
        Who.COMMANDS,
        "{own}",
        "HSCAN ZSCAN ZSCORE ZRANK ZCOUNT LRANGE",
        "status, explain, tail, delayed, forget",
    ),
    Right(Who.PRODUCER, "", CONNECTION, "connect"),
    Right(Who.PRODUCER, "{queue}", "LPUSH", "enqueue"),
    Right(Who.CELERY_CLIENT, "", f"{CONNECTION} MULTI EXEC", "connect"),
    Right(Who.CELERY_CLIENT, "{queue}", "LPUSH LLEN", "enqueue"),
    Right(Who.CELERY_CLIENT, "{priority}", "LPUSH LLEN", "enqueue with a priority"),
    Right(Who.CELERY_CLIENT, "{bindings}", "SADD SMEMBERS", "declare the queue"),
    Right(Who.FLOWER, "", f"{CONNECTION} {SCRIPTS} PUNSUBSCRIBE", "connect"),
    Right(
        Who.FLOWER,
        "{queue}",
        "LLEN LPUSH RPUSH",
        "depth on the Broker tab; replay, also through its API; retry",
    ),
    Right(Who.FLOWER, "{priority}", "LLEN", "depth on the Broker tab"),
    Right(
        Who.FLOWER,
        "{dead}",
        "LLEN LRANGE LINDEX LPUSH LSET LREM",
        "Dead letters: list, replay, purge; Retries: bury",
    ),
    Right(
        Who.FLOWER,
        "{own}",
        "DEL EXISTS GET HDEL HEXISTS HGET HGETALL HINCRBY HSET SET "
        "ZCARD ZCOUNT ZRANGE ZRANK ZREM ZSCORE",
        "Dead letters and Retries: counts, holds, preview; retry, bury, purge",
    ),
    Right(Who.FLOWER, "{never}", "DEL", "replay, retry, bury and purge when memory is full"),
    Right(
        Who.FLOWER,
        "{bindings}",
        "SADD SREM SMEMBERS ZADD ZRANGEBYSCORE ZREM EXISTS DEL",
        "ask workers",
    ),
    Right(Who.FLOWER, "{replies}", "LLEN BRPOP DEL", "read workers' answers"),
    Right(Who.FLOWER, "{watching}", "LLEN DEL", "watch events"),
    Right(Who.FLOWER, "{control}", "PUBLISH", "ask workers"),
    Right(Who.FLOWER, "{events}", "PSUBSCRIBE", "watch events"),
)

# The key or channel on which a placeholder's rights are tried, and the pattern for it in an ACL.
TRIED_ON = {
    "{queue}": "mailgun.{integration}",
    "{priority}": "mailgun.{integration}\x06\x163",
    "{dead}": "mailgun.{integration}.dead_letter",
    "{own}": "signal:{integration}:check",
    "{never}": "signal:never",
    "{bindings}": "_kombu.binding.check",
    "{replies}": "check.celery.pidbox",
    "{watching}": "celeryev.check",
    "{control}": "/{database}.celery.pidbox",
    "{events}": "/{database}.celeryev/*",
}
PATTERNS = {
    "{queue}": "~mailgun.{integration}",
    "{priority}": "~mailgun.{integration}*",
    "{dead}": "~mailgun.{integration}.dead_letter",
    "{own}": "~signal:{integration}:*",
    "{never}": "~signal:never",
    "{bindings}": "~_kombu.binding*",
    "{replies}": "~*.celery.pidbox",
    "{watching}": "~celeryev.*",
    "{control}": "&/{database}.celery.pidbox",
    "{events}": "&/{database}.celeryev/*",
}
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
        key = TRIED_ON.get(right.on, "").format(integration=integration, database=database)
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
    [begun] = _replies(connection, [["MULTI"]])
    if isinstance(begun, redis.RedisError):
        return _missing(RIGHTS[0], "MULTI", begun) or Missing(RIGHTS[0], "MULTI", unavailable=True)
    [queued] = _replies(connection, [["PING"]])
    if isinstance(queued, redis.RedisError) or queued in {"QUEUED", b"QUEUED"}:
        return None
    return Missing(
        RIGHTS[0], "MULTI", unavailable=True
    )  # a proxy answered MULTI, and queues nothing


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
