"""A proxy on loopback that makes tunnels, for clients of a server with TLS."""

import contextlib
import select
import socket
from typing import Self

from tests.listening import serve_each

READ_BYTES = 65536
MADE = b"HTTP/1.1 200 Connection established\r\n\r\n"


class TunnelProxy:
    """A proxy that makes each tunnel to `port` on loopback, or refuses it.

    Attributes:
        url: Its URL, with a user and a password.
        asked: The heads of the requests for a tunnel.
    """

    def __init__(self, port: int, reply: bytes = MADE) -> None:
        self._target, self._reply = port, reply
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://user:p%40ss@127.0.0.1:{self._listening.getsockname()[1]}"
        self.asked: list[bytes] = []

    def __enter__(self) -> Self:
        serve_each(self._listening, self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            self.asked.append(head)
            client.sendall(self._reply)
            if self._reply != MADE:
                return
            with socket.create_connection(("127.0.0.1", self._target), 5) as server:
                peers = {client: server, server: client}
                while True:
                    for each in select.select(list(peers), [], [])[0]:
                        if not (data := each.recv(READ_BYTES)):
                            return
                        peers[each].sendall(data)
