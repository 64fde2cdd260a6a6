"""The kinds of traffic: whom events are about, and whether they change what Mailgun holds."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tests.bench.people import Person, event, person, visit, visitor


class Traffic(StrEnum):
    """A kind of traffic.

    Attributes:
        KNOWN: Each event changes the member of another person, who is on the list.
        NEW: Each event is about another person, who is not on the list.
        UNCHANGED: Each event is an identify of another person, which says what Mailgun holds.
        TASK_ID: As KNOWN, but answers to members.json have a `task-id`, and a background job
            stores the members afterwards.
    """

    KNOWN = "known"
    NEW = "new"
    UNCHANGED = "unchanged"
    TASK_ID = "task-id"

    @property
    def is_stored(self) -> bool:
        """Return whether each event has something for Mailgun to store."""
        return self is not Traffic.UNCHANGED

    @property
    def bulk_answer(self) -> str:
        """The sandbox's switch of that name."""
        return "task_id" if self is Traffic.TASK_ID else "list"

    @property
    def baseline(self) -> "Traffic":
        """The traffic with which plain Celery, which never calls members.json, has the same."""
        return Traffic.KNOWN if self is Traffic.TASK_ID else self

    def before(self, number: int) -> Person:
        """Return the person of this event as Mailgun has them before; a new one has no fields."""
        match self:
            case Traffic.NEW:
                return Person(person(number).address, "", {})
            case Traffic.UNCHANGED:
                return visitor(number)
            case _:
                return person(number)

    def on_list(self, numbers: range) -> Iterator[Person]:
        """Yield the people of these events who are on the list before."""
        if self is Traffic.UNCHANGED:
            yield from map(visitor, numbers)
        elif self is not Traffic.NEW:
            yield from map(person, numbers)

    def events(self, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Yield the events of these numbers."""
        since = datetime.now(UTC)
        for number in numbers:
            if self is Traffic.UNCHANGED:
                yield visit(number, self.before(number), since)
            else:
                yield event(number, person(number), since)
