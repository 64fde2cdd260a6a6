"""Access rights (ACL) that Redis must grant, as one table; `rights_trial.py` tries each.

The table names keys and channels by placeholders, and `PATTERNS` spells them:

* `{queue}` is `Keys.queue`, `{dead}` is `Keys.dead_letters`, `{own}` is all other keys of `Keys`.
* `{priority}` is the lists, beside the queue, of messages that were sent with a priority.
* `{never}` is the key that is never written. If Redis's memory is full, a script that deletes it
  may go on.
* `{bindings}` is kombu's record of the queues, `{replies}` its lists of replies of the remote
  control, `{watching}` its queue of task events for Flower.
* `{control}` is the channel of the remote control's requests, `{events}` that of task events.
"""

from dataclasses import dataclass
from enum import StrEnum


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

# The pattern in an ACL: a sign for keys or channels, and what they are called.
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
# The key on which a placeholder's rights are tried, if it is not what the pattern calls them.
TRIED_ON = {
    "{priority}": "mailgun.{integration}\x06\x163",
    "{own}": "signal:{integration}:check",
    "{bindings}": "_kombu.binding.check",
    "{replies}": "check.celery.pidbox",
    "{watching}": "celeryev.check",
}
