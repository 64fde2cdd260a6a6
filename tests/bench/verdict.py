"""The verdict on the members at the end.

What an event set must be there, and what it did not mention must still be there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.contenders.posting import said_by
from tests.bench.people import Person
from worker.sandbox.stored_member import StoredMember

RIGHT = "right"
NOBODY = "–"


@dataclass(frozen=True)
class Wanted:
    """A member as it should be after the events about it.

    Attributes:
        address: Its address.
        name: Its name.
        vars: All its variables.
        said: The variables that the last event set.
    """

    address: str
    name: str
    vars: dict[str, Any]
    said: dict[str, Any]


def wanted(about: Person, events: Sequence[Mapping[str, Any]]) -> Wanted:
    """Return the person's member after these events, oldest first."""
    name, held, said = about.name, about.vars, dict[str, Any]()
    for event in events:
        new_name, said = said_by(event)
        name, held = new_name or name, {**held, **said}
    return Wanted(about.address, name, held, said)


def verdict(members: Mapping[str, StoredMember], expected: Sequence[Wanted]) -> str:
    """Return `right`, or how many members are not right and why.

    A wrong member lacks what its event said; a stripped member lacks what the event did not
    mention.
    """
    if not expected:
        return NOBODY
    wrong = sum(not _has(members.get(each.address), each.said) for each in expected)
    if wrong:
        return f"{wrong} of {len(expected)} wrong"
    stripped = sum(not _is(members[each.address], each) for each in expected)
    return f"{stripped} of {len(expected)} stripped" if stripped else RIGHT


def _has(member: StoredMember | None, said: Mapping[str, Any]) -> bool:
    return member is not None and member.subscribed and said.items() <= member.vars.items()


def _is(member: StoredMember, expected: Wanted) -> bool:
    return (member.name, member.vars) == (expected.name, expected.vars)
