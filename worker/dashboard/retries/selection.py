"""The delayed events of one job: those ticked, or all that match a filter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from worker.dashboard.pages.shown_queue import Selection
from worker.ops.delayed_events import batches, is_wanted
from worker.ops.delayed_pages import EventKey, events_with
from worker.ops.survey import Survey
from worker.queue.dead_letter_filter import DeadLetterFilter
from worker.queue.delay_queue import DelayedMessage, DelayQueue


@dataclass(frozen=True)
class SelectedEvents(Selection[DelayedMessage]):
    """The events with these keys, or if there is none those that match `wanted`.

    `secret` is the key of the digests in the keys.
    """

    queue: DelayQueue
    secret: bytes
    keys: tuple[EventKey, ...]
    wanted: DeadLetterFilter
    text: str
    _counted: set[object] = field(default_factory=set)

    def read(self, on_read: Callable[[int], None]) -> Iterator[DelayedMessage]:
        """Yield each event once; `on_read` is called with the number of events read."""
        for each in self._found(on_read):
            if each.identity not in self._counted:
                self._counted.add(each.identity)
                yield each

    def batches(
        self,
        counted: Survey,  # noqa: ARG002  events are told apart by what they are, not by their times
        size: int,
        moved: Callable[[], int],  # noqa: ARG002  what moves changes no key of another event
        check: Callable[[], None],
    ) -> Iterator[list[DelayedMessage]]:
        """Yield those that `read` has yielded and that still match, the next due first."""
        for batch in batches(self.queue, self.wanted, self._counted, at_once=size):
            check()
            yield batch

    def release(self) -> None:
        """Forget which events were counted."""
        self._counted.clear()

    def _found(self, on_read: Callable[[int], None]) -> Iterator[DelayedMessage]:
        if self.keys:
            yield from events_with(self.queue, self.keys, self.secret, on_read)
            return
        read = 0
        for page in self.queue.pages():
            yield from (each for each in page if is_wanted(each, self.wanted))
            read += len(page)
            on_read(read)
