"""Replay dead letters by filter, a limited number a call, and report whether a rest may remain."""

from typing import NamedTuple

from worker.queue.dead_letter_filter import DeadLetterFilter, batches
from worker.queue.dead_letters import DeadLetterQueue

REPLAY_AT_ONCE = 2000
IN_ONE_STEP = 200


class ReplayResult(NamedTuple):
    """The result of one call of `replay_matching`.

    Attributes:
        offered: Letters that matched the filter.
        moved: Letters of these that went back to the queue; another command removed the others
            first.
    """

    offered: int
    moved: int

    def rest(self, limit: int | None) -> dict[str, int] | None:
        """Return the keyword arguments of a further call, or None if no rest remains.

        Letters that another command removed meanwhile do not end the replay. If it removed all of
        them, it goes on with the rest, and this one stops.

        Args:
            limit: The `limit` of the call that returned this result.
        """
        if self.offered < REPLAY_AT_ONCE or self.moved in (0, limit):
            return None
        return {"limit": limit - self.moved} if limit else {}


def replay_matching(
    letters: DeadLetterQueue, wanted: DeadLetterFilter, limit: int | None, now: float
) -> ReplayResult:
    """Put the oldest matching letters back on their queue.

    Args:
        letters: The dead-letter queue.
        wanted: Which dead letters are meant.
        limit: Letters at most; None: `REPLAY_AT_ONCE`, which holds in any case.
        now: When the retry windows begin, in epoch seconds.

    Raises:
        redis.RedisError: Redis did not answer, or refused.
    """
    offered = moved = 0
    at_once = min(REPLAY_AT_ONCE, limit or REPLAY_AT_ONCE)
    for batch in batches(letters, wanted, at_once, at_once=IN_ONE_STEP):
        offered += len(batch)
        moved += letters.replay(batch, now)
    return ReplayResult(offered, moved)
