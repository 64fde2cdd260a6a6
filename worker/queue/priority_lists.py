"""Priority lists: kombu puts messages sent with a priority on lists beside the queue.

Workers move them to the queue. A list's name is `<queue><sep><priority>`, by the producer's `sep`
and `priority_steps`. One worker a minute looks for lists (`Keys.priority_lists_looked`) and adds
those found to `Keys.priority_lists`. A list's order stays; its priority is ignored. A `sep` that
holds a letter or digit, or begins with - or _, cannot be told from another queue's name, and is not
looked for.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

from worker.redis_client.keys import Keys
from worker.redis_client.lua import ALLOW_WHEN_FULL, script

if TYPE_CHECKING:
    import redis

KOMBU_SEP = "\x06\x16"
# Steps that are always read: Celery's own 3, 6 and 9, and those of `list(range(10))`.
KOMBU_STEPS = range(1, 10)
LOOK_SECONDS = 60
AT_ONCE = 1000
MOST_LISTS = 1000
SUFFIX = re.compile(r"[^a-zA-Z0-9_-][^a-zA-Z0-9]{0,9}[1-9]\d{0,2}")

DRAIN = ALLOW_WHEN_FULL + script("worker.queue", "drain_priority_lists")


@dataclass(frozen=True)
class PriorityLists:
    """The priority lists of one integration."""

    redis: "redis.Redis"
    integration: str
    queue: str

    def drain(self, limit: int = 500) -> int:
        """Move at most `limit` messages to the back of the queue, oldest first; return how many."""
        lists = self.names()
        return int(
            cast("int", self.redis.eval(DRAIN, 1 + len(lists), self.queue, *lists, str(limit)))
        )

    def try_start(self) -> bool:
        """Claim the right to call `look`.

        Returns:
            True to one caller a minute, else False.
        """
        return bool(self.redis.set(self._keys.priority_lists_looked, "1", nx=True, ex=LOOK_SECONDS))

    def look(self) -> None:
        """Find further lists. Goes through all keys in Redis, a thousand at a time."""
        found = [each for each in self._beside_the_queue() if each not in self._of_kombu()]
        if found:
            self.redis.sadd(self._keys.priority_lists, *found[:MOST_LISTS])

    def names(self) -> list[str]:
        """Return the names of the known lists, kombu's own first."""
        further = cast("set[str]", self.redis.smembers(self._keys.priority_lists))
        return [*self._of_kombu(), *sorted(each for each in further if self._is_one(each))]

    def counts(self) -> dict[str, int]:
        """Return the number of messages on each list that has any."""
        names = self.names()
        with self.redis.pipeline(transaction=False) as pipe:
            for each in names:
                pipe.llen(each)
            counts = pipe.execute(raise_on_error=False)
        return {
            name: count
            for name, count in zip(names, counts, strict=True)
            if isinstance(count, int) and count
        }

    @cached_property
    def _keys(self) -> Keys:
        return Keys(self.integration)

    def _of_kombu(self) -> list[str]:
        return [f"{self.queue}{KOMBU_SEP}{step}" for step in KOMBU_STEPS]

    def _beside_the_queue(self) -> list[str]:
        names = self.redis.scan_iter(f"{self.queue}?*", count=AT_ONCE, _type="list")
        return [each for each in cast("list[str]", list(names)) if self._is_one(each)]

    def _is_one(self, name: str) -> bool:
        return name.startswith(self.queue) and bool(SUFFIX.fullmatch(name, len(self.queue)))
