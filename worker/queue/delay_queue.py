"""The delay queue: events wait for their next try in Redis, not in a worker's memory.

The sorted set `Keys.delayed` holds each message with its due time, in epoch seconds by Redis's
clock. A due message returns to the front of its queue in one atomic step, so a crash neither loses
nor doubles it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import TYPE_CHECKING, cast
from uuid import uuid4

from worker.queue.codec import encode
from worker.queue.dead_letter import DeadLetterInfo
from worker.queue.intake import parse_raw
from worker.queue.message import Message
from worker.redis_client.keys import Keys
from worker.redis_client.lua import ALLOW_WHEN_FULL, script

if TYPE_CHECKING:
    import redis

DELAY = ALLOW_WHEN_FULL + script("worker.queue", "delay")
REQUEUE_DUE = ALLOW_WHEN_FULL + script("worker.queue", "requeue_due")
REPLACE = ALLOW_WHEN_FULL + script("worker.queue", "replace_delayed")
READ_PAGE = script("worker.queue", "delayed_page")
MOVE = ALLOW_WHEN_FULL + script("worker.queue", "move_delayed")

# Messages read at a time, and their bytes; a longer message is read alone.
PAGE, PAGE_BYTES = 500, 8 * 1024 * 1024


@dataclass(frozen=True)
class DelayedMessage:
    """A message as it was read from the delay queue.

    Attributes:
        raw: Its text in Redis, by which it is found again.
        due: When its next try is due, in epoch seconds by Redis's clock.
    """

    raw: str
    due: float

    @cached_property
    def message(self) -> Message:
        """The message, decoded when it is first asked for: a search passes over most of them."""
        return parse_raw(self.raw, lambda: "?")

    @property
    def identity(self) -> object:
        """What stays the same however often the message is tried and delayed again."""
        message = self.message
        return (message.id, message.enqueued_at) if message.original is None else self.raw

    @property
    def reason(self) -> str:
        """The outcome of its last attempt, such as `unavailable`; `waiting` if it had none yet.

        An attempt before a replay does not count.
        """
        last = self.message.last_attempt
        return last.outcome if last else WAITING

    @property
    def status(self) -> int | None:
        """The HTTP status of that attempt; None if there was none."""
        last = self.message.last_attempt
        return last.status if last else None

    @property
    def since(self) -> float | None:
        """When it was enqueued or last replayed, in epoch seconds; None if that is not known."""
        return self.message.retry_window_start or self.message.enqueued_at


# The reason of a message without an attempt: the integration was on hold, or its member locked.
WAITING = "waiting"


@dataclass(frozen=True)
class DelayQueue:
    """The delay queue of one integration."""

    redis: "redis.Redis"
    integration: str
    queue: str

    @property
    def key(self) -> str:
        """The key of the sorted set of delayed messages."""
        return Keys(self.integration).delayed

    def add(self, messages: Sequence[tuple[Message, float]]) -> list[float]:
        """Delay each message by its own number of seconds, all in one step.

        Returns:
            When each is due, in epoch seconds by Redis's clock.
        """
        parts = chain.from_iterable(
            (str(delay), encode(message, self.queue)) for message, delay in messages
        )
        return [
            float(due) for due in cast("list[str]", self.redis.eval(DELAY, 1, self.key, *parts))
        ]

    def requeue_due(self, limit: int = 500) -> int:
        """Put at most `limit` due messages back at the front of the queue; return how many."""
        return int(cast("int", self.redis.eval(REQUEUE_DUE, 2, self.key, self.queue, str(limit))))

    def replace(self, raw: str, by: str) -> int:
        """Replace a delayed message by another that is due at the same moment, or remove it.

        Args:
            raw: The text of the delayed message.
            by: The text of its replacement; empty: remove the message.

        Returns:
            1, or 0 if the message is not delayed.
        """
        return int(cast("int", self.redis.eval(REPLACE, 1, self.key, raw, by)))

    def page(self, after: DelayedMessage | None = None, most: int = PAGE) -> list[DelayedMessage]:
        """Return the delayed messages that are due next, limited in number and bytes.

        Args:
            after: The last message of the page before; None: the first page.
            most: Messages at most.

        Returns:
            The messages, the next due first. Together they have `PAGE_BYTES` at most, or there is
            one.
        """
        last = (after.raw, after.due) if after else ("", -math.inf)
        return self._page(*last, most)

    def _page(self, after: str, due: float, most: int) -> list[DelayedMessage]:
        arguments = after, repr(due), str(most), PAGE_BYTES
        found = iter(cast("list[str]", self.redis.eval(READ_PAGE, 1, self.key, *arguments)))
        return [DelayedMessage(raw, float(due)) for raw, due in zip(found, found, strict=True)]

    def pages(self, since: float = -math.inf, most: int = PAGE) -> Iterator[list[DelayedMessage]]:
        """Yield the delayed messages in pages, the next due first; it survives removals.

        Args:
            since: Begin with those that are due at this moment, in epoch seconds.
            most: Messages at most in a page.
        """
        page = self._page("", since, most)
        while page:
            yield page
            page = self.page(page[-1], most)

    def retry(self, delayed: Sequence[DelayedMessage]) -> int:
        """Put the messages at the front of their queue now, all in one step.

        Their attempts and their retry windows go on.

        Returns:
            How many were put there; those that were taken from the delay queue meanwhile do not
            count.
        """
        return self._move("RPUSH", self.queue, _unchanged(delayed))

    def bury(self, delayed: Sequence[tuple[DelayedMessage, DeadLetterInfo]]) -> int:
        """Put the messages on the dead-letter queue, all in one step; return as `retry` does."""
        letters = Keys(self.integration).dead_letters
        moves = [
            (each.raw, encode(each.message, letters, dead_letter=asdict(letter)), letter.reason)
            for each, letter in delayed
        ]
        return self._move("LPUSH", letters, moves)

    def purge(self, delayed: Sequence[DelayedMessage]) -> int:
        """Remove the messages permanently, all in one step; return as `retry` does."""
        return self._move("", self.queue, _unchanged(delayed))

    def _move(self, push: str, to: str, moves: Sequence[tuple[str, str, str]]) -> int:
        own = Keys(self.integration)
        keys = self.key, to, own.dead_letter_counts, own.removed(uuid4().hex)
        return int(
            cast("int", self.redis.eval(MOVE, len(keys), *keys, push, *chain.from_iterable(moves)))
        )

    def count(self) -> int:
        """Return the number of delayed messages."""
        return self.redis.zcard(self.key)

    def next_due(self) -> float | None:
        """Return when the next message is due, in epoch seconds; None if none is delayed."""
        first = cast("list[tuple[str, float]]", self.redis.zrange(self.key, 0, 0, withscores=True))
        return first[0][1] if first else None

    def last_due(self) -> float | None:
        """Return when the last message is due, in epoch seconds; None if none is delayed."""
        last = cast("list[tuple[str, float]]", self.redis.zrange(self.key, -1, -1, withscores=True))
        return last[0][1] if last else None

    def count_until(self, moment: float) -> int:
        """Return how many messages are due at `moment`, in epoch seconds, or earlier."""
        return self.redis.zcount(self.key, "-inf", moment)

    def counts_within(self, edges: Sequence[float], last: float) -> list[int]:
        """Return how many messages are due from each edge to the next, and from the last to `last`.

        Args:
            edges: Moments in epoch seconds, in order. A message that is due at an edge counts after
                it.
            last: The end of the last span, which belongs to it.
        """
        with self.redis.pipeline(transaction=False) as at_once:
            for start, end in pairwise(edges):
                at_once.zcount(self.key, start, f"({end!r}")
            at_once.zcount(self.key, edges[-1], last)
            return [int(each) for each in at_once.execute()]

    def waiting(self) -> Iterator[tuple[str, float]]:
        """Yield every delayed message with its due time, in no order, read a page at a time."""
        return cast("Iterator[tuple[str, float]]", self.redis.zscan_iter(self.key))


def _unchanged(delayed: Sequence[DelayedMessage]) -> list[tuple[str, str, str]]:
    """Return the messages as they are moved or removed: with the same text, and not counted."""
    return [(each.raw, "", "") for each in delayed]
