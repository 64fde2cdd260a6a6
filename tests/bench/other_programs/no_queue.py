"""No queue: one POST for each event on stdin.

`python -m tests.bench.other_programs.no_queue THREADS` runs it. No consumer with as many threads
that uses `requests` for one event a request can be faster.
"""

import json
import sys
import threading
from collections.abc import Iterable

from tests.bench.other_programs.posting import post


class Lines:
    """Lines that several threads share."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._lock = threading.Lock()

    def next(self) -> bytes | None:
        """Return the next line, or None at the end."""
        with self._lock:
            return next(self._lines, None)


def post_all(lines: Lines) -> None:
    """Post the event of each line that this thread gets."""
    while line := lines.next():
        post(json.loads(line))


def main(threads: int) -> None:
    """Post the events on stdin until it ends."""
    lines = Lines(iter(sys.stdin.buffer.readline, b""))
    sys.stdout.write("no queue ready.\n")
    sys.stdout.flush()
    others = [threading.Thread(target=post_all, args=[lines]) for _ in range(threads)]
    for each in others:
        each.start()
    for each in others:
        each.join()


if __name__ == "__main__":
    main(int(sys.argv[1]))
