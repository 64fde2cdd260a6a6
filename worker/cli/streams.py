"""Standard input, output and error, which may be closed, full, unread, or in a narrow encoding.

After `prepare` all three exist, and writing a character that the encoding lacks is no error.
"""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper


def prepare() -> None:
    """Replace each closed stream, so that no file or connection opened later takes its number.

    Reading the substitute for standard input, or writing the one for standard output, fails as with
    the closed stream. The substitute for standard error discards what is written.
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
    """Flush standard output.

    Raises:
        OSError: It cannot be written. The flush at the end of the process will not fail again.
    """
    try:
        sys.stdout.flush()
    except OSError:
        discard()
        raise


def discard() -> None:
    """Redirect standard output and error to the null device, for what is still buffered, too."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
