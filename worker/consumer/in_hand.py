"""The messages that one worker process has in hand, and which of them have ended.

Greenlets end batches; Celery's loop releases them, which makes room for other messages.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from threading import Condition

from worker.consumer.fetched_message import FetchedMessage
from worker.delivery.event_delivery import Result

Batch = Sequence[FetchedMessage]


class InHand:
    """The messages in hand. Safe to share between threads.

    Attributes:
        batches: The number of batches under way.
        ended_events: The number of events that have been released.
    """

    def __init__(self) -> None:
        """Start with nothing in hand."""
        self.batches = 0
        self.ended_events = 0
        self._messages: dict[str, FetchedMessage] = {}
        # Batches that have ended and were not released, with the results of each message's events.
        self._ended: deque[tuple[Batch, Sequence[list[Result]]]] = deque()
        self._changed = Condition()

    def __len__(self) -> int:
        """Return the number of messages in hand."""
        return len(self._messages)

    def add(self, messages: Iterable[FetchedMessage]) -> None:
        """Add messages."""
        for each in messages:
            self._messages[each.tag] = each

    def begin(self) -> None:
        """Count a batch that is under way from now on."""
        with self._changed:
            self.batches += 1

    def end(self, batch: Batch, results: Sequence[list[Result]]) -> None:
        """Note that a batch has ended, with these results of each message's events."""
        with self._changed:
            self._ended.append((batch, results))
            self.batches -= 1
            self._changed.notify_all()

    def have_ended(self) -> bool:
        """Return whether all messages have ended."""
        return len(self.ended_tags()) >= len(self)

    def wait(self, seconds: float) -> None:
        """Wait until all messages have ended, at most so long."""
        with self._changed:
            self._changed.wait_for(self.have_ended, seconds)

    def release(self) -> Iterator[tuple[Batch, Sequence[list[Result]]]]:
        """Forget the ended batches, and yield each with its results once there is room for others.

        Only Celery's loop may call it.
        """
        while self._ended:
            batch, results = self._ended.popleft()
            for each in batch:
                each.drop(each.tag)
                self._messages.pop(each.tag, None)
                self.ended_events += each.message.events
            yield batch, results

    def messages(self) -> list[FetchedMessage]:
        """Return the messages, the oldest first."""
        return list(self._messages.values())

    def ended_tags(self) -> list[str]:
        """Return the delivery tags of the messages that have ended."""
        return [fetched.tag for batch, _ in list(self._ended) for fetched in batch]

    @property
    def events(self) -> int:
        """The number of events in hand."""
        return sum(each.weight.events for each in self.messages())

    @property
    def events_under_way(self) -> int:
        """The number of events in hand that have not ended."""
        ended = sum(each.weight.events for batch, _ in list(self._ended) for each in batch)
        return self.events - ended
