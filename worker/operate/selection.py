"""Which dead letters an operator means."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any

from worker.delivery.dead_letters import Buried, DeadLetters
from worker.settings import Settings
from worker.signal.address import lenient_address
from worker.signal.event import MalformedEvent, parse_event
from worker.signal.patch import address_in
from worker.signal.preset import Preset, load_preset
from worker.store import connect

SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Selection:
    """Which dead letters are meant."""

    reason: str | None = None
    status: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    kind: str | None = None
    email: str | None = None
    id: str | None = None
    preset: Preset | None = field(
        default=None, compare=False
    )  # through which addresses are read; None: the Default one

    def holds(self, buried: Buried) -> bool:
        """Is this one meant?"""
        letter, message = buried.letter, buried.message
        died = datetime.fromtimestamp(letter.died_at, UTC)
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.status is None or letter.status == self.status)
            and (self.since is None or died >= self.since)
            and (self.until is None or died <= self.until)
            and (self.kind is None or message.kind.lower() == self.kind.lower())
            and (self.email is None or address_of(message.args, self.preset) == lenient_address(self.email))
            and (self.id is None or message.id == self.id)
        )


def instant(text: str, now: datetime) -> datetime:
    """The moment that `text` names: ISO 8601 (without an offset: UTC), or a span before `now` such as 90m, 2h, 7d.

    Raises `ValueError`.
    """
    span = SPAN.fullmatch(text.strip())
    if span:
        return now - timedelta(seconds=float(span[1]) * UNITS[span[2]])
    moment = datetime.fromisoformat(text.strip())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def selected(
    now: datetime, preset: Preset | None = None, *, since: str | None = None, until: str | None = None, **filters: Any
) -> Selection:
    """What filters given as text mean at `now`. Raises `ValueError` with one line that says what is wrong."""
    unknown = set(filters) - {"reason", "status", "kind", "email", "id"}
    if unknown:
        raise ValueError(
            f"no filter {', '.join(sorted(unknown))}; there are reason, status, since, until, kind, email, id, limit"
        )
    try:
        moments = [instant(text, now) if text else None for text in (since, until)]
    except (ValueError, AttributeError):
        raise ValueError("since and until take ISO 8601 or a span such as 90m, 2h, 7d") from None
    for name, value in filters.items():
        if not isinstance(value, int if name == "status" else str | None) and value is not None:
            raise ValueError(f"the filter {name} has a value of the wrong type")
    return Selection(since=moments[0], until=moments[1], preset=preset, **filters)


def address_of(args: tuple[Any, ...], preset: Preset | None = None) -> str:
    """The address that an event is about, read through `preset` (else the Default one); "" where there is none."""
    try:
        return address_in(parse_event(args[0]), preset or _default_preset()) or "" if args else ""
    except MalformedEvent:
        return ""


@lru_cache(maxsize=1)
def _default_preset() -> Preset:
    return load_preset()


def chosen(letters: DeadLetters, wanted: Selection, limit: int | None) -> Iterator[Buried]:
    """The dead letters meant, oldest first, at most `limit`."""
    return islice((each for each in letters.oldest_first() if wanted.holds(each)), limit)


def batches(letters: DeadLetters, wanted: Selection, limit: int, *, at_once: int) -> Iterator[list[Buried]]:
    """The same in lists of at most `at_once`, each to be taken away before the next one is asked for."""
    left = limit
    for page in letters.pages():
        meant = [each for each in page if wanted.holds(each)][:left]
        left -= len(meant)
        taken = 0
        for start in range(0, len(meant), at_once):
            # What was taken away since the page was read has moved the others towards the end.
            batch = [replace(each, place=each.place + taken) for each in meant[start : start + at_once]]
            yield batch
            taken += len(batch)
        if left <= 0:
            return


def opened(settings: Settings) -> DeadLetters:
    """The integration's dead letters."""
    return DeadLetters(connect(settings.redis_url), settings.signal_integration, settings.queue)
