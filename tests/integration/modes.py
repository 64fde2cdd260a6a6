"""The modes of delivery that tests use: workers' settings, and how events are put on the queue."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from worker.queue.producer import EventQueue, SerializedEvent, message_for
from worker.signal.json_value import event_text

if TYPE_CHECKING:
    import redis

BATCHES = {"MAILGUN_BATCH_SIZE": "100", "WORKER_CONCURRENCY": "200"}
LEDGER = {"MAILGUN_MEMBER_STATE": "ledger"}


@dataclass(frozen=True)
class Mode:
    """One mode of delivery.

    Attributes:
        settings: Settings of the worker.
        bundled: Whether events are put many a message, as `enqueue_many` does.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    bundled: bool = False

    def put(self, redis: "redis.Redis", queue: str, *events: Any) -> None:
        """Put the events at the back of the queue."""
        there = EventQueue(redis, queue)
        if self.bundled:
            there.put_many([SerializedEvent(event_text(each), time.time()) for each in events])
        else:
            there.put([message_for(each) for each in events])


MODES = {
    "default": Mode(),
    "batches": Mode(BATCHES),
    "ledger": Mode(LEDGER),
    "volume": Mode({**BATCHES, **LEDGER}, bundled=True),
}

IN_BRIEF = ("default", "volume")  # the two ends; `make chaos` goes through all of them
CHOSEN = MODES if os.environ.get("CHAOS") == "full" else {name: MODES[name] for name in IN_BRIEF}


def each_mode(test: Any) -> Any:
    """Run the test in each mode, as `mode`."""
    modes = [pytest.param(mode, id=name) for name, mode in CHOSEN.items()]
    return pytest.mark.modes(pytest.mark.parametrize("mode", modes)(test))
