"""Which dead letters an operator means."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from worker.delivery.dead_letters import Buried, DeadLetters
from worker.settings import Settings
from worker.store import connect


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
            and (self.email is None or address_of(message.args) == self.email.strip().lower())
            and (self.id is None or message.id == self.id)
        )


def address_of(args: tuple[Any, ...]) -> str:
    """The address in an event's traits as it was sent, trimmed and lowercased; "" where there is none."""
    event = args[0] if args and isinstance(args[0], dict) else {}
    context = event.get("context")
    for traits in (event.get("traits"), context.get("traits") if isinstance(context, dict) else None):
        if isinstance(traits, dict) and isinstance(traits.get("email"), str):
            return str(traits["email"]).strip().lower()
    return ""


def chosen(letters: DeadLetters, wanted: Selection, limit: int | None) -> Iterator[Buried]:
    """The dead letters meant, oldest first, at most `limit`."""
    return islice((each for each in letters.oldest_first() if wanted.holds(each)), limit)


def opened(settings: Settings) -> DeadLetters:
    """The integration's dead letters."""
    return DeadLetters(connect(settings.redis_url), settings.signal_integration, settings.queue)
