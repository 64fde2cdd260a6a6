"""Limits of the dead-letter queue: the oldest dead letters beyond them are removed, each logged.

`Keys.letters_bounded` lets one worker a second look; `Keys.letters_bound_told` limits the warning.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from worker.queue.dead_letter import DeadLetter
from worker.queue.dead_letters import DeadLetterQueue
from worker.redis_client.keys import Keys

logger = logging.getLogger("signal_mailgun.dead_letters")

AT_ONCE = 50
LOOK_SECONDS = 1
TELL_SECONDS = 3600
NEARLY = 0.8  # of DEAD_LETTERS_MAX, from which workers warn
DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class DeadLetterLimits:
    """Limits of a dead-letter queue.

    Attributes:
        letters: The dead-letter queue.
        most: How many dead letters are kept; 0: all.
        days: For how many days each is kept; 0: without limit.
        removed: Called for each letter that is removed, with the limit: `number` or `age`.
    """

    letters: DeadLetterQueue
    most: int
    days: float
    removed: Callable[[str], None]

    def try_start(self) -> bool:
        """Claim the right to call `enforce`.

        Returns:
            True to one caller a second if a limit is set, else False.
        """
        return bool(self.most or self.days) and self._first(
            self._keys.letters_bounded, LOOK_SECONDS
        )

    def enforce(self, now: float) -> int:
        """Remove the dead letters beyond the limits, at most `AT_ONCE`.

        Args:
            now: The moment from which ages count, in epoch seconds.

        Returns:
            How many dead letters were removed.

        Raises:
            redis.RedisError: Redis did not answer, or refused.
        """
        count, done = self.letters.count(), 0
        if (
            self.most
            and count >= self.most * NEARLY
            and self._first(self._keys.letters_bound_told, TELL_SECONDS)
        ):
            text = (
                "%d dead letters, and DEAD_LETTERS_MAX is %d: "
                "beyond it the oldest are removed permanently"
            )
            logger.warning(text, count, self.most)
        for place, each in enumerate(self.letters.oldest(AT_ONCE)):
            bound = self._beyond(each, count - place, now)
            if bound and self.letters.purge([each]):
                done += 1
                self.removed(bound)
                extra = {"event": each.message.id, "reason": each.letter.reason, "bound": bound}
                logger.warning("a dead letter was removed permanently", extra=extra)
        return done

    def _beyond(self, buried: DeadLetter, count: int, now: float) -> str:
        """Return the limit that the oldest of `count` letters exceeds, or "" if the letter stays.

        A letter that does not say when it died has no age.
        """
        if self.most and count > self.most:
            return "number"
        died_at = buried.letter.died_at
        return "age" if self.days and died_at and now - died_at > self.days * DAY_SECONDS else ""

    @property
    def _keys(self) -> Keys:
        return Keys(self.letters.integration)

    def _first(self, key: str, seconds: int) -> bool:
        return bool(self.letters.redis.set(key, "1", nx=True, ex=seconds))
