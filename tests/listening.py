"""The accept loop of the small servers that tests run on loopback."""

import contextlib
import socket
import threading
from collections.abc import Callable


def serve_each(listening: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    """Call `serve` with each connection, in a thread of its own, until `listening` is closed."""

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
