"""The letters of one job: those ticked, or all that match a filter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from worker.dashboard.pages.shown_queue import Selection
from worker.ops.dead_letter_pages import LetterKey, key_of, letter_with, letters_with, matching
from worker.ops.survey import Survey
from worker.queue.dead_letter import DeadLetter
from worker.queue.dead_letter_filter import DeadLetterFilter, batches
from worker.queue.dead_letters import AT_ONCE_BYTES, DeadLetterQueue


@dataclass(frozen=True)
class SelectedLetters(Selection[DeadLetter]):
    """The letters with these keys, or if there is none those that match `wanted`.

    `secret` is the key of the digests in the keys.
    """

    letters: DeadLetterQueue
    secret: bytes
    keys: tuple[LetterKey, ...]
    wanted: DeadLetterFilter
    text: str

    def read(self, on_read: Callable[[int], None]) -> Iterator[DeadLetter]:
        """Yield the letters; `on_read` is called with the number of letters read."""
        if self.keys:
            return letters_with(self.letters, self.keys, self.secret, on_read)
        return matching(self.letters, self.wanted, on_read)

    def batches(
        self, counted: Survey, size: int, moved: Callable[[], int], check: Callable[[], None]
    ) -> Iterator[list[DeadLetter]]:
        """Yield the letters in lists, the oldest first; none that died after the count."""
        if self.keys:
            return self._ticked(size, moved, check)
        wanted = self.wanted.not_after(counted.latest)
        return batches(self.letters, wanted, counted.total, at_once=size)

    def release(self) -> None:
        """Do nothing: letters that were counted are known by when they died, or by their keys."""

    def _ticked(
        self, size: int, moved: Callable[[], int], check: Callable[[], None]
    ) -> Iterator[list[DeadLetter]]:
        """Yield the letters ticked, the oldest first, in lists limited in number and bytes."""
        batch: list[DeadLetter] = []
        for key in self._located(check):
            check()
            if buried := letter_with(self.letters, key, self.secret, moved()):
                batch.append(buried)
            if len(batch) == size or sum(len(each.raw) for each in batch) > AT_ONCE_BYTES:
                yield batch
                batch = []
        if batch:
            yield batch

    def _located(self, check: Callable[[], None]) -> list[LetterKey]:
        """Return the keys of those that are on the queue, at their places now, oldest first."""
        found = letters_with(self.letters, self.keys, self.secret, lambda _: check())
        return sorted((key_of(each, self.secret) for each in found), key=lambda key: key.place)
