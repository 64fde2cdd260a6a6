"""Messages in flight: taken from the queue by a worker and not acknowledged yet, each with a visibility timeout.

    signal:<integration>:unacked         hash         delivery tag -> message taken and not acknowledged
    signal:<integration>:unacked_index   sorted set   delivery tag -> when it was taken or last kept, epoch seconds

All moments are by Redis's clock; a worker's own may be wrong. A delivery tag begins with the moment of the taking, so
that tags sort as their messages were taken. Each script writes first where the message is to be, then removes it where
it was: a script that fails in between repeats a message and loses none.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from worker.gate.gate import ALLOW_WHEN_FULL
from worker.redis_client.keys import Keys
from worker.redis_client.lua import script

if TYPE_CHECKING:
    import redis

RESTORE_AT_ONCE = 1000  # messages in one turn: Redis does nothing else meanwhile

KEEP = ALLOW_WHEN_FULL + script("worker.queue", "in_flight_keep")
PUT_BACK = ALLOW_WHEN_FULL + script("worker.queue", "in_flight", "in_flight_put_back")
RESTORE = ALLOW_WHEN_FULL + script("worker.queue", "in_flight", "in_flight_restore")
PUT_BACK_TAKINGS = ALLOW_WHEN_FULL + script(
    "worker.queue", "in_flight", "in_flight_put_back_takings"
)


def in_flight_keys(integration: str) -> tuple[str, str]:
    """Return the keys of what workers have taken and not acknowledged: of the index, and of the messages."""
    keys = Keys(integration)
    return keys.in_flight_index, keys.in_flight


def acknowledge(client: "redis.Redis", keys: tuple[str, str], tags: Sequence[str]) -> None:
    """Remove the messages of these tags for good: they have ended. Raises `redis.RedisError`."""
    with client.pipeline(transaction=True) as at_once:
        at_once.zrem(keys[0], *tags)
        at_once.hdel(keys[1], *tags)
        at_once.execute()


def keep(client: "redis.Redis", index: str, tags: Sequence[str]) -> None:
    """Extend the visibility timeout of these tags: it begins anew. Raises `redis.RedisError`."""
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
    """Put messages back on their queue, in the order of `tags`; those acknowledged meanwhile are left out.

    At the front the first of `tags` is the next to be taken. `failed`: this counts as a return from a worker that did not end
    them; nothing else that is put back here does. Raises `redis.RedisError`.
    """
    push = "LPUSH" if to_the_back else "RPUSH"
    for tag in tags if to_the_back else reversed(list(tags)):
        client.eval(PUT_BACK, 3, queue, *keys, push, tag, str(int(failed)))


def put_back_takings(
    client: "redis.Redis", queue: str, keys: tuple[str, str], takings: Sequence[str]
) -> int:
    """Put back at the front what these takings took, none of which has reached its worker. That counts as no return.

    Returns how many messages. Raises `redis.RedisError`.
    """
    return cast("int", client.eval(PUT_BACK_TAKINGS, 3, queue, *keys, *takings)) if takings else 0


def restore_overdue(
    client: "redis.Redis", queue: str, keys: tuple[str, str], visibility_seconds: float
) -> int:
    """Put back at the front what no worker acknowledged or kept for so long, in the order in which it was taken.

    Each counts one more return. Returns how many messages, `RESTORE_AT_ONCE` at most. Raises `redis.RedisError`.
    """
    return cast(
        "int", client.eval(RESTORE, 3, queue, *keys, str(visibility_seconds), str(RESTORE_AT_ONCE))
    )
