"""A TCP relay before a real server.

It can cut connections, and drop or hold back what is sent over them without a word.
"""

import selectors
import socket
import threading
from contextlib import suppress
from typing import Self

CHUNK = 64 * 1024
MOST_BYTES = 2**31
FIRST_BYTES = 6  # of a reply that is held back


class Relay:
    """A relay to `port` on loopback, until the block ends. Tests may steer it while it runs."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._silent: list[socket.socket] = []
        self._swallows_new = False
        self._servers: set[socket.socket] = set()
        self._lost_replies = 0
        self._holds_back = False
        self._held_back: dict[socket.socket, bytes] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(5)
        for each in (*self._peers, *self._silent, self._listener):
            each.close()

    def cut(self) -> None:
        """Close all connections; new ones are relayed."""
        with self._lock:
            for each in (*self._peers, *self._silent):
                self._close(each)
            self._silent.clear()

    def silence(self, *, new: bool = False) -> None:
        """Drop all data of the present connections from now on; with `new`, of new ones too."""
        with self._lock:
            for each in list(self._peers):
                self._forget(each)
                self._silent.append(each)
            self._swallows_new = new

    def lose_replies(self, count: int) -> None:
        """Close each of the next `count` connections that get a reply, and drop that reply."""
        with self._lock:
            self._lost_replies = count

    def hold_back(self) -> None:
        """Relay only the first bytes of each reply from now on, the rest with `resume`."""
        with self._lock:
            self._holds_back = True

    def pass_on(self, count: int) -> None:
        """Relay so many more bytes of each reply that is held back."""
        with self._lock:
            for receiver, rest in self._held_back.items():
                with suppress(OSError):  # its client gave up
                    receiver.sendall(rest[:count])
            self._held_back = {each: rest[count:] for each, rest in self._held_back.items()}

    @property
    def holds_back(self) -> bool:
        """Return True if the rest of a reply is held back."""
        return bool(self._held_back)

    def refuse(self) -> None:
        """Close all connections and end the relay, so that new ones are refused."""
        self._ended.set()
        self._thread.join(5)
        self._listener.close()
        self.cut()

    def resume(self) -> None:
        """Relay new connections and whole replies again; silenced ones stay silent."""
        with self._lock:
            self._swallows_new = False
            self._holds_back = False
        self.pass_on(MOST_BYTES)
        with self._lock:
            self._held_back.clear()

    def _run(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, socket.socket):
                        self._forward(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._swallows_new:
            self._silent.append(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 5)
        except OSError:
            client.close()
            return
        self._peers |= {client: server, server: client}
        self._servers.add(server)
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(each, selectors.EVENT_READ)

    def _forward(self, sender: socket.socket) -> None:
        receiver = self._peers.get(sender)
        if receiver is None:
            return
        try:
            data = sender.recv(CHUNK)
            if data and sender in self._servers and self._lost_replies:
                self._lost_replies -= 1
            elif data and sender in self._servers and self._holds_back:
                first = 0 if receiver in self._held_back else FIRST_BYTES
                self._held_back[receiver] = self._held_back.get(receiver, b"") + data[first:]
                receiver.sendall(data[:first])
                return
            elif data:
                receiver.sendall(data)
                return
        except OSError:
            pass
        self._close(sender)

    def _close(self, either: socket.socket) -> None:
        for each in (either, self._peers.get(either)):
            if each is not None:
                self._forget(each)
                each.close()

    def _forget(self, each: socket.socket) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(each)
        self._peers.pop(each, None)
        self._servers.discard(each)
