"""Acts on messages in a real Flower, asked for and confirmed as its forms do."""

from typing import Any, cast

from tests.integration.visitors import Visitor
from tests.servers import eventually
from worker.gate.gate import Gate
from worker.queue.codec import decode
from worker.queue.dead_letters import DeadLetterQueue
from worker.settings import Settings
from worker.wiring import gate_for

ENDED = ("done", "cancelled", "failed")


def gate_of(letters: DeadLetterQueue) -> Gate:
    return gate_for(Settings(signal_integration=letters.integration), letters.redis)


def queued(letters: DeadLetterQueue) -> list[str]:
    """Return the ids of the messages on the queue, the next one first."""
    raws = cast("list[str]", letters.redis.lrange(letters.queue, 0, -1))
    return [decode(raw)[0].id for raw in reversed(raws)]


def asked_at(visitor: Visitor, tab: str, act: str, **form: Any) -> str:
    """Ask for an act at the path of a tab; return the job's path once all are counted."""
    answer = visitor.post(f"{tab}/jobs", act=act, **form)
    assert answer.status_code == 303, answer.text
    path = answer.headers["Location"]
    in_state(visitor, path, "ready", *ENDED)
    return path


def in_state(visitor: Visitor, path: str, *states: str) -> dict[str, Any]:
    """Return the job's progress once it is in one of these states."""
    found: dict[str, Any] = {}

    def is_there() -> bool:
        found.update(visitor.get(f"{path}/progress").json())
        return found["state"] in states

    eventually(is_there, what=f"a job that is {states}")
    return found


def confirmed(visitor: Visitor, path: str, rate: int = 1000) -> dict[str, Any]:
    """Confirm the job, and return its progress once it has ended."""
    assert visitor.post(f"{path}/start", rate=rate).status_code == 303
    return in_state(visitor, path, *ENDED)
