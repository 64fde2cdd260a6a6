"""The integration of a command, with a line on standard error if this Redis does not know it."""

from typing import TYPE_CHECKING

from worker.cli.console import err
from worker.ops.integrations import integrations, is_known
from worker.queue.dead_letter_filter import dead_letters_for
from worker.queue.dead_letters import DeadLetterQueue
from worker.redis_client.client import connect
from worker.settings import Settings

if TYPE_CHECKING:
    import redis

MOST_NAMES = 20  # named in one line


def store_of(settings: Settings) -> "redis.Redis":
    """Return a client for the integration's Redis.

    Prints a line on standard error if that Redis does not know the integration, since its name may
    be misspelt. That is no error: a new integration begins empty.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    store = connect(settings.redis_url)
    if not is_known(settings, store):
        there = integrations(store)
        names = ", ".join(there[:MOST_NAMES]) + (" …" if len(there) > MOST_NAMES else "")
        err.print(
            f"no integration {settings.signal_integration} on this Redis yet; "
            + (f"there are: {names} (SIGNAL_INTEGRATION)" if there else "there is none")
        )
    return store


def letters_of(settings: Settings) -> DeadLetterQueue:
    """Return the integration's dead-letter queue; otherwise the same as `store_of`."""
    store_of(settings)
    return dead_letters_for(settings)
