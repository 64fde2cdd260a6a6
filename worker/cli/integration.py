"""The integration that a command is about: a name that this Redis does not know is told, since it may be misspelt."""

from typing import TYPE_CHECKING

from worker.cli.console import err
from worker.ops.integrations import integrations, is_known
from worker.queue.dead_letter_filter import opened
from worker.queue.dead_letters import DeadLetterQueue
from worker.redis_client.client import connect
from worker.settings import Settings

if TYPE_CHECKING:
    import redis

MOST_NAMES = 20  # that are told


def store_of(settings: Settings) -> "redis.Redis":
    """Return a client for the integration's Redis; a line on standard error says so where the integration is not known there.

    A new one begins empty, so that is no error. Raises `redis.RedisError`.
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
    """Return the integration's dead letters, as `store_of` does its Redis."""
    store_of(settings)
    return opened(settings)
