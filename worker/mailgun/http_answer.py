"""Read one HTTP/1.1 answer from a connection, bounded in bytes, and tell if it may be reused.

Informational answers (1xx) are skipped. h11 parses the answer; bytes that are not HTTP/1.1 raise
`BrokenAnswer`.
"""

from collections.abc import Callable

import h11
from urllib3.exceptions import ProtocolError

# Bytes until the end of the answer's head, informational answers included.
HEAD_LIMIT = 64 * 1024
# Bytes of the whole answer on the wire. The client keeps fewer bytes of the decoded body.
RAW_LIMIT = 64 * 1024 * 1024
# Stands for any request whose answer is read: neither HEAD nor CONNECT, and no upgrade.
REQUEST = h11.Request(method="GET", target="/", headers=[("Host", "mailgun")])
END = h11.EndOfMessage()
# Statuses without a body: a body that comes nevertheless would be read as the next answer.
BODILESS = frozenset({204, 205, 304})


class BrokenAnswer(ProtocolError):
    """An answer that is not HTTP/1.1, or too long. The text of the error is safe to show."""


class HttpAnswer:
    """One answer: its head first, then its body in pieces, as a file that urllib3 can read."""

    def __init__(self, receive: Callable[[], bytes], close: Callable[[], None]) -> None:
        """Prepare to read the answer.

        `receive` waits for the next bytes and returns them; no bytes at the end of the connection.
        """
        self._receive = receive
        self._close = close
        self._received = 0
        # Bytes of the body that were received and not yet read.
        self._data = b""
        self._parser = h11.Connection(h11.CLIENT)
        self._parser.send(REQUEST)
        self._parser.send(END)
        # The framing leaves no doubt where the answer ends.
        self._plain = True
        self.ended = False
        self.closed = False

    def read_head(self) -> h11.Response:
        """Return the head of the answer.

        Raises:
            BrokenAnswer: The bytes are not an HTTP/1.1 answer, or too many.
            OSError: `receive` raised it; `TimeoutError` after the deadline.
        """
        while not isinstance(event := self._event(HEAD_LIMIT), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise BrokenAnswer("the connection ended without an answer")
            self._plain = False
        names = {name for name, _ in event.headers}
        framed_twice = b"transfer-encoding" in names and b"content-length" in names
        self._plain = self._plain and not framed_twice and event.status_code not in BODILESS
        return event

    def read1(self, size: int = -1) -> bytes:
        """Return the next bytes of the body, at most `size` unless it is negative; none at its end.

        Raises:
            BrokenAnswer: The bytes are not an HTTP/1.1 answer, or too many.
            OSError: `receive` raised it; `TimeoutError` after the deadline.
        """
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
        """Note that urllib3 reads no more of the answer."""
        self.closed = True

    @property
    def was_the_last(self) -> bool:
        """Return True if the answer has ended and nothing followed: the connection is reusable."""
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
        except h11.RemoteProtocolError:  # not chained, because its text quotes the answer
            raise BrokenAnswer("the answer is not HTTP/1.1, or it was cut off") from None
        if isinstance(event, type):  # h11.PAUSED: the answer has ended already
            raise BrokenAnswer("the answer is not HTTP/1.1, or it was cut off")
        return event
