"""When members share a request, which of them may, and what shows that Mailgun stored them.

Mailgun docs: `members.json` takes up to 100 members that are stored before it answers. Its answer names no member, and nobody
recorded whether one that Mailgun does not like is refused with all the others or left out without a word. So

* a member that Mailgun does not hold yet goes alone where its address is out of the ordinary;
* of the first calls each, and of one in a hundred later on, a member is read back;
* a member whose write failed without a refusal goes alone for a while, so that it makes no more calls fail;
* where a reading back, or an answer of another form, leaves a doubt, members go alone for a while.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from threading import Lock

LARGEST_CALL = 1024 * 1024  # bytes of JSON; one member may be larger, and then goes alone
ORDINARY = re.compile(
    r"[a-z0-9_]+(?:[.+-][a-z0-9_]+)*@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}"
)
FIRST_CALLS = 10  # each of which is looked after
LATER_CALLS = 100  # one of which is
ALONE_SECONDS = 600.0  # how long members go alone after a doubt
MOST_SUSPECTS = 10_000  # that are remembered


class BatchPolicy:
    """How the members of one process share requests. Safe to share between threads."""

    def __init__(
        self, size: int = 1, linger: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """At most `size` members a call, gathered for at most `linger` seconds; 1: each goes alone. `clock` gives seconds."""
        self.size = size
        self.linger = linger
        self._clock = clock
        self._alone_until = 0.0
        self._suspects: dict[str, float] = {}  # address -> until when it goes alone, oldest first
        self._calls = count(1)
        self._lock = Lock()

    def shares(self) -> bool:
        """Do members share requests now?"""
        return self.size > 1 and self._clock() >= self._alone_until

    def suspend(self) -> bool:
        """Members go alone for ALONE_SECONDS from now; were they sharing until now?"""
        with self._lock:
            before = self.shares()
            self._alone_until = self._clock() + ALONE_SECONDS
            return before

    def suspect(self, addresses: Sequence[str]) -> None:
        """Have these go alone, and after the others, for ALONE_SECONDS from now: one of them got no usable answer."""
        until = self._clock() + ALONE_SECONDS
        with self._lock:
            for address in addresses:
                self._suspects.pop(address, None)
                self._suspects[address] = until
            while len(self._suspects) > MOST_SUSPECTS:
                del self._suspects[next(iter(self._suspects))]

    def clear(self, address: str) -> None:
        """This one was written alone: it may share a request again."""
        self._suspects.pop(address, None)

    def is_suspect(self, address: str) -> bool:
        """Return whether this one goes alone."""
        return self._suspects.get(address, 0.0) > self._clock()

    def looks_after(self) -> bool:
        """Is a member of the call that was just made to be read back?"""
        number = next(self._calls)
        return number <= FIRST_CALLS or number % LATER_CALLS == 0


def is_plain_address(address: str) -> bool:
    """Would anybody's check of addresses take this one?"""
    return ORDINARY.fullmatch(address) is not None


def chunked(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Entries of these `sizes` in bytes, in calls of at most `most` entries and LARGEST_CALL bytes."""
    start = total = 0
    for place, size in enumerate(sizes):
        if place > start and (place - start == most or total + size > LARGEST_CALL):
            yield slice(start, place)
            start, total = place, 0
        total += size
    if sizes:
        yield slice(start, len(sizes))
