"""Dead letters: events that cannot be delivered, whole and replayable, on a real Celery queue that nobody consumes.

    mailgun.<integration>.dead_letter      list   the messages with a `dead_letter` header, newest first; until replayed or purged
    signal:<integration>:dead_letter_counts  hash   reason -> how many of them
    signal:<integration>:buried:<token>    string   these were buried, should the reply be lost; a minute
    signal:<integration>:removed:<token>   string   how many were taken away, should the reply be lost; a minute

Each move is one atomic step in Redis, so a replay may be interrupted and repeated.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from worker.gate.gate import ALLOW_WHEN_FULL
from worker.mailgun.texts import ANSWER_LIMIT, shown
from worker.queue.dead_letter_reasons import ADVICE, DeadLetterReason
from worker.queue.intake import parse_raw
from worker.queue.message import LATEST, DecodeError, Message, decode, encode
from worker.redis_client.counts import counts_in
from worker.redis_client.keys import Keys
from worker.redis_client.lua import script

if TYPE_CHECKING:
    import redis

PAGE, PAGE_BYTES = (
    1000,
    8 * 1024 * 1024,
)  # letters that are read at a time; a longer one is read alone
UNKNOWN = "unknown"  # the reason of what another program put there
AT_ONCE_LETTERS, AT_ONCE_BYTES = 200, 4 * 1024 * 1024  # taken away in one script

READ_PAGE = script("worker.queue", "dead_letter_page")
BURY = ALLOW_WHEN_FULL + script("worker.queue", "bury")
TAKE_AWAY = ALLOW_WHEN_FULL + script("worker.queue", "take_away")


def dead_letter_queue(queue: str) -> str:
    """Return the name of the queue of dead letters beside `queue`."""
    return f"{queue}.dead_letter"


def dead_letter_counts(integration: str) -> str:
    """Return the key of how many dead letters there are for each reason."""
    return Keys(integration).dead_letter_counts


@dataclass(frozen=True)
class DeadLetterInfo:
    """Why and how an event died: the `dead_letter` header."""

    reason: str
    status: int | None  # Mailgun's last HTTP status, where there was one
    answer: (
        str  # Mailgun's last words, cut to 2 KiB, or without a status ours; may hold the address
    )
    cause: str
    fix: str
    attempts: int
    first_seen: float | None  # epoch seconds
    died_at: float  # epoch seconds
    integration: str

    @property
    def summary(self) -> str:
        """The answer as it may be shown elsewhere than beside the dead letter."""
        return self.answer if self.status is None else shown(self.answer)


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter where it lies: the message, why it died, and the raw text that is its place in the queue."""

    message: Message
    letter: DeadLetterInfo
    raw: str
    place: int = 0  # from the end of the queue when it was read: -1 is the oldest; a hint


def dead_letter(
    reason: DeadLetterReason,
    message: Message,
    *,
    status: int | None,
    answer: str,
    died_at: float,
    integration: str,
) -> DeadLetterInfo:
    """The header for `message`, with the likely cause and the fix of `reason`."""
    cause, fix = ADVICE[reason]
    return DeadLetterInfo(
        reason,
        status,
        answer[:ANSWER_LIMIT],
        cause,
        fix,
        message.attempts,
        message.enqueued_at,
        died_at,
        integration,
    )


@dataclass(frozen=True)
class DeadLetterQueue:
    """The dead letters of one integration."""

    redis: "redis.Redis"
    integration: str
    queue: str

    @property
    def key(self) -> str:
        """The dead-letter queue."""
        return dead_letter_queue(self.queue)

    def bury(self, message: Message, letter: DeadLetterInfo) -> None:
        """Put `message` on the dead-letter queue. To be done before the original is acknowledged."""
        self.bury_many([(message, letter)])

    def bury_many(self, letters: Sequence[tuple[Message, DeadLetterInfo]]) -> None:
        """Put each message on the dead-letter queue, all in one step."""
        parts = chain.from_iterable(
            (encode(message, self.key, dead_letter=asdict(letter)), letter.reason)
            for message, letter in letters
        )
        once = Keys(self.integration).buried(uuid4().hex)
        self.redis.eval(BURY, 3, self.key, self._counts_key, once, *parts)

    def count(self) -> int:
        """How many dead letters there are."""
        return self.redis.llen(self.key)

    def oldest(self, limit: int) -> list[DeadLetter]:
        """The oldest dead letters, the oldest first."""
        return [
            _buried(raw, -number) for number, raw in enumerate(reversed(self._range(-limit, -1)), 1)
        ]

    def newest_first(self) -> Iterator[DeadLetter]:
        """Every dead letter, a page at a time; those that arrive meanwhile are left out."""
        start = -self.count()
        while start < 0 and (page := self._page(start, 1, min(PAGE, -start))):
            start += len(page)
            yield from map(_buried, page)

    def oldest_first(self) -> Iterator[DeadLetter]:
        """Every dead letter; one taken away while iterating does not disturb the rest."""
        for page in self.pages():
            yield from page

    def pages(self) -> Iterator[list[DeadLetter]]:
        """Every dead letter in pages, oldest first; those taken away while iterating do not disturb the rest."""
        kept = 0
        while page := self._page(-kept - 1, -1):
            yield [_buried(raw, -kept - number) for number, raw in enumerate(page, 1)]
            left = set(self._page(-kept - 1, -1))  # new letters come in at the other end
            kept += sum(raw in left for raw in page)

    def replay(self, buried: Sequence[DeadLetter], now: float) -> int:
        """Put the events back on their queue with all patience ahead of them, and take the letters away, in one step each.

        A message that could not be read goes back as it came, byte for byte.
        Gives how many: those that somebody else took first are not. `buried` is oldest first, as it was read.
        """
        return self._take_away(buried, lambda each: again(each.message, self.queue, now))

    def purge(self, buried: Sequence[DeadLetter]) -> int:
        """Take the letters away for good; gives how many, as `replay` does."""
        return self._take_away(buried, lambda _: "")

    def totals(self) -> dict[str, int]:
        """How many there are for each reason; counted anew where somebody changed the queue behind our back."""
        counts = counts_in(self.redis.hgetall(self._counts_key))
        return counts if sum(counts.values()) == self.count() else self._counted_anew()

    def cached_counts(self) -> dict[str, int]:
        """How many there are for each reason, as was noted: cheap, and looks at none of them."""
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(self._counts_key)
            pipe.llen(self.key)
            counts, count = pipe.execute()
        known = counts_in(counts) if count else {}
        stray = int(count) - sum(known.values())
        return {**known, UNKNOWN: known.get(UNKNOWN, 0) + stray} if stray > 0 else known

    @property
    def _counts_key(self) -> str:
        return dead_letter_counts(self.integration)

    def _counted_anew(self) -> dict[str, int]:
        counts = Counter(buried.letter.reason for buried in self.newest_first())
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.delete(self._counts_key)
            if counts:
                pipe.hset(
                    self._counts_key,
                    mapping={reason: str(count) for reason, count in counts.items()},
                )
            pipe.execute()
        return dict(counts)

    def _take_away(self, buried: Sequence[DeadLetter], instead: Callable[[DeadLetter], str]) -> int:
        done = 0
        for batch in _batches(buried):
            keys = (
                self.key,
                self._counts_key,
                self.queue,
                Keys(self.integration).removed(uuid4().hex),
            )
            # Each one taken away has moved those behind it one place towards the end.
            letters = [
                (each.place + done, each.raw, each.letter.reason, instead(each)) for each in batch
            ]
            arguments = [str(part) for letter in letters for part in letter]
            done += int(cast("int", self.redis.eval(TAKE_AWAY, len(keys), *keys, *arguments)))
        return done

    def _page(self, start: int, step: int, most: int = PAGE) -> list[str]:
        """The letters from `start` on, bounded in number and bytes."""
        return cast(
            "list[str]", self.redis.eval(READ_PAGE, 1, self.key, start, step, most, PAGE_BYTES)
        )

    def _range(self, start: int, end: int) -> list[str]:
        return cast("list[str]", self.redis.lrange(self.key, start, end))


def again(message: Message, queue: str, now: float) -> str:
    """The text of `message` for another try; of one that could not be read, the text as it came."""
    return (
        encode(message.reset_for_replay(now), queue)
        if message.original is None
        else message.original
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


def _buried(raw: str, place: int = 0) -> DeadLetter:
    """The dead letter in `raw`; what another program put there is read as on the queue, and shown as a letter without a story."""
    try:
        message, headers = decode(raw)
        if isinstance(headers.get("dead_letter"), dict):
            return DeadLetter(message, _letter(headers["dead_letter"]), raw, place)
    except DecodeError:
        pass
    return DeadLetter(parse_raw(raw, lambda: "?"), _letter(None), raw, place)


def _letter(header: Any) -> DeadLetterInfo:
    """The `dead_letter` header; what it says in another shape than `DeadLetterInfo` counts as not said."""
    known = header if isinstance(header, dict) else {}
    empty: dict[str, Any] = asdict(DeadLetterInfo(UNKNOWN, None, "", "", "", 0, None, 0.0, ""))
    return DeadLetterInfo(
        **{
            name: known[name] if _fits(name, known.get(name)) else each
            for name, each in empty.items()
        }
    )


def _fits(field: str, value: object) -> bool:
    if field in {"status", "attempts", "first_seen", "died_at"}:
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST
        )
    return isinstance(value, str)
