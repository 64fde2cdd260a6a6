"""`python -m tests.bench.contenders.floor THREADS`: the same POSTs without any queue, one for each event on stdin.

What no consumer that asks Mailgun once an event through `requests` can beat with as many threads.
"""

import json
import sys
import threading
from collections.abc import Iterable

from tests.bench.contenders.posting import post


class Lines:
    """Lines, each for one of the threads that ask for the next."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._lock = threading.Lock()

    def next(self) -> bytes | None:
        """The next line; None at the end."""
        with self._lock:
            return next(self._lines, None)


def post_all(lines: Lines) -> None:
    """Every line that comes to this thread is posted."""
    while line := lines.next():
        post(json.loads(line))


def main(threads: int) -> None:
    """Ends with its stdin."""
    lines = Lines(iter(sys.stdin.buffer.readline, b""))
    sys.stdout.write("floor ready.\n")
    sys.stdout.flush()
    others = [threading.Thread(target=post_all, args=[lines]) for _ in range(threads)]
    for each in others:
        each.start()
    for each in others:
        each.join()


if __name__ == "__main__":
    main(int(sys.argv[1]))
