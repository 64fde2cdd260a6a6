"""Batch policy: which members may share a bulk call, and how many.

Mailgun docs: `members.json` takes up to 100 members. It is not known whether Mailgun refuses the
whole call because of one member, or stores the others and does not mention that one. Therefore

* a member that Mailgun does not hold yet is written alone if its address is out of the ordinary;
* a member whose write failed without a refusal is written alone for a while, so that it makes no
  more calls fail.

`bulk_trust.py` decides whether members share calls at all.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

LARGEST_CALL = 1024 * 1024  # bytes of JSON; one member may be larger, and is then alone in a call
PLAIN_ADDRESS = re.compile(
    r"[a-z0-9_]+(?:[.+-][a-z0-9_]+)*@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}"
)
ALONE_SECONDS = 600.0  # how long a suspect is written alone
MOST_SUSPECTS = 10_000  # that are remembered


class BatchPolicy:
    """The policy by which members of one process share calls. Safe to share between threads."""

    def __init__(
        self, size: int = 1, linger: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Let at most `size` members share a call.

        Args:
            size: MAILGUN_BATCH_SIZE; 1: each member is written alone.
            linger: Seconds for which a batch is gathered at most, unless many are under way.
            clock: Returns seconds that never go back.
        """
        self.size = size
        self.linger = linger
        self._clock = clock
        # Address -> until when the member is written alone, the oldest first.
        self._suspects: dict[str, float] = {}
        self._lock = Lock()

    def suspect(self, addresses: Sequence[str]) -> None:
        """Write these members alone, and after the others, for ALONE_SECONDS.

        A call for them got no usable answer, and one of them may be the cause.
        """
        until = self._clock() + ALONE_SECONDS
        with self._lock:
            for address in addresses:
                self._suspects.pop(address, None)
                self._suspects[address] = until
            while len(self._suspects) > MOST_SUSPECTS:
                del self._suspects[next(iter(self._suspects))]

    def clear(self, address: str) -> None:
        """Let a member share calls again, because it was written alone."""
        self._suspects.pop(address, None)

    def is_suspect(self, address: str) -> bool:
        """Return whether this member is to be written alone."""
        return self._suspects.get(address, 0.0) > self._clock()


def is_plain_address(address: str) -> bool:
    """Return True for plain ASCII addresses that any validator accepts."""
    return PLAIN_ADDRESS.fullmatch(address) is not None


def chunked(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Yield the slices of entries that share a call.

    Args:
        sizes: The size of each entry in bytes.
        most: The largest number of entries in a call. A call has at most LARGEST_CALL bytes, or
            one entry.
    """
    start = total = 0
    for place, size in enumerate(sizes):
        if place > start and (place - start == most or total + size > LARGEST_CALL):
            yield slice(start, place)
            start, total = place, 0
        total += size
    if sizes:
        yield slice(start, len(sizes))
