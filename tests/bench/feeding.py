"""Staged events are put in front of a competitor: all at once, or at a steady pace."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.bench.processes import CompetitorProcesses
from tests.bench.staging import AT_ONCE, Command, Load, chunks

if TYPE_CHECKING:
    import redis


class Feeder:
    """The way to a competitor's workers: the queue on Redis, or stdin if there is no queue."""

    def __init__(
        self, redis: "redis.Redis", processes: CompetitorProcesses, *, queued: bool
    ) -> None:
        self._redis = redis
        self._processes = processes
        self._queued = queued

    def feed(self, loads: Sequence[Load]) -> None:
        """Put all loads as fast as they are accepted."""
        for some in chunks([command for load in loads for command in load.commands], AT_ONCE):
            self._put(some)

    def feed_at(self, rate: float, loads: Sequence[Load]) -> list[float]:
        """Put `rate` events a second and return when each event came, in epoch seconds.

        Events that are put together are put when the last of them has come.
        """
        began = time.time()
        arrivals = [began + each / rate for each in range(sum(load.events for load in loads))]
        came = 0
        for load in loads:
            came += load.events
            time.sleep(max(arrivals[came - 1] - time.time(), 0))
            self._put(load.commands)
        return arrivals

    def _put(self, commands: Sequence[Command]) -> None:
        if not self._queued:
            self._processes.write(b"".join(line for (line,) in commands))
            return
        with self._redis.pipeline(transaction=False) as pipe:
            for each in commands:
                pipe.execute_command(*each)  # type: ignore[no-untyped-call]
            pipe.execute()
