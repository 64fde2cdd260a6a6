"""The dead-letter queue: events that cannot be delivered, whole and replayable.

It is a Celery queue that no worker consumes: `Keys.dead_letters`, counted in
`Keys.dead_letter_counts`. `Keys.buried` and `Keys.removed` make a step repeatable if Redis's reply
is lost. Each move is one atomic step in Redis, so a replay may be interrupted and repeated.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, cast
from uuid import uuid4

from worker.queue.codec import encode
from worker.queue.dead_letter import UNKNOWN, DeadLetter, DeadLetterInfo, again, letter_in
from worker.queue.message import Message
from worker.redis_client.counts import counts_in
from worker.redis_client.keys import Keys
from worker.redis_client.lua import ALLOW_WHEN_FULL, script

if TYPE_CHECKING:
    import redis

# Letters read at a time, and their bytes; a longer letter is read alone.
PAGE, PAGE_BYTES = 1000, 8 * 1024 * 1024
AT_ONCE_LETTERS, AT_ONCE_BYTES = 200, 4 * 1024 * 1024  # removed by one script

READ_PAGE = script("worker.queue", "dead_letter_page")
BURY = ALLOW_WHEN_FULL + script("worker.queue", "bury")
TAKE_AWAY = ALLOW_WHEN_FULL + script("worker.queue", "take_away")


@dataclass(frozen=True)
class DeadLetterQueue:
    """The dead-letter queue of one integration."""

    redis: "redis.Redis"
    integration: str
    queue: str

    @cached_property
    def keys(self) -> Keys:
        """The keys of the integration."""
        return Keys(self.integration)

    @property
    def key(self) -> str:
        """The key of the dead-letter queue."""
        return self.keys.dead_letters

    def bury(self, letters: Sequence[tuple[Message, DeadLetterInfo]]) -> None:
        """Put each message on the dead-letter queue, all in one step.

        The caller acknowledges the originals later.
        """
        parts = chain.from_iterable(
            (encode(message, self.key, dead_letter=asdict(letter)), letter.reason)
            for message, letter in letters
        )
        once = self.keys.buried(uuid4().hex)
        self.redis.eval(BURY, 3, self.key, self.keys.dead_letter_counts, once, *parts)

    def count(self) -> int:
        """Return the number of dead letters."""
        return self.redis.llen(self.key)

    def oldest(self, limit: int) -> list[DeadLetter]:
        """Return the oldest dead letters, the oldest first, at most `limit`."""
        texts = cast("list[str]", self.redis.lrange(self.key, -limit, -1))
        return [letter_in(raw, -number) for number, raw in enumerate(reversed(texts), 1)]

    def texts(self, place: int, step: int, most: int = PAGE) -> list[str]:
        """Return the texts at `place`, `place + step` …, limited in number and bytes.

        `letter_in` reads one.

        Args:
            place: The first one's place, counted from the end: -1 is the oldest.
            step: From one place to the next: positive goes on with older ones.
            most: Letters at most.

        Returns:
            At least one text, unless there is no letter at `place`.
        """
        if step > 0:  # Beyond the oldest the index would become that of the newest.
            most = min(most, (-place - 1) // step + 1)
        return self._page(place, step, most) if most > 0 else []

    def newest_first(self) -> Iterator[DeadLetter]:
        """Yield every dead letter, a page at a time; those that arrive meanwhile are left out."""
        start = -self.count()
        while start < 0 and (page := self._page(start, 1, min(PAGE, -start))):
            start += len(page)
            yield from map(letter_in, page)

    def oldest_first(self) -> Iterator[DeadLetter]:
        """Yield every dead letter; the iteration survives removals."""
        for page in self.pages():
            yield from page

    def pages(
        self, may_match: Callable[[str], bool] = lambda _: True
    ) -> Iterator[list[DeadLetter]]:
        """Yield every dead letter in pages, oldest first; the iteration survives removals.

        Args:
            may_match: Returns False for the text of a letter that the caller does not want, which
                is then not read.
        """
        kept = 0
        while page := self._page(-kept - 1, -1):
            yield [
                letter_in(raw, -kept - number)
                for number, raw in enumerate(page, 1)
                if may_match(raw)
            ]
            left = set(self._page(-kept - 1, -1))  # new letters come in at the other end
            kept += sum(raw in left for raw in page)

    def replay(self, buried: Sequence[DeadLetter], now: float) -> int:
        """Put the messages back on their queue and remove their dead letters, in one step each.

        Each message's retry window begins anew. A message that could not be read goes back byte for
        byte.

        Args:
            buried: The dead letters, oldest first, as they were read.
            now: When the retry windows begin, in epoch seconds.

        Returns:
            How many were put back; dead letters that another command removed first do not count.
        """
        return self._take_away(buried, lambda each: again(each.message, self.queue, now))

    def purge(self, buried: Sequence[DeadLetter]) -> int:
        """Remove the dead letters permanently, and return how many, counted as `replay` does."""
        return self._take_away(buried, lambda _: "")

    def totals(self) -> dict[str, int]:
        """Return the number of dead letters of each reason.

        The letters themselves are counted if their number differs from the stored counts, because
        another program changed the queue.
        """
        counts = counts_in(self.redis.hgetall(self.keys.dead_letter_counts))
        return counts if sum(counts.values()) == self.count() else self._recount()

    def cached_counts(self) -> dict[str, int]:
        """Return the stored number of dead letters of each reason, without reading any letter.

        Letters that the stored counts miss are counted under `UNKNOWN`.
        """
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(self.keys.dead_letter_counts)
            pipe.llen(self.key)
            counts, count = pipe.execute()
        known = counts_in(counts) if count else {}
        stray = int(count) - sum(known.values())
        return {**known, UNKNOWN: known.get(UNKNOWN, 0) + stray} if stray > 0 else known

    def _recount(self) -> dict[str, int]:
        counts = Counter(buried.letter.reason for buried in self.newest_first())
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.delete(self.keys.dead_letter_counts)
            if counts:
                pipe.hset(
                    self.keys.dead_letter_counts,
                    mapping={reason: str(count) for reason, count in counts.items()},
                )
            pipe.execute()
        return dict(counts)

    def _take_away(self, buried: Sequence[DeadLetter], instead: Callable[[DeadLetter], str]) -> int:
        done = 0
        for batch in _batches(buried):
            keys = (
                self.key,
                self.keys.dead_letter_counts,
                self.queue,
                self.keys.removed(uuid4().hex),
            )
            # Each letter removed has moved the newer ones one place towards the end.
            letters = [
                (each.place + done, each.raw, each.letter.reason, instead(each)) for each in batch
            ]
            arguments = [str(part) for letter in letters for part in letter]
            done += int(cast("int", self.redis.eval(TAKE_AWAY, len(keys), *keys, *arguments)))
        return done

    def _page(self, start: int, step: int, most: int = PAGE) -> list[str]:
        """Return the letters at `start`, `start + step` …, limited in number and bytes."""
        return cast(
            "list[str]", self.redis.eval(READ_PAGE, 1, self.key, start, step, most, PAGE_BYTES)
        )


def _batches(buried: Sequence[DeadLetter]) -> Iterator[list[DeadLetter]]:
    batch: list[DeadLetter] = []
    size = 0
    for each in buried:
        if batch and (len(batch) == AT_ONCE_LETTERS or size + len(each.raw) > AT_ONCE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += len(each.raw)
    if batch:
        yield batch
