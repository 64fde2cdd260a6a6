"""Greenlets: the deliveries of one thread, which take turns while each waits for a socket.

What threads cost in Python is not their number but their turns: after each call to the system one
of them may have to wait until another gives up the interpreter. Greenlets change only where one
waits, so a delivery costs less than half of the CPU.

The functions here wait. Called in a greenlet of a hub they let its other greenlets go on meanwhile;
called in any other thread they block it. So the same code serves both.

A lock must not be held while one waits: another greenlet of the same thread would never get it.
"""

import _thread
import asyncio
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from threading import Lock, Thread
from typing import Any, Generic, TypeVar, cast

from greenlet import getcurrent, greenlet

from worker.privacy import whereabouts

logger = logging.getLogger("signal_mailgun.worker")

Answer = TypeVar("Answer")
# Waits for a socket, so many seconds at most, None: for ever; returns whether it is ready.
Wait = Callable[[socket.socket, float | None], bool]

_of_thread = threading.local()


class NoThreadLeft(OSError):
    """The system has no thread left, so nothing was done."""


class Hub:
    """A thread whose greenlets take turns. It starts with the first of them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._thread: Thread | None = None
        self.loop: asyncio.AbstractEventLoop
        self.root: Any = None

    def spawn(self, act: Callable[[], object]) -> None:
        """Call `act` in a greenlet of its own, soon. Any thread may call this.

        What it raises is logged as a bug, without its text.

        Raises:
            RuntimeError: The system has no thread left, or the process is ending.
        """
        self._start()
        self.loop.call_soon_threadsafe(self._switch_to, act)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self.loop = asyncio.SelectorEventLoop()
                thread = Thread(target=self._run, name="delivering", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        _of_thread.hub, self.root = self, getcurrent()
        self.loop.run_forever()

    def _switch_to(self, act: Callable[[], object]) -> None:
        greenlet(partial(_call_and_log, act), self.root).switch()


_HUB = Hub()


def hub() -> Hub:
    """Return the hub of this process, in which events are delivered."""
    return _HUB


def current_hub() -> Hub | None:
    """Return the hub of the greenlet that calls this; None in any other thread."""
    found: Hub | None = getattr(_of_thread, "hub", None)
    return None if found is None or getcurrent() is found.root else found


def wait_to_read(sock: socket.socket, seconds: float | None) -> bool:
    """Wait until bytes have come, and return False if none came within `seconds`; None: for ever.

    What TLS has decrypted already does not count: read first.
    """
    here = current_hub()
    if here is None:
        return _poll(sock, select.POLLIN, seconds)
    return _wait(here, here.loop.add_reader, here.loop.remove_reader, sock, seconds)


def wait_to_write(sock: socket.socket, seconds: float | None) -> bool:
    """Wait until bytes can be sent, and return False if none can within `seconds`."""
    here = current_hub()
    if here is None:
        return _poll(sock, select.POLLOUT, seconds)
    return _wait(here, here.loop.add_writer, here.loop.remove_writer, sock, seconds)


def when_ready(sock: socket.socket, act: Callable[[], Answer], wait: Wait, ends: float) -> Answer:
    """Return what `act` on the socket returns, once the socket lets it; it does not block then.

    What came in time counts, also if other greenlets let this one look only later. So `act` is
    called once more after the deadline.

    Args:
        sock: The socket. TLS may have to send in order to receive, and the other way round.
        act: Raises `BlockingIOError` until the socket is ready.
        wait: Waits for what `act` needs: `wait_to_read` or `wait_to_write`.
        ends: The deadline by the monotonic clock.

    Raises:
        TimeoutError: The deadline has passed, and the socket is not ready.
    """
    sock.settimeout(0)
    while True:
        waits = wait
        try:
            return act()
        except BlockingIOError:
            pass
        except ssl.SSLWantReadError:
            waits = wait_to_read
        except ssl.SSLWantWriteError:
            waits = wait_to_write
        left = ends - time.monotonic()
        if left <= 0 or not waits(sock, left):
            raise TimeoutError("timed out")


def send_all(sock: socket.socket, data: bytes, ends: float) -> None:
    """Send all of `data`; the socket does not block then.

    Raises:
        TimeoutError: The deadline `ends`, by the monotonic clock, passed before.
    """
    left = memoryview(data)
    while left:
        left = left[when_ready(sock, partial(sock.send, left), wait_to_write, ends) :]


def sleep(seconds: float) -> None:
    """Wait for some seconds."""
    here = current_hub()
    if here is None:
        time.sleep(seconds)
    else:
        wake = cast("Any", getcurrent()).switch
        if seconds > 0:
            here.loop.call_later(seconds, wake)
        else:
            here.loop.call_soon(wake)
        here.root.switch()


def pass_turn() -> None:
    """Let the other greenlets go on that can; in any other thread, do nothing."""
    if current_hub():
        sleep(0)


def in_thread(act: Callable[[], Answer]) -> Answer:
    """Call `act`, which blocks, in a thread of its own if this is a greenlet.

    Returns:
        What `act` returns.

    Raises:
        NoThreadLeft: The system has no thread left.
        Exception: What `act` raises.
    """
    here = current_hub()
    if here is None:
        return act()
    call = Call(act)
    wake = cast("Any", getcurrent()).switch
    call.note_end = lambda: here.loop.call_soon_threadsafe(wake)
    try:
        # Not a `Thread`: its `start` waits until the new thread runs.
        _thread.start_new_thread(call.run, ())
    except RuntimeError as error:
        raise NoThreadLeft("the system has no thread left") from error
    here.root.switch()
    return call.result()


class Latch:
    """What one greenlet or thread, the one that makes it, waits for until any other sets it."""

    __slots__ = ("_greenlet", "_hub", "_is_set", "_lock", "_waits")

    def __init__(self) -> None:
        """Begin unset."""
        self._hub = current_hub()
        self._greenlet: Any = getcurrent()
        self._is_set = self._waits = False
        if self._hub is None:
            self._lock = Lock()
            self._lock.acquire()

    def wait(self) -> None:
        """Wait until it is set, and unset it."""
        if self._hub is None:
            self._lock.acquire()
            return
        if not self._is_set:
            self._waits = True
            self._hub.root.switch()
        self._is_set = False

    def set(self) -> None:
        """End the wait, or the next one: once for each. Any thread may call this."""
        waits_in = self._hub
        if waits_in is None:
            self._lock.release()
            return
        self._is_set = True
        is_here = getattr(_of_thread, "hub", None) is waits_in
        loop = waits_in.loop
        (loop.call_soon if is_here else loop.call_soon_threadsafe)(self._wake)

    def _wake(self) -> None:
        if self._waits and self._is_set:
            self._waits = False
            self._greenlet.switch()


class Call(Generic[Answer]):
    """A call that another greenlet or thread makes, and what came of it.

    Attributes:
        note_end: Called once the call has ended.
    """

    note_end: Callable[[], object]

    def __init__(self, act: Callable[[], Answer]) -> None:
        """Keep `act` for `run`."""
        self._act = act
        self._answer: list[Answer] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Make the call."""
        try:
            self._answer.append(self._act())
        except BaseException as error:  # noqa: BLE001  `result` raises it
            self._error = error
        self.note_end()

    def result(self) -> Answer:
        """Return once what the call returned, or raise what it raised."""
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._answer.pop()


def _wait(
    here: Hub,
    add: Callable[..., None],
    remove: Callable[..., object],
    sock: socket.socket,
    seconds: float | None,
) -> bool:
    descriptor, wake = sock.fileno(), getcurrent().switch
    add(descriptor, wake, True)  # noqa: FBT003
    timer = None if seconds is None else here.loop.call_later(seconds, wake, False)  # noqa: FBT003
    try:
        return bool(here.root.switch())
    finally:
        remove(descriptor)
        if timer:
            timer.cancel()


def _poll(sock: socket.socket, events: int, seconds: float | None) -> bool:
    poll = select.poll()
    poll.register(sock, events)
    return bool(poll.poll(None if seconds is None else max(0.0, seconds) * 1000))


def _call_and_log(act: Callable[[], object]) -> None:
    try:
        act()
    except BaseException as error:  # noqa: BLE001  SystemExit, too, would end all deliveries
        logger.error(
            "a bug: a greenlet failed, please report it", extra={"error": whereabouts(error)}
        )
