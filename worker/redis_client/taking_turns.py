"""Connections to Redis that greenlets of one thread may use: while one waits, the others go on."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import redis

from worker.greenlets import (
    NoThreadLeft,
    current_hub,
    in_thread,
    send_all,
    wait_to_read,
)

FOR_EVER = 1e9  # seconds


def taking_turns(kind: type[Any]) -> type[Any]:
    """Return connections of this redis-py class that block no other greenlet while they wait.

    In any other thread they do what redis-py does.
    """
    return type(kind.__name__, (TakesTurns, kind), {})


class TakesTurns(cast("type[Any]", object)):  # type: ignore[misc]
    """Methods that come before those of a connection of redis-py."""

    def connect(self) -> None:
        """Connect, if it is not connected."""
        self._connect_in_thread(super().connect)

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        """Connect, if it is not connected; redis-py calls it before it sends."""
        self._connect_in_thread(partial(super().connect_check_health, *args, **options))

    def send_packed_command(self, command: Iterable[Any], check_health: bool = True) -> None:  # noqa: FBT001, FBT002  as redis-py has it
        """Send commands, as redis-py does.

        Raises:
            redis.TimeoutError: Redis did not take them within `socket_timeout`.
            redis.ConnectionError: The connection broke.
        """
        if current_hub() is None:
            super().send_packed_command(command, check_health)
            return
        self.connect_check_health(check_health=False)
        if check_health:
            self.check_health()
        with _disconnecting(self):
            for part in command:
                send_all(self._sock, part, time.monotonic() + (self.socket_timeout or FOR_EVER))
            self._sock.settimeout(self.socket_timeout)

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the next reply, as redis-py does.

        Raises:
            redis.TimeoutError: It did not come, or did not go on, within `socket_timeout`.
            redis.ConnectionError: The connection broke.
            redis.ResponseError: The reply is an error.
        """
        read = super().read_response
        if current_hub() is None:
            return read(*args, **options)
        at_once = {**options, "timeout": 0, "disconnect_on_error": False}
        with _disconnecting(self):
            while True:
                try:
                    return read(*args, **at_once)
                except redis.TimeoutError:
                    if not wait_to_read(self._sock, self.socket_timeout):
                        raise TimeoutError from None

    def _connect_in_thread(self, connect: Callable[[], object]) -> None:
        if self._sock is None:
            try:
                in_thread(connect)
            except NoThreadLeft as error:
                raise redis.ConnectionError(str(error)) from error


@contextmanager
def _disconnecting(connection: Any) -> Iterator[None]:
    """Close a connection on which the next reply could be that of an earlier command."""
    try:
        yield
    except redis.ResponseError:
        raise
    except TimeoutError:
        connection.disconnect()
        raise redis.TimeoutError("Redis did not answer in time") from None
    except OSError as error:
        connection.disconnect()
        raise redis.ConnectionError("the connection to Redis broke") from error
    except BaseException:
        connection.disconnect()
        raise
