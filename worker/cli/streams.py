"""Standard input, output and error as they may be: closed, full, in an encoding that knows no `✓`, or read by nobody.

After `prepare` all three are there, and writing what an encoding does not know is no error.
"""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper


def prepare() -> None:
    """Make the three streams usable. No file or connection that is opened later takes a closed one's number.

    What takes the place of closed standard input or output fails as the closed one would; errors go unsaid.
    """
    if sys.stdin is None:
        sys.stdin = open(os.open(os.devnull, os.O_WRONLY), encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stdout is None:
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stderr is None:
        sys.stderr = open(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace" if stream is sys.stdin else "backslashreplace")


def finish() -> None:
    """Write what is left on standard output. Raises `OSError`; then it will not fail once more when the process ends."""
    try:
        sys.stdout.flush()
    except OSError:
        discard()
        raise


def discard() -> None:
    """Say nothing more, not even what is left when the process ends: the streams lead nowhere from now on."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
