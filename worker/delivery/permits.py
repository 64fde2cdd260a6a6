"""Permits of a batch: requests that the token bucket has charged and that were not sent yet.

A batch refunds its permits once, at its end, because each of its parts may need them.

The script that fetches events charges the requests that they need at least (fetch.lua). Otherwise a
worker would fetch events for the same tokens again until the first of them are charged.
"""

import math
from threading import Lock
from types import TracebackType
from typing import Self

from worker.gate.gate import Gate

# Shares of requests are added up, so a sum may miss a whole number by a little.
ROUNDING = 0.001


class Permits:
    """The permits of one batch. Safe to share between threads."""

    def __init__(self, gate: Gate, charged: float = 0.0) -> None:
        """Begin with `charged` requests, which the gate charged when the events were fetched."""
        self._gate = gate
        self._left = charged
        self._throttles = gate.throttles
        self._lock = Lock()

    @property
    def left(self) -> float:
        """Return how many requests were charged and not sent; negative if more were sent."""
        return self._left

    @property
    def are_stale(self) -> bool:
        """Return whether this process got a 429 since the gate was asked."""
        return self._throttles != self._gate.throttles

    def note_permitted(self, throttles: int) -> None:
        """Note that the gate was asked, after `throttles` 429s, and let requests pass."""
        with self._lock:
            self._throttles = max(self._throttles, throttles)

    def add(self, requests: float) -> None:
        """Add requests that the gate has charged; a negative number, if it refunded them."""
        with self._lock:
            self._left += requests

    def use(self) -> None:
        """Take the permit of a request that is sent."""
        self.add(-1.0)

    def acquire(self, requests: float) -> float:
        """Ask the gate for so many permits; it may charge fewer.

        Returns:
            The seconds after which to ask for the others if they only wait for the few under way
            near the usual limit, else 0.0.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        charged, wait = self._gate.acquire(math.ceil(requests - ROUNDING))
        self.add(charged)
        return wait

    def __enter__(self) -> Self:
        """Return these permits."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Refund what is left, with the gate's next flush, if the batch has ended well.

        Otherwise the repeat of a release may charge what is owed.
        """
        if error is None and self._left > 0:
            self._gate.release(self._left)
            self._left = 0.0
