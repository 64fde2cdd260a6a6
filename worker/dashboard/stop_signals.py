"""Flower's end on SIGTERM and Ctrl-C.

Flower ends by an exception that its signal handler raises. Python runs a handler between any two
instructions, so also in a finalizer, where it prints and drops all exceptions. Flower then went on,
and nothing told who had stopped it.
"""

import signal
from typing import Any

from flower.app import Flower


def install() -> None:
    """Let Flower's event loop take the signals. Call it between Flower's import and its start."""
    started = Flower.start

    def start(self: Any) -> None:
        loop = self.io_loop.asyncio_loop
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, loop.stop)
        started(self)

    Flower.start = start
