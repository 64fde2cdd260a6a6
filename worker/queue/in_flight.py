"""Messages in flight: fetched by a worker, not acknowledged yet, each with a visibility timeout.

`Keys.in_flight` holds the messages by delivery tag. `Keys.in_flight_index` holds when each was
fetched, or its timeout extended, by Redis's clock, since a worker's own clock may be wrong. A
delivery tag begins with the moment of the fetch, so tags sort as their messages were fetched. Each
script writes a message to its next place before it removes it from the last: a script that fails in
between repeats a message and loses none.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from worker.redis_client.keys import Keys
from worker.redis_client.lua import ALLOW_WHEN_FULL, script
from worker.redis_client.shared_trips import SharedTrips

if TYPE_CHECKING:
    import redis

RESTORE_AT_ONCE = 1000  # messages in one script: Redis runs nothing else meanwhile

KEEP = ALLOW_WHEN_FULL + script("worker.queue", "in_flight_keep")
PUT_BACK = ALLOW_WHEN_FULL + script("worker.queue", "in_flight", "in_flight_put_back")
RESTORE = ALLOW_WHEN_FULL + script("worker.queue", "in_flight", "in_flight_restore")
PUT_BACK_FETCHES = ALLOW_WHEN_FULL + script(
    "worker.queue", "in_flight", "in_flight_put_back_fetches"
)


def in_flight_keys(integration: str) -> tuple[str, str]:
    """Return the keys of the messages in flight: of their index, then of the messages."""
    keys = Keys(integration)
    return keys.in_flight_index, keys.in_flight


def acknowledge(trips: SharedTrips, keys: tuple[str, str], tags: Sequence[str]) -> None:
    """Remove the messages of these delivery tags permanently.

    Args:
        trips: The round trips to Redis.
        keys: The keys that `in_flight_keys` returns.
        tags: The delivery tags.

    Raises:
        redis.RedisError: Redis did not answer, or refused.
    """
    trips.transaction([("ZREM", keys[0], *tags), ("HDEL", keys[1], *tags)])


def keep(client: "redis.Redis", index: str, tags: Sequence[str]) -> None:
    """Extend the visibility timeout of these delivery tags: it begins anew.

    Args:
        client: The client for Redis.
        index: The key of the index of messages in flight.
        tags: The delivery tags; those acknowledged meanwhile are ignored.

    Raises:
        redis.RedisError: Redis did not answer, or refused.
    """
    client.eval(KEEP, 1, index, *tags)


def put_back(
    client: "redis.Redis",
    queue: str,
    keys: tuple[str, str],
    tags: Iterable[str],
    *,
    to_the_back: bool = False,
    failed: bool = False,
) -> None:
    """Put messages back on their queue, in the order of `tags`.

    Args:
        client: The client for Redis.
        queue: The queue.
        keys: The keys that `in_flight_keys` returns.
        tags: The delivery tags; those acknowledged meanwhile are ignored.
        to_the_back: Put the messages at the back; else at the front, where the first of `tags` is
            fetched next.
        failed: Count this as a return from a worker that did not finish the messages.

    Raises:
        redis.RedisError: Redis did not answer, or refused.
    """
    push = "LPUSH" if to_the_back else "RPUSH"
    for tag in tags if to_the_back else reversed(list(tags)):
        client.eval(PUT_BACK, 3, queue, *keys, push, tag, str(int(failed)))


def put_back_fetches(
    client: "redis.Redis", queue: str, keys: tuple[str, str], fetches: Sequence[str]
) -> int:
    """Put the messages of fetches whose replies were lost back at the front of their queue.

    The messages have not reached a worker, so this counts as no return.

    Args:
        client: The client for Redis.
        queue: The queue.
        keys: The keys that `in_flight_keys` returns.
        fetches: The marks of the fetches.

    Returns:
        How many messages were put back.

    Raises:
        redis.RedisError: Redis did not answer, or refused.
    """
    return cast("int", client.eval(PUT_BACK_FETCHES, 3, queue, *keys, *fetches)) if fetches else 0


def restore_overdue(
    client: "redis.Redis", queue: str, keys: tuple[str, str], visibility_seconds: float
) -> int:
    """Put messages whose visibility timeout has ended back at the front of their queue.

    They keep the order in which they were fetched. Each counts one more return.

    Args:
        client: The client for Redis.
        queue: The queue.
        keys: The keys that `in_flight_keys` returns.
        visibility_seconds: The visibility timeout.

    Returns:
        How many messages were put back, `RESTORE_AT_ONCE` at most.

    Raises:
        redis.RedisError: Redis did not answer, or refused.
    """
    return cast(
        "int", client.eval(RESTORE, 3, queue, *keys, str(visibility_seconds), str(RESTORE_AT_ONCE))
    )
