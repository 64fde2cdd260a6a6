"""The model of the rules: which members must stand on the list at the end.

It is one pass over what happened, in the order in which it happened. It shares no code with the
worker and has no events, queues or time-outs.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fact:
    """The content of one event about one person.

    Attributes:
        address: The address as Mailgun stores it.
        at: When it happened, in epoch seconds; not when a producer learned of it.
        name: The name that it sets; None: none.
        vars: The variables that it sets.
        consent: The consent that it carries; None: unknown.
    """

    address: str
    at: float
    name: str | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    consent: bool | None = None


@dataclass(frozen=True)
class ExpectedMember:
    """One person's state on the list."""

    name: str = ""
    subscribed: bool = True
    vars: Mapping[str, Any] = field(default_factory=dict)


def expected_members(facts: Iterable[Fact], opted_out: Set[str]) -> dict[str, ExpectedMember]:
    """Return each person's state after all `facts`, in whichever order they arrived.

    A person who opted out at Mailgun stays unsubscribed, whatever consent events carry.
    """
    expected: dict[str, ExpectedMember] = {}
    for fact in sorted(facts, key=lambda each: each.at):
        expected[fact.address] = _after(expected.get(fact.address, ExpectedMember()), fact)
    for address in opted_out:
        expected[address] = ExpectedMember(
            expected[address].name, subscribed=False, vars=expected[address].vars
        )
    return expected


def _after(before: ExpectedMember, fact: Fact) -> ExpectedMember:
    return ExpectedMember(
        name=before.name if fact.name is None else fact.name,
        subscribed=before.subscribed if fact.consent is None else fact.consent,
        vars={**before.vars, **fact.vars},
    )
