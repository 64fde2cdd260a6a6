"""Stalls of the machine: how late a thread runs that sleeps for a moment, again and again.

Other programs on the machine delay a worker between the answer that tells it to wait and the
requests that it has decided on already. The delay of this thread shows how long that may take.
"""

import time
from threading import Event, Thread

MOMENT_SECONDS = 0.005
NOTED_SECONDS = 0.01  # shorter ones are no stalls


class Stalls:
    """The stalls since the start, each with the time at which it ended."""

    def __init__(self) -> None:
        """Start to look."""
        self._found: list[tuple[float, float]] = []
        self._ended = Event()
        Thread(target=self._look, daemon=True).start()

    def stop(self) -> None:
        """End the looks."""
        self._ended.set()

    def longest(self, begin: float, end: float) -> float:
        """Return the seconds of the longest stall that ended between these times, epoch seconds."""
        return max((seconds for at, seconds in self._found if begin <= at <= end), default=0.0)

    def _look(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            time.sleep(MOMENT_SECONDS)
            late = time.monotonic() - began - MOMENT_SECONDS
            if late >= NOTED_SECONDS:
                self._found.append((time.time(), late))
