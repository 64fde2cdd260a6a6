"""What must stand at the end: a plain model of the rules, one pass over what happened, in the order in which it happened.

It shares no code with the worker, and knows nothing of events, queues or time-outs.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fact:
    """What one event says of one person."""

    address: str  # as Mailgun holds it
    at: float  # epoch seconds: when it happened, not when anybody heard of it
    name: str | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    consent: bool | None = None  # None: unknown


@dataclass(frozen=True)
class Standing:
    """How one person stands on the list."""

    name: str = ""
    subscribed: bool = True
    vars: Mapping[str, Any] = field(default_factory=dict)


def final_standings(facts: Iterable[Fact], opted_out: Set[str]) -> dict[str, Standing]:
    """Everybody's standing after all `facts`, however they arrived; who opted out at Mailgun stays out, whatever was granted."""
    standings: dict[str, Standing] = {}
    for fact in sorted(facts, key=lambda each: each.at):
        standings[fact.address] = _after(standings.get(fact.address, Standing()), fact)
    for address in opted_out:
        standings[address] = Standing(
            standings[address].name, subscribed=False, vars=standings[address].vars
        )
    return standings


def _after(before: Standing, fact: Fact) -> Standing:
    return Standing(
        name=before.name if fact.name is None else fact.name,
        subscribed=before.subscribed if fact.consent is None else fact.consent,
        vars={**before.vars, **fact.vars},
    )
