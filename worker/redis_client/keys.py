"""The names of one integration's keys in Redis, and what each key holds.

docs/architecture.md shows them as a table. Lua scripts that need a key for each member or delivery
receive `Keys.prefix` and spell the rest as here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

INTEGRATION = "<integration>"
NEVER = "signal:never"  # never written: deleting it shows whether Redis accepts writes

Spelled = TypeVar("Spelled", str, Callable[[object], str])


@dataclass
class Key(Generic[Spelled]):
    """How a key is spelled, what is stored there, and how long it lives.

    On an instance of `Keys` the attribute is the key. If the pattern has a second placeholder, it
    is a function that returns the key for that placeholder's value. It is spelled once an instance.

    Attributes:
        pattern: The key, with placeholders in angle brackets.
        kind: The Redis type.
        holds: What is stored there.
        lives: How long it lives.
        name: The attribute of `Keys`.
    """

    pattern: str
    kind: str
    holds: str
    lives: str = "until its last entry goes"
    name: str = field(default="", init=False)

    def __set_name__(self, _owner: type["Keys"], name: str) -> None:
        """Note the name of the attribute."""
        self.name = name

    def __get__(self, keys: "Keys | None", _owner: type["Keys"]) -> Spelled:
        """Return the key of the integration of `keys`; on the class, this description."""
        if keys is None:
            return self  # type: ignore[return-value]
        spelled: Any = self.pattern.replace(INTEGRATION, keys.integration)
        before, placeholder, rest = spelled.partition("<")
        if placeholder:
            after = rest.partition(">")[2]
            spelled = lambda value: f"{before}{value}{after}"  # noqa: E731
        vars(keys)[self.name] = spelled
        return spelled  # type: ignore[no-any-return]


def _one(pattern: str, kind: str, holds: str, lives: str = "until its last entry goes") -> Key[str]:
    return Key(pattern, kind, holds, lives)


def _each(pattern: str, kind: str, holds: str, lives: str) -> Key[Callable[[object], str]]:
    return Key(pattern, kind, holds, lives)


DAYS = "`LEDGER_DAYS`"
FOR_EVER = "as long as Redis"
MINUTE = "a minute"


class Keys:
    """The keys of one integration."""

    def __init__(self, integration: str) -> None:
        """Spell the keys of `integration`, a valid `SIGNAL_INTEGRATION`."""
        self.integration = integration
        self.prefix = f"signal:{integration}:"

    queue = _one("mailgun.<integration>", "list", "the queue: messages of Celery, the newest first")
    dead_letters = _one(
        "mailgun.<integration>.dead_letter",
        "list",
        "the dead-letter queue: messages with a `dead_letter` header, the newest first",
        "until replayed or purged, or `DEAD_LETTERS_MAX`, `DEAD_LETTERS_MAX_DAYS`",
    )
    dead_letter_counts = _one(
        "signal:<integration>:dead_letter_counts", "hash", "reason → number of dead letters"
    )
    letters_bounded = _one(
        "signal:<integration>:letters_bounded",
        "string",
        "a worker looked for dead letters beyond a limit",
        "a second",
    )
    letters_bound_told = _one(
        "signal:<integration>:letters_bound_told",
        "string",
        "a worker warned that a limit is near",
        "an hour",
    )
    buried = _each(
        "signal:<integration>:buried:<token>",
        "string",
        "a burial was done; makes the step repeatable",
        MINUTE,
    )
    removed = _each(
        "signal:<integration>:removed:<token>",
        "string",
        "how many were replayed, retried, buried or purged; makes the step repeatable",
        MINUTE,
    )
    in_flight = _one(
        "signal:<integration>:unacked", "hash", "delivery tag → message that a worker has in hand"
    )
    in_flight_index = _one(
        "signal:<integration>:unacked_index",
        "sorted set",
        "delivery tag → when it was fetched, or its visibility timeout extended",
    )
    fetched_at = _one(
        "signal:<integration>:fetched_at", "string", "the last stamp of a fetched message", "a day"
    )
    delayed = _one(
        "signal:<integration>:delayed", "sorted set", "message → when its next try is due"
    )
    waiting = _one(
        "signal:<integration>:waiting",
        "sorted set",
        "digest of a locked member → when to look again",
        "a few minutes",
    )
    waiting_for = _each(
        "signal:<integration>:waiting:<digest>",
        "sorted set",
        "messages that wait for that member",
        "a few minutes",
    )
    adopted = _each(
        "signal:<integration>:adopted:<token>",
        "string",
        "delivery tags of adopted messages; makes the step repeatable",
        MINUTE,
    )
    priority_lists = _one(
        "signal:<integration>:priority_lists", "set", "lists of messages sent with a priority"
    )
    priority_lists_looked = _one(
        "signal:<integration>:priority_lists_looked",
        "string",
        "a worker looked for such lists",
        MINUTE,
    )
    hold = _one(
        "signal:<integration>:hold",
        "hash",
        "the circuit breaker's state, and the integration's own clock",
        FOR_EVER,
    )
    pace = _one(
        "signal:<integration>:pace",
        "hash",
        "the rate limiter's state, and the members of recent failures",
        "an hour after use",
    )
    member = _each(
        "signal:<integration>:member:<digest>", "hash", "a member's record and copy", DAYS
    )
    lock = _each(
        "signal:<integration>:lock:<digest>",
        "string",
        "a member's lease: its token",
        "longer than any delivery",
    )
    released = _each(
        "signal:<integration>:released:<token>",
        "hash",
        "digest → how its lease was released; makes the step repeatable",
        MINUTE,
    )
    look_after = _one(
        "signal:<integration>:look_after",
        "sorted set",
        "address → when to look at the member again",
        DAYS,
    )
    bulk = _one(
        "signal:<integration>:bulk",
        "hash",
        "what samples of bulk calls have shown: the trust in them, or until when members go alone",
        "30 days after the last sample",
    )
    opt_outs = _one(
        "signal:<integration>:opt_outs",
        "hash",
        "the scan of the unsubscribed: which worker runs it, and its progress",
        "a day after the last lease",
    )
    synced = _one(
        "signal:<integration>:synced", "string", "when the last complete sync began", DAYS
    )
    sync = _one(
        "signal:<integration>:sync",
        "hash",
        "the sync of the whole list: which process runs it, and its progress",
        "until it is complete, or a day after its last page",
    )
    totals = _one(
        "signal:<integration>:totals", "hash", "outcome → count since the first worker", FOR_EVER
    )
    slice = _each(
        "signal:<integration>:slice:<number>",
        "hash",
        "outcome → count within five seconds, numbered since the epoch",
        "two minutes",
    )
    not_understood = _one(
        "signal:<integration>:not_understood", "hash", "what was not understood → count", FOR_EVER
    )
    workers = _one(
        "signal:<integration>:workers", "sorted set", "host:pid → when it was last seen", MINUTE
    )
    worker = _each(
        "signal:<integration>:worker:<host:pid>",
        "string",
        "what a worker is and does, as JSON",
        MINUTE,
    )
    ended = _one(
        "signal:<integration>:ended",
        "list",
        "how the latest tries of events ended, the newest first",
        "100,000 tries",
    )
    alerts = _one(
        "signal:<integration>:alerts",
        "string",
        "what the alert webhook was told, and what it is still to be told, as JSON",
        "a day after the last look",
    )
    check = _one(
        "signal:<integration>:check",
        "string",
        "a test value, by which `check` sees whether it may write",
        "seconds",
    )
