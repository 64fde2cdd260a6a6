"""The attempts of a message: as values for programs, as lines for people; no personal data."""

from dataclasses import asdict
from typing import Any

from worker.delivery.worker_registry import EndedTry
from worker.ops.times import clock_time
from worker.queue.delay_queue import WAITING
from worker.queue.message import Message


def attempt_history_of(message: Message) -> list[dict[str, Any]]:
    """Return the latest attempts as JSON values, oldest first: `at`, `outcome`, `status` of each.

    They include attempts before a replay.
    """
    return [asdict(each) for each in message.attempt_history]


def attempt_lines(message: Message) -> list[str]:
    """Return the same as lines for people."""
    return [
        f"attempt    {clock_time(each.at)} UTC {each.outcome} {each.status or ''}".rstrip()
        for each in message.attempt_history
    ]


def ended_parts(ended: EndedTry) -> list[str]:
    """Return how a try ended, for people: outcome, requests, fields, answer, as far as known."""
    parts = [f"{ended.outcome}{f' (HTTP {ended.status})' if ended.status else ''}"]
    if ended.requests:
        parts.append(f"{ended.requests} request{'' if ended.requests == 1 else 's'}")
    if ended.fields:
        parts.append(f"sets {', '.join(ended.fields)}")
    return [*parts, ended.answer] if ended.answer else parts


def why_delayed(reason: str, status: int | None) -> str:
    """Return why an event waits, from `DelayedMessage.reason` and its status."""
    if reason == WAITING:
        return "waiting: the integration was on hold, or the member locked"
    return f"{reason} (HTTP {status})" if status else reason
