"""Room of a worker: how many events it has in hand at once, which follows the latency that it sees.

A worker whose events wait for Mailgun while its CPU is idle takes more of them in hand, as long as
that lets it end more of them. A worker whose CPU is busy takes fewer: more would only wait in it,
and cost more if it dies.
"""

import time
from collections.abc import Callable

# The room grows or shrinks by these factors at each look.
GROWTH, SHRINKAGE = 2.0, 0.8
# The shares of one core that the worker's process uses: below the first it may take more in hand,
# above the second it should take less. Python runs on one core.
IDLE, BUSY = 0.75, 0.95
# The events that end after a growth, as a multiple of those before, must exceed this; else the room
# shrinks back and stays for a while: the machine or Mailgun is what is slow.
GAIN = 1.1
STAYS_SECONDS = 10.0
# The share of the room that is in use if more events would come.
FULL = 0.9
SHORTEST_SECONDS = 0.5  # between two looks, for a share of CPU that means something


class Room:
    """The number of events that a worker may have in hand.

    Attributes:
        least: The number to begin with, which it never falls below.
        most: The number that it never exceeds.
        events: The number now.
    """

    def __init__(
        self,
        least: int,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        """Begin with the least room.

        Args:
            least: The number to begin with.
            most: The greatest number; if it is `least`, the room never changes.
            clock: Returns the current time, in seconds.
            cpu: Returns the CPU seconds that this process has used.
        """
        self.least, self.most, self.events = least, most, least
        self._clock, self._cpu = clock, cpu
        self._looked = clock(), cpu(), 0
        # The room and the rate before the last growth, while it is not known whether that helped.
        self._before: tuple[int, float] | None = None
        self._stays_until = 0.0

    def adapt(self, in_hand: int, ended: int) -> None:
        """Grow or shrink, as the time since the last call says; housekeeping calls it.

        Args:
            in_hand: The number of events in hand now.
            ended: The number of events that have ended since the worker started.
        """
        now, used = self._clock(), self._cpu()
        seconds = now - self._looked[0]
        if seconds < SHORTEST_SECONDS:
            return
        busy, rate = (used - self._looked[1]) / seconds, (ended - self._looked[2]) / seconds
        self._looked = now, used, ended
        before, self._before = self._before, None
        if busy > BUSY:
            self.events = max(self.least, int(self.events * SHRINKAGE))
        elif before and rate <= GAIN * before[1]:
            self.events, self._stays_until = before[0], now + STAYS_SECONDS
        elif busy < IDLE and in_hand >= FULL * self.events and now >= self._stays_until:
            self._before = self.events, rate
            self.events = min(self.most, int(self.events * GROWTH) + 1)
