"""Read one HTTP/1.1 answer from a connection, bounded in bytes, and say whether the connection may carry another.

Informational answers (1xx) are passed over. What is no HTTP/1.1 raises `BrokenAnswer`; the grammar is h11's.
"""

from collections.abc import Callable

import h11
from urllib3.exceptions import ProtocolError

HEAD_LIMIT = 64 * 1024  # bytes until the end of the answer's head, informational answers included
RAW_LIMIT = (
    64 * 1024 * 1024
)  # bytes of the whole answer as it comes over the wire; what is kept is bounded closer
# The request that is answered, as far as it matters for reading the answer: neither HEAD nor CONNECT, no upgrade.
REQUEST = h11.Request(method="GET", target="/", headers=[("Host", "mailgun")])
BODILESS = frozenset(
    {204, 205, 304}
)  # a body that comes all the same would be read as the next answer


class BrokenAnswer(ProtocolError):
    """What came is no HTTP/1.1 answer, or more of one than is read. Its text is safe to show."""


class HttpAnswer:
    """One answer: its head first, then its body bit by bit, as a file that urllib3 can read."""

    def __init__(self, receive: Callable[[], bytes], close: Callable[[], None]) -> None:
        """`receive` waits for the next bytes and returns them, nothing at the end of the connection, which `close` closes."""
        self._receive = receive
        self._close = close
        self._received = 0
        self._data = b""  # of the body, and not yet asked for
        self._parser = h11.Connection(h11.CLIENT)
        self._parser.send(REQUEST)
        self._parser.send(h11.EndOfMessage())
        self._plain = True  # its framing leaves no doubt where it ends
        self.ended = False
        self.closed = False

    def read_head(self) -> h11.Response:
        """Return the head of the answer. Raises `BrokenAnswer`, and what `receive` raises."""
        while not isinstance(event := self._event(HEAD_LIMIT), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise BrokenAnswer("the connection ended without an answer")
            self._plain = False
        names = {name for name, _ in event.headers}
        framed_twice = b"transfer-encoding" in names and b"content-length" in names
        self._plain = self._plain and not framed_twice and event.status_code not in BODILESS
        return event

    def read1(self, size: int = -1) -> bytes:
        """Return the next bytes of the body, at most `size`; nothing at its end. Raises as `read_head` does."""
        while not self._data and not self.ended:
            event = self._event(RAW_LIMIT)
            if isinstance(event, h11.Data):
                self._data = bytes(event.data)
            else:
                self.ended = True
                if not self.was_the_last:
                    self._close()
        taken = self._data if size < 0 else self._data[:size]
        self._data = self._data[len(taken) :]
        return taken

    read = read1

    def close(self) -> None:
        """Read no more of it."""
        self.closed = True

    @property
    def was_the_last(self) -> bool:
        """Return True if the answer was read to its end and nothing came after it: the connection may carry another."""
        return (
            self.ended
            and self._plain
            and self._parser.their_state is h11.DONE
            and not self._parser.trailing_data[0]
        )

    def _event(self, limit: int) -> h11.Event:
        try:
            while (event := self._parser.next_event()) is h11.NEED_DATA:
                data = self._receive()
                self._received += len(data)
                if self._received > limit:
                    raise BrokenAnswer("the answer is longer than any of Mailgun's")
                self._parser.receive_data(data)
        except h11.RemoteProtocolError:  # its text quotes the answer
            raise BrokenAnswer("the answer is not HTTP/1.1, or it was cut off") from None
        if isinstance(event, type):  # h11.PAUSED: it is at its end already
            raise BrokenAnswer("the answer is not HTTP/1.1, or it was cut off")
        return event
