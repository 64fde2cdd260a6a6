"""The check of the members at the end.

What an event set must be there, and what it did not mention must still be there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.other_programs.posting import fields_set_by
from tests.bench.people import Person
from worker.sandbox.stored_member import StoredMember

RIGHT = "right"
NONE_EXPECTED = "–"


@dataclass(frozen=True)
class ExpectedMember:
    """A member as it should be after the events about it.

    Attributes:
        address: Its address.
        name: Its name.
        vars: All its variables.
        last_set: The variables that the last event set.
    """

    address: str
    name: str
    vars: dict[str, Any]
    last_set: dict[str, Any]


def expected_member(about: Person, events: Sequence[Mapping[str, Any]]) -> ExpectedMember:
    """Return the person's member after these events, oldest first."""
    name, variables, last_set = about.name, about.vars, dict[str, Any]()
    for event in events:
        new_name, last_set = fields_set_by(event)
        name, variables = new_name or name, {**variables, **last_set}
    return ExpectedMember(about.address, name, variables, last_set)


def check_members(members: Mapping[str, StoredMember], expected: Sequence[ExpectedMember]) -> str:
    """Return `right`, or how many members are not right and why.

    A wrong member lacks what its event set; a stripped member lacks what the event did not
    mention.
    """
    if not expected:
        return NONE_EXPECTED
    wrong = sum(not _has(members.get(each.address), each.last_set) for each in expected)
    if wrong:
        return f"{wrong} of {len(expected)} wrong"
    stripped = sum(not _is(members[each.address], each) for each in expected)
    return f"{stripped} of {len(expected)} stripped" if stripped else RIGHT


def _has(member: StoredMember | None, variables: Mapping[str, Any]) -> bool:
    return member is not None and member.subscribed and variables.items() <= member.vars.items()


def _is(member: StoredMember, expected: ExpectedMember) -> bool:
    return (member.name, member.vars) == (expected.name, expected.vars)
