"""Filters for the dead-letter queue: which dead letters an operator means."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any

from worker.printable import printable
from worker.privacy import digest
from worker.queue.dead_letter import UNKNOWN, DeadLetter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.intake import events_read
from worker.queue.message import Message, usable_id
from worker.redis_client.client import connect
from worker.settings import Settings
from worker.signal.address import lenient_address
from worker.signal.event import MalformedEvent, parse_event
from worker.signal.patch import address_in
from worker.signal.preset import Preset, load_preset

SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
FILTERS = ("reason", "status", "since", "until", "kind", "email", "id")
OWN_REASONS = frozenset(map(str, DeadLetterReason))
REASONS = (*map(str, DeadLetterReason), UNKNOWN)
DIGEST = re.compile(r"[0-9a-f]{32}")  # in place of an id that may not be shown
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class DeadLetterFilter:
    """Conditions that a dead letter must meet, all of them; None means any.

    They hold for delayed events, too.
    """

    reason: str | None = None
    status: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    kind: str | None = None
    email: str | None = None
    id: str | None = None
    # The digest that stands for the person's address in logs, and the key of such digests.
    member: str | None = None
    digest_key: bytes = field(default=b"", repr=False, compare=False)
    # The preset by which addresses are read; None: the default preset.
    preset: Preset | None = field(default=None, compare=False)

    def not_after(self, at: float) -> "DeadLetterFilter":
        """Return this filter for letters that died at `at`, in epoch seconds, or earlier."""
        moment = datetime.fromtimestamp(at, UTC)
        return replace(self, until=min(self.until or moment, moment))

    def may_match(self, raw: str) -> bool:
        """Return False if the text of a message shows, without being read, that it does not match.

        A reason of this program and an id of plain characters stand in the text as they are.
        """
        id_is_plain = self.id is not None and usable_id(self.id) and not DIGEST.fullmatch(self.id)
        return (not id_is_plain or (self.id or "") in raw) and (
            self.reason not in OWN_REASONS or (self.reason or "") in raw
        )

    def matches(self, buried: DeadLetter) -> bool:
        """Return True if the dead letter meets every condition."""
        letter = buried.letter
        return self.accepts(buried.message, letter.reason, letter.status, letter.died_at)

    def accepts(self, message: Message, reason: str, status: int | None, at: float) -> bool:
        """Return True if a message meets every condition.

        Args:
            message: The message.
            reason: Why it is where it is.
            status: The HTTP status that it had last; None if there was none.
            at: The moment to which `since` and `until` apply, in epoch seconds.
        """
        moment = datetime.fromtimestamp(at, UTC)
        return (
            (self.reason is None or reason == self.reason)
            and (self.status is None or status == self.status)
            and (self.since is None or moment >= self.since)
            and (self.until is None or moment <= self.until)
            and (self.kind is None or message.kind.lower() == self.kind.lower())
            and (
                self.email is None
                or lenient_address(self.email) in addresses_in(message, self.preset)
            )
            and (self.id is None or message.id == self.id)
            and (self.member is None or self.member in self._digests_in(message))
        )

    def _digests_in(self, message: Message) -> set[str]:
        return {digest(each, self.digest_key) for each in addresses_in(message, self.preset)}


def instant(text: str, now: datetime) -> datetime:
    """Return the moment that `text` names, in UTC.

    Args:
        text: ISO 8601 (without an offset: UTC), or a span before `now` such as 90m, 2h, 7d.
        now: The moment from which a span counts.

    Raises:
        ValueError: `text` is neither.
        OverflowError: The moment is outside the years 1 to 9999.
    """
    span = SPAN.fullmatch(text.strip())
    if span:
        return now - timedelta(seconds=float(span[1]) * UNITS[span[2]])
    moment = datetime.fromisoformat(text.strip())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def parse_filter(
    now: datetime,
    filters: Mapping[str, Any],
    preset: Preset | None = None,
    others: Callable[[], Iterable[str]] = tuple,
    reasons: Collection[str] = REASONS,
) -> DeadLetterFilter:
    """Return the filter that an operator described.

    Args:
        now: The moment from which spans count.
        filters: The value of each filter by its name; None means any.
        preset: The preset by which addresses are read.
        others: Returns reasons in the queue besides this program's own. It is called only if
            `filters` names none of `reasons`.
        reasons: The reasons that this program gives.

    Raises:
        ValueError: A filter is wrong; the text is one line that says what.
    """
    unknown = sorted(set(filters) - set(FILTERS))
    if unknown:
        raise ValueError(
            f"no filter {printable(unknown[0])}{_meant(unknown[0], FILTERS)}; "
            f"there are {', '.join(FILTERS)}, limit"
        )
    given = {name: _right_type(name, value) for name, value in filters.items() if value is not None}
    since, until = (_moment(name, given.pop(name, None), now) for name in ("since", "until"))
    _check_moments(since, until, now)
    if (
        "reason" in given
        and given["reason"] not in reasons
        and given["reason"] not in (known := {*reasons, *others()})
    ):
        names = ", ".join(map(printable, sorted(known)))
        raise ValueError(
            f"no reason {printable(given['reason'])}{_meant(given['reason'], known)}; "
            f"there are {names}"
        )
    if not 100 <= given.get("status", 200) <= 599:
        raise ValueError(f"{given['status']} is no HTTP status; they go from 100 to 599")
    if "email" in given and not re.fullmatch(r"[^@]+@[^@]+", given["email"].strip()):
        raise ValueError("the filter email takes an address such as jane@example.com")
    return DeadLetterFilter(preset=preset, since=since, until=until, **given)


def _right_type(name: str, value: Any) -> Any:
    right = int if name == "status" else str
    if not isinstance(value, right) or isinstance(value, bool):
        raise ValueError(f"the filter {name} takes a {'whole number' if right is int else 'text'}")  # noqa: TRY004
    if isinstance(value, str) and not value.strip():
        raise ValueError(f"the filter {name} is empty; leave it out to mean any")
    return value


def _moment(name: str, text: str | None, now: datetime) -> datetime | None:
    try:
        return None if text is None else instant(text, now)
    except ValueError:
        raise ValueError(
            f"the filter {name} takes ISO 8601 or a span such as 90m, 2h, 7d"
        ) from None
    except OverflowError:
        raise ValueError(
            f"the filter {name} is too far away; it takes ISO 8601 or a span such as 90m, 2h, 7d"
        ) from None


def _check_moments(since: datetime | None, until: datetime | None, now: datetime) -> None:
    if since is not None and since > now:
        raise ValueError("the filter since is in the future: nothing lies there")
    if since is not None and until is not None and since > until:
        raise ValueError("the filter since is after the filter until: nothing lies between them")


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def addresses_in(message: Message, preset: Preset | None = None) -> list[str]:
    """Return the address of each event of `message` that can be read; "" if an event has none."""
    return [address_of(each.args, preset) for each in events_read(message)]


def address_of(args: tuple[Any, ...], preset: Preset | None = None) -> str:
    """Return the address of an event, or "" if it has none.

    Args:
        args: The task's arguments, of which the first is the event.
        preset: The preset by which the address is read; None: the default preset.
    """
    try:
        return address_in(parse_event(args[0]), preset or _default_preset()) or "" if args else ""
    except MalformedEvent:
        return ""


@lru_cache(maxsize=1)
def _default_preset() -> Preset:
    return load_preset()


def select(
    letters: DeadLetterQueue, wanted: DeadLetterFilter, limit: int | None
) -> Iterator[DeadLetter]:
    """Yield the dead letters that match, oldest first, at most `limit`."""
    return islice((each for each in letters.oldest_first() if wanted.matches(each)), limit)


def batches(
    letters: DeadLetterQueue, wanted: DeadLetterFilter, limit: int, *, at_once: int
) -> Iterator[list[DeadLetter]]:
    """Yield the dead letters that match, oldest first, in lists.

    The caller removes each list from the queue before it fetches the next one.

    Args:
        letters: The dead-letter queue.
        wanted: Which dead letters are meant.
        limit: Dead letters at most, in all lists together.
        at_once: Dead letters at most in one list.
    """
    left = limit
    for page in letters.pages(wanted.may_match):
        meant = [each for each in page if wanted.matches(each)][:left]
        left -= len(meant)
        taken = 0
        for start in range(0, len(meant), at_once):
            # Letters removed since the page was read have moved the others towards the end.
            batch = [
                replace(each, place=each.place + taken) for each in meant[start : start + at_once]
            ]
            yield batch
            taken += len(batch)
        if left <= 0:
            return


def dead_letters_for(settings: Settings) -> DeadLetterQueue:
    """Return the dead-letter queue of the integration, connected to Redis."""
    return DeadLetterQueue(connect(settings.redis_url), settings.signal_integration, settings.queue)
