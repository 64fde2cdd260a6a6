"""Figures of the dead-letter queue that cost little however long it is."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise

from worker.queue.dead_letter import DeadLetter, letter_in
from worker.queue.dead_letters import DeadLetterQueue

POINTS = 60  # letters that are read for the times, spread evenly over the queue
MOST_READS = 4  # each is limited in bytes; long letters make the times coarser


@dataclass(frozen=True)
class Overview:
    """The dead-letter queue at one moment.

    Attributes:
        counts: Reason -> number of letters, as stored.
        total: The number of letters.
        times: When some letters died, in epoch seconds, and how many died until then; in order.
            The first is the oldest letter, the last one of the newest. Letters that another program
            put there without a time are left out.
    """

    counts: dict[str, int]
    total: int
    times: list[tuple[float, int]]

    @property
    def since(self) -> float | None:
        """When the oldest letter died, in epoch seconds; None if there is no letter with a time."""
        return self.times[0][0] if self.times else None

    @property
    def latest(self) -> float | None:
        """When one of the newest letters died; None if there is no letter with a time."""
        return self.times[-1][0] if self.times else None


def overview_of(letters: DeadLetterQueue) -> Overview:
    """Return the figures. Reads `POINTS` letters, and the stored counts by reason.

    Raises:
        redis.RedisError: Redis did not answer, or refused.
    """
    counts = letters.cached_counts()
    total = sum(counts.values())
    return Overview(counts, total, _times(letters, total))


def bars(overview: Overview, number: int) -> list[float]:
    """Return about how many letters died in each of `number` equal spans from first to last.

    Between two letters whose times are known the number grows evenly.
    """
    times, total = overview.times, overview.total
    if len(times) < 2 or times[-1][0] <= times[0][0]:
        return [float(total)] if times else []
    first, last = times[0][0], times[-1][0]
    edges = [first + (last - first) * each / number for each in range(number)]
    until = [0.0, *(_until(times, edge) for edge in edges[1:]), float(times[-1][1])]
    return [after - before for before, after in pairwise(until)]


def _until(times: list[tuple[float, int]], moment: float) -> float:
    place = bisect_right(times, moment, key=lambda each: each[0])
    (before, low), (after, high) = times[place - 1], times[place]
    return low + (high - low) * (moment - before) / (after - before)


def _times(letters: DeadLetterQueue, total: int) -> list[tuple[float, int]]:
    if not total:
        return []
    step = max(1, total // POINTS)
    found: list[DeadLetter] = []
    for _ in range(MOST_READS):
        place = -1 - step * len(found)
        page = letters.texts(place, -step, POINTS + 2)
        found += [letter_in(text, place - step * number) for number, text in enumerate(page)]
        if not page or len(found) * step >= total:
            break
    # The newest, which the steps may have missed.
    found += [letter_in(text, -total) for text in letters.texts(-total, 1, 1)]
    times = sorted(
        (each.letter.died_at, min(-each.place, total)) for each in found if each.letter.died_at > 0
    )
    # The queue's order may differ, but the numbers must never fall.
    numbers = accumulate((number for _, number in times), max)
    return list(zip((moment for moment, _ in times), numbers, strict=True))
