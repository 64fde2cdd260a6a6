"""The bounds that an operator has set for dead letters: the oldest beyond them are removed, each with a word, and none without.

signal:<integration>:letters_bounded   string   a worker looked within the last second
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from worker.queue.dead_letters import DeadLetter, DeadLetterQueue
from worker.redis_client.keys import Keys

logger = logging.getLogger("signal_mailgun.dead_letters")

AT_ONCE = 50
LOOK_SECONDS = 1
TELL_SECONDS = 3600
NEARLY = 0.8  # of a bound, from which workers say that it comes
DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class DeadLetterLimits:
    """How many dead letters are kept, and for how many days; 0: all, and for ever."""

    letters: DeadLetterQueue
    most: int = 0
    days: float = 0
    # Told the bound of each letter that is removed: `number` or `age`.
    removed: Callable[[str], None] = lambda _bound: None

    def turn(self) -> bool:
        """Return True to one of those who ask within a second, if there is a bound: it is to `enforce`."""
        return bool(self.most or self.days) and self._first(
            self._keys.letters_bounded, LOOK_SECONDS
        )

    def enforce(self, now: float) -> int:
        """Remove what is beyond the bounds, at most `AT_ONCE`; returns how many. Raises `redis.RedisError`."""
        count, done = self.letters.count(), 0
        if (
            self.most
            and count >= self.most * NEARLY
            and self._first(self._keys.letters_bound_told, TELL_SECONDS)
        ):
            text = "%d dead letters, and DEAD_LETTERS_MAX is %d: beyond it the oldest are removed for good"
            logger.warning(text, count, self.most)
        for place, each in enumerate(self.letters.oldest(AT_ONCE)):
            bound = self._beyond(each, count - place, now)
            if bound and self.letters.purge([each]):
                done += 1
                self.removed(bound)
                extra = {"event": each.message.id, "reason": each.letter.reason, "bound": bound}
                logger.warning("a dead letter was removed for good", extra=extra)
        return done

    def _beyond(self, buried: DeadLetter, count: int, now: float) -> str:
        """Return the bound beyond which the oldest of `count` letters is; "" if it stays. One that says no time has no age."""
        if self.most and count > self.most:
            return "number"
        died_at = buried.letter.died_at
        return "age" if self.days and died_at and now - died_at > self.days * DAY_SECONDS else ""

    @property
    def _keys(self) -> Keys:
        return Keys(self.letters.integration)

    def _first(self, key: str, seconds: int) -> bool:
        return bool(self.letters.redis.set(key, "1", nx=True, ex=seconds))
