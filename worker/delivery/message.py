"""One event on its way, and the form in which it lies on Redis: a Celery message, protocol 2, JSON, that any client can write."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

TASK = "signal.deliver"
REPLAY_TASK = "signal.replay"  # its arguments are filters, not an event
USABLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
TRAIL_LENGTH = 10
LATEST = 1e11  # epoch seconds: the year 5138


class UnreadableMessage(ValueError):
    """Not a message this program could have been sent; the reason quotes nothing of it."""


@dataclass(frozen=True)
class Try:
    """One attempt that did not deliver."""

    at: float  # epoch seconds
    outcome: str
    status: int | None


@dataclass(frozen=True)
class Message:
    """One event on its way to Mailgun."""

    id: str  # the Celery task id: the event's messageId where that is usable
    args: tuple[Any, ...]  # one event, as sent; anything else is malformed
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "event"  # what Flower shows in place of the arguments: no personal data
    enqueued_at: float | None = None  # epoch seconds; None: the producer said nothing
    patience_from: float | None = (
        None  # epoch seconds from which RETRY_MAX_AGE_HOURS counts: enqueued, or last replayed
    )
    attempts: int = 0  # attempts spent
    throttled: int = 0  # times Mailgun said to wait since it last said anything else; free
    parkings: int = 0  # Flower's "retries"
    trail: tuple[Try, ...] = ()  # the latest attempts, oldest first
    probe: bool = False  # the one event that goes ahead after a hold, to see whether Mailgun is back
    task: str = TASK

    @property
    def events(self) -> int:
        """How many events the message carries."""
        return 1

    def tried(self, attempt: Try, *, spent: bool) -> "Message":
        """The message after one more attempt that did not deliver."""
        return replace(
            self.parked(),
            attempts=self.attempts + spent,
            throttled=0 if spent else self.throttled + 1,
            trail=(*self.trail, attempt)[-TRAIL_LENGTH:],
        )

    def parked(self) -> "Message":
        """The message after it had to wait without having been tried."""
        return replace(self, parkings=self.parkings + 1, probe=False)

    def seen(self, now: float) -> "Message":
        """The message with its times known: what a bare client did not say counts from `now`, when a worker first saw it."""
        enqueued_at = now if self.enqueued_at is None else self.enqueued_at
        return replace(
            self,
            enqueued_at=enqueued_at,
            patience_from=enqueued_at if self.patience_from is None else self.patience_from,
        )

    def replayed(self, now: float) -> "Message":
        """The message with all patience ahead of it again; when it was enqueued stays known."""
        return replace(self, attempts=0, throttled=0, patience_from=now)


def usable_id(value: object) -> str | None:
    """`value` if it can serve as a task id that is safe to show, else None."""
    return value if isinstance(value, str) and USABLE_ID.fullmatch(value) else None


def progress(message: Message) -> dict[str, Any]:
    """The `signal` header: what is known of the message's way so far."""
    return {
        "enqueued_at": message.enqueued_at,
        "patience_from": message.patience_from,
        "attempts": message.attempts,
        "throttled": message.throttled,
        "trail": [[each.at, each.outcome, each.status] for each in message.trail],
    }


def message_of(*, id: str, args: Any, kwargs: Any, headers: Mapping[str, Any], task: str = TASK) -> Message:
    """The message that a Celery client sent with these `headers`; a bare client's has no `signal` header.

    What the headers say in another shape than `progress` writes counts as not said.
    """
    known = headers.get("signal")
    known = known if isinstance(known, Mapping) else {}
    return Message(
        id=id,
        args=tuple(args),
        kwargs=dict(kwargs),
        kind=str(headers.get("argsrepr") or "event") if known else "event",
        enqueued_at=_time(known.get("enqueued_at")),
        patience_from=_time(known.get("patience_from")),
        attempts=_count(known.get("attempts")),
        throttled=_count(known.get("throttled")),
        parkings=_count(headers.get("retries")),
        trail=_trail(known.get("trail")),
        probe=known.get("probe") is True,
        task=task,
    )


def _time(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST else None


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LATEST else 0


def _trail(value: object) -> tuple[Try, ...]:
    tries = value if isinstance(value, list) else []
    return tuple(Try(*each) for each in tries if _is_try(each))[-TRAIL_LENGTH:]


def _is_try(value: object) -> bool:
    match value:
        case [int() | float() as at, str(), int() | None]:
            return _time(at) is not None
        case _:
            return False


def encoded(message: Message, queue: str, **headers: Any) -> str:
    """The message as it lies on Redis for `queue`, with any further `headers`."""
    return json.dumps(envelope(message, queue, **headers), separators=(",", ":"))


def envelope(message: Message, queue: str, **headers: Any) -> dict[str, Any]:
    """The message as Celery writes it for `queue`, with any further `headers`."""
    body = [
        list(message.args),
        dict(message.kwargs),
        {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
    ]
    return {
        "body": base64.b64encode(json.dumps(body, separators=(",", ":")).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {**_celery_headers(message), "signal": progress(message), **headers},
        "properties": {
            "correlation_id": message.id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": message.id,
        },
    }


def _celery_headers(message: Message) -> dict[str, Any]:
    # Celery's message protocol, version 2: https://docs.celeryq.dev/en/stable/internals/protocol.html
    return {
        "lang": "py",
        "task": message.task,
        "id": message.id,
        "root_id": message.id,
        "parent_id": None,
        "group": None,
        "group_index": None,
        "shadow": None,
        "eta": None,
        "expires": None,
        "retries": message.parkings,
        "timelimit": [None, None],
        "argsrepr": message.kind,
        "kwargsrepr": "{}",
        "origin": "signal-mailgun",
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }


def body_of(envelope: Mapping[str, Any]) -> Any:
    """The decoded body of a Celery message. Raises `ValueError`, `TypeError` or `LookupError` for what is none."""
    body = envelope["body"]
    if envelope["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body, validate=True)
    return json.loads(body)


def decoded(raw: str) -> tuple[Message, dict[str, Any]]:
    """The message in `raw` and its headers. Raises `UnreadableMessage`."""
    try:
        envelope = json.loads(raw)
        headers = envelope["headers"]
        args, kwargs, *_ = body_of(envelope)
        return message_of(id=str(headers["id"]), args=args, kwargs=kwargs, headers=headers), headers
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UnreadableMessage(f"not a Celery message ({type(error).__name__})") from None
