"""Gathering: fetched messages that wait a moment for others, to be handled as one batch.

All of it runs in Celery's loop.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from worker.consumer.fetched_message import FetchedMessage
from worker.delivery.batch_policy import BatchPolicy


class Gathering:
    """The messages of the next batch."""

    def __init__(
        self,
        policy: BatchPolicy,
        submit: Callable[[Sequence[FetchedMessage]], object],
        may_submit: Callable[[], bool],
    ) -> None:
        """Start empty.

        Args:
            policy: How many events fill a batch, and how long the first waits for others.
            submit: Called with a batch.
            may_submit: Returns False while a batch that is not full goes on waiting.
        """
        self._policy = policy
        self._submit = submit
        self._may_submit = may_submit
        self._messages: list[FetchedMessage] = []
        self._events = 0
        self._linger: Any = None

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self._messages)

    def add(self, fetched: Iterable[FetchedMessage], timer: Any) -> None:
        """Add messages, and submit batches: full ones now, the last soon, by Celery's timer."""
        for each in fetched:
            self._messages.append(each)
            self._events += each.message.events
            if self._events >= self._policy.size:
                self.flush()
        if self._messages and not self._linger:
            self._flush_later(timer)

    def flush(self) -> None:
        """Submit the batch without waiting for more."""
        if self._linger:
            self._linger.cancel()
            self._linger = None
        batch, self._messages, self._events = self._messages, [], 0
        if batch:
            self._submit(batch)

    def _flush_later(self, timer: Any) -> None:
        def flush_if_it_may() -> None:
            if self._may_submit():
                self.flush()
            else:
                self._flush_later(timer)

        self._linger = timer.call_after(self._policy.linger, flush_if_it_may)
