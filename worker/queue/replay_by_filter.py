"""Replay dead letters by filter, a bounded number at a time: what was done, and whether there may be more."""

from typing import NamedTuple

from worker.queue.dead_letter_filter import DeadLetterFilter, batches
from worker.queue.dead_letters import DeadLetterQueue

REPLAY_AT_ONCE = 2000
IN_ONE_STEP = 200


class Replayed(NamedTuple):
    """What one go came to."""

    # Letters that were meant.
    offered: int
    # Those of them that went back to the queue; another command took the rest away first.
    moved: int

    def rest(self, limit: int | None) -> dict[str, int] | None:
        """Return the `limit` of a go at the rest, as keyword arguments; None if there is no rest.

        Goes on by what was offered, not by what was moved: letters that another takes away meanwhile end nothing. Where the
        other took all of them, it goes on, and not this one.
        """
        if self.offered < REPLAY_AT_ONCE or self.moved in (0, limit):
            return None
        return {"limit": limit - self.moved} if limit else {}


def replayed(
    letters: DeadLetterQueue, wanted: DeadLetterFilter, limit: int | None, now: float
) -> Replayed:
    """Put the oldest letters that are meant back on their queue, at most `limit` and `REPLAY_AT_ONCE`.

    Raises `redis.RedisError`.
    """
    offered = moved = 0
    at_once = min(REPLAY_AT_ONCE, limit or REPLAY_AT_ONCE)
    for batch in batches(letters, wanted, at_once, at_once=IN_ONE_STEP):
        offered += len(batch)
        moved += letters.replay(batch, now)
    return Replayed(offered, moved)
