"""Messages that a producer sent with a priority: kombu puts them on lists of their own beside the queue; these are brought to it.

    mailgun.<integration><sep><priority>      list     kombu's names; which, is up to each producer's `sep` and `priority_steps`
    signal:<integration>:priority_lists       set      those that were found; looked for once a minute, by one of the workers
    signal:<integration>:priority_lists_looked string  a worker looked within the last minute

A list's order stays; its priority is not heeded. A `sep` that holds a letter or digit, or begins with - or _, cannot be told
from another queue's name, and is not looked for.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from worker.gate.gate import ALLOW_WHEN_FULL
from worker.redis_client.keys import Keys
from worker.redis_client.lua import script

if TYPE_CHECKING:
    import redis

KOMBU_SEP = "\x06\x16"
KOMBU_STEPS = range(
    1, 10
)  # Celery's own 3, 6 and 9, and what `list(range(10))` gives: no need to look for those
LOOK_SECONDS = 60
AT_ONCE = 1000
MOST_LISTS = 1000
SUFFIX = re.compile(r"[^a-zA-Z0-9_-][^a-zA-Z0-9]{0,9}[1-9]\d{0,2}")

GATHER = ALLOW_WHEN_FULL + script("worker.queue", "drain_priority_lists")


@dataclass(frozen=True)
class PriorityLists:
    """The lists of one integration's messages with a priority."""

    redis: "redis.Redis"
    integration: str
    queue: str

    def drain(self, limit: int = 500) -> int:
        """Bring at most `limit` messages to the back of the queue, each list's oldest first; gives how many."""
        lists = self.names()
        return int(
            cast("int", self.redis.eval(GATHER, 1 + len(lists), self.queue, *lists, str(limit)))
        )

    def turn(self) -> bool:
        """Return True to one of those who ask within a minute: it is to `look`."""
        return bool(self.redis.set(f"{self._key}_looked", "1", nx=True, ex=LOOK_SECONDS))

    def look(self) -> None:
        """Find lists under names not known yet. Goes through all of Redis, a thousand keys at a time."""
        found = [each for each in self._beside_the_queue() if each not in self._of_kombu()]
        if found:
            self.redis.sadd(self._key, *found[:MOST_LISTS])

    def names(self) -> list[str]:
        """The lists that are known, kombu's own first."""
        further = cast("set[str]", self.redis.smembers(self._key))
        return [*self._of_kombu(), *sorted(each for each in further if self._is_one(each))]

    def counts(self) -> dict[str, int]:
        """How many messages lie on each list that has any."""
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

    @property
    def _key(self) -> str:
        return Keys(self.integration).priority_lists

    def _of_kombu(self) -> list[str]:
        return [f"{self.queue}{KOMBU_SEP}{step}" for step in KOMBU_STEPS]

    def _beside_the_queue(self) -> list[str]:
        names = self.redis.scan_iter(f"{self.queue}?*", count=AT_ONCE, _type="list")
        return [each for each in cast("list[str]", list(names)) if self._is_one(each)]

    def _is_one(self, name: str) -> bool:
        return name.startswith(self.queue) and bool(SUFFIX.fullmatch(name, len(self.queue)))
