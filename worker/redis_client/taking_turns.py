"""Connections to Redis that greenlets of one thread may use: while one waits, the others go on."""

from typing import Any

import redis

from worker.greenlets import current_hub, in_thread, wait_to_read


def taking_turns(kind: type[Any]) -> type[Any]:
    """Return connections of this redis-py class that block no other greenlet while they wait."""

    class TakesTurns(kind):  # type: ignore[misc]
        def connect(self) -> None:
            """Connect, if it is not connected."""
            if current_hub() and self._sock is None:
                in_thread(super().connect)
            else:
                super().connect()

        def read_response(self, *args: Any, **options: Any) -> Any:
            """Return the next reply, as redis-py does.

            Raises:
                redis.TimeoutError: None came within `socket_timeout`.
            """
            waits = current_hub() is not None and not self.can_read()
            if waits and not wait_to_read(self._sock, self.socket_timeout):
                self.disconnect()
                raise redis.TimeoutError("Redis did not answer in time")
            return super().read_response(*args, **options)

    return TakesTurns
