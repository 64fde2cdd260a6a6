"""Events on their way, and the form in which they lie on Redis: a Celery message, protocol 2, JSON, that any client can write.

A message carries one event, or as a *bundle* many: a list of them as its only argument.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from worker.privacy import redacted
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.redis_client.raw_text import bytes_of, text_of
from worker.signal.event import id_in, kind_in
from worker.signal.json_text import json_text

TASK = "signal.deliver"
DELIVER_MANY = "signal.deliver_many"  # a bundle's
REPLAY_TASK = "signal.replay"  # its arguments are filters, not an event
USABLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
TRAIL_LENGTH = 10
LATEST = 1e11  # epoch seconds: the year 5138
STAMP = "signal_taken_at"  # of a message's text: when it was first taken, where it does not say when it was enqueued
RETURNS = "signal_returns"  # of a message's text: how often it came back from a worker that did not end it
# As scripts write them, RETURNS (in_flight.py) and STAMP (consumer/transport.py); both or one of them.
STAMPED = re.compile(rf'^(\s*)\{{(?:"{RETURNS}":[0-9]+,)?(?:"{STAMP}":[0-9.]+,)?')
APART_SECONDS = 1e-6  # how far apart the events of a bundle count as enqueued
AHEAD_SECONDS = 86_400.0  # of a worker's clock, beyond which a time is impossible; Redis's bounds it closer (consumer/transport.py)
KIND_LENGTH = 80
EMBED = '{"callbacks":null,"errbacks":null,"chain":null,"chord":null}'


class DecodeError(ValueError):
    """Not a message that this program can read; the text says what is wrong and quotes no event."""

    def __init__(
        self,
        text: str,
        reason: DeadLetterReason = DeadLetterReason.UNREADABLE_MESSAGE,
        id: object = None,
    ) -> None:
        """Say what is wrong in `text`; `id` is the message's own, where it could be read."""
        super().__init__(text)
        self.reason, self.id = reason, id


@dataclass(frozen=True)
class Limits:
    """What a worker takes at most."""

    # Of one message, as it lies on the queue and when decompressed, and of all that is in hand together.
    bytes: int
    # Of one bundle.
    events: int
    # How often a message may come back from a worker that did not end it.
    returns: int


# For who looks at messages and delivers none: what is decompressed is bounded even so.
NO_LIMITS = Limits(32 * 1024 * 1024, 1 << 40, 1 << 40)


@dataclass(frozen=True)
class Refusal:
    """Why a message is a dead letter without having been understood."""

    reason: DeadLetterReason
    text: str


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt that did not deliver."""

    at: float  # epoch seconds
    outcome: str
    status: int | None


@dataclass(frozen=True)
class Message:
    """One event, or a bundle of them, on its way to Mailgun."""

    id: str  # the Celery task id: the event's messageId where that is usable
    args: tuple[
        Any, ...
    ]  # one event, as sent, or for a bundle one list of them; anything else is malformed
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "event"  # what Flower shows in place of the arguments: no personal data
    enqueued_at: float | None = None  # epoch seconds; None: the producer said nothing
    retry_window_start: float | None = None  # epoch seconds: when it was enqueued, or last replayed
    first_tried: float | None = (
        None  # on the integration's own clock (`Flow.open_seconds`); None: not yet
    )
    attempts: int = 0  # attempts spent
    throttled: int = 0  # times Mailgun said to wait since it last said anything else; free
    requeues: int = 0  # Flower's "retries"
    attempt_history: tuple[AttemptRecord, ...] = ()  # the latest attempts, oldest first
    paid: bool = True  # its first request was paid for when it was taken
    unpaid: int = 0  # of a bundle: how many of its last events were not
    # Events beyond those it carries for which was paid when it was taken, since its header said so.
    surplus: int = 0
    task: str = TASK  # or DELIVER_MANY: it is a bundle; or REPLAY_TASK
    # Where it could not be read: why, and its bytes as they came, those that are not UTF-8 as surrogates (PEP 383).
    refusal: Refusal | None = None
    original: str | None = None
    size: int = 0  # of its body as it was read, in bytes
    # How often it came back from a worker that did not end it, since it was last tried.
    returns: int = 0

    @property
    def events(self) -> int:
        """How many events the message carries."""
        return len(self.args[0]) if self.is_bundle else 1

    @property
    def is_bundle(self) -> bool:
        """Is it a bundle? What only says so is one malformed event."""
        whole = self.task == DELIVER_MANY and len(self.args) == 1 and not self.kwargs
        return whole and isinstance(self.args[0], list)

    def after_attempt(
        self, attempt: AttemptRecord, open_seconds: float, *, spent: bool
    ) -> "Message":
        """The message after one more attempt that did not deliver; `open_seconds` is the integration's own clock."""
        return replace(
            self.after_wait(),
            first_tried=open_seconds - self.patience_spent(open_seconds),
            attempts=self.attempts + spent,
            throttled=0 if spent else self.throttled + 1,
            returns=0,
            attempt_history=(*self.attempt_history, attempt)[-TRAIL_LENGTH:],
        )

    def after_wait(self) -> "Message":
        """The message after it had to wait without having been tried."""
        return replace(self, requeues=self.requeues + 1)

    def patience_spent(self, open_seconds: float) -> float:
        """Seconds since its first attempt, on the integration's own clock, which now says `open_seconds`.

        A clock that says less than it did has begun anew, its Redis having been emptied: then so does this.
        """
        if self.first_tried is None or self.first_tried > open_seconds:
            return 0.0
        return open_seconds - self.first_tried

    def charged(self, events: int) -> "Message":
        """The message for so many of whose events was paid when it was taken: fewer than it has, or more."""
        if events == self.events:
            return self
        return replace(
            self, unpaid=max(0, self.events - events), surplus=max(0, events - self.events)
        )

    def with_timestamps(self, now: float) -> "Message":
        """The message with its times known: what a bare client did not say counts from `now`, when a worker first saw it.

        So does a time ahead of `now`: it would keep newer events from setting a field, and the patience from ever ending.
        """
        enqueued_at = _bounded(self.enqueued_at, now)
        patience_from = (
            enqueued_at
            if self.retry_window_start is None
            else _bounded(self.retry_window_start, now)
        )
        if (enqueued_at, patience_from) == (self.enqueued_at, self.retry_window_start):
            return self
        return replace(self, enqueued_at=enqueued_at, retry_window_start=patience_from)

    def reset_for_replay(self, now: float) -> "Message":
        """The message with all patience ahead of it again; when it was enqueued stays known."""
        return replace(
            self, attempts=0, throttled=0, retry_window_start=now, first_tried=None, returns=0
        )


def events_in(message: Message) -> list[Message]:
    """The events that `message` carries, each as the message that it would be alone: `message` itself, or a bundle's in order.

    A bundle's event goes by its own `messageId` where that is usable, else by the bundle's id and its place, counted from 0.
    Each counts as enqueued a microsecond after the one before it, so that their order is known. What is no bundle although
    it says so (not one list and nothing else) is one malformed event.
    """
    return list(each_event(message))


def each_event(message: Message) -> Iterator[Message]:
    """The same one after the other, for bundles of which not all are to be in memory at once."""
    if not message.is_bundle:
        return iter((message,))
    return (_carried(message, place, event) for place, event in enumerate(message.args[0]))


def _carried(bundle: Message, place: int, event: object) -> Message:
    known = event if isinstance(event, Mapping) else {}
    return replace(
        bundle,
        id=usable_id(id_in(known)) or f"{bundle.id}.{place}",
        args=(event,),
        kind=redacted(kind_in(known)) or "not an event",
        enqueued_at=None
        if bundle.enqueued_at is None
        else bundle.enqueued_at + place * APART_SECONDS,
        paid=place < bundle.events - bundle.unpaid,
        unpaid=0,
        surplus=0,
        task=TASK,
    )


def usable_id(value: object) -> str | None:
    """`value` if it can serve as a task id that is safe to show, else None."""
    return value if isinstance(value, str) and USABLE_ID.fullmatch(value) else None


def progress(message: Message, events: int = 1) -> dict[str, Any]:
    """The `signal` header: what is known of the message's way so far, and of a bundle how many `events` it has."""
    return {
        **({"events": events} if message.task == DELIVER_MANY else {}),
        "enqueued_at": message.enqueued_at,
        "patience_from": message.retry_window_start,
        "first_tried": message.first_tried,
        "attempts": message.attempts,
        "throttled": message.throttled,
        "trail": [[each.at, each.outcome, each.status] for each in message.attempt_history],
        **(
            {}
            if message.original is None
            else {"original": base64.b64encode(bytes_of(message.original)).decode()}
        ),
    }


def without_stamp(text: str) -> str:
    """Return the message as it was before it was first taken, or came back."""
    return STAMPED.sub(r"\1{", text, count=1)


def message_from_headers(
    *,
    id: str,
    args: Any,
    kwargs: Any,
    headers: Mapping[str, Any],
    taken_at: object = None,
    returns: object = 0,
) -> Message:
    """The message that a Celery client sent with these `headers`; a bare client's has no `signal` header.

    What the headers say in another shape than `progress` writes counts as not said. `taken_at` is the stamp that a message got
    when it was first taken, because it did not say when it was enqueued: epoch seconds. `returns` is how often it came back.
    """
    known = headers.get("signal")
    known = known if isinstance(known, Mapping) else {}
    stamp = _time(taken_at)
    enqueued_at, patience_from = _time(known.get("enqueued_at")), _time(known.get("patience_from"))
    if stamp is not None:
        enqueued_at, patience_from = stamp, min(stamp, patience_from or stamp)
    return Message(
        id=id,
        args=tuple(args),
        kwargs=dict(kwargs),
        kind=_kind(headers.get("argsrepr")) if known else "event",
        enqueued_at=enqueued_at,
        retry_window_start=patience_from,
        first_tried=_time(known.get("first_tried")),
        attempts=_count(known.get("attempts")),
        throttled=_count(known.get("throttled")),
        requeues=_count(headers.get("retries")),
        attempt_history=_trail(known.get("trail")),
        task=task if (task := headers.get("task")) in (DELIVER_MANY, REPLAY_TASK) else TASK,
        original=_original(known),
        returns=_count(returns),
    )


def _bounded(moment: float | None, now: float) -> float:
    return now if moment is None or moment > now + AHEAD_SECONDS else moment


def _kind(value: object) -> str:
    text = value[:KIND_LENGTH] if isinstance(value, str) else ""
    return (text if text.isprintable() else "".join(filter(str.isprintable, text))) or "event"


def _original(known: Mapping[str, Any]) -> str | None:
    text, value = known.get("original_text"), known.get("original")
    if isinstance(text, str):  # as it was put aside unread
        return text
    try:
        return text_of(base64.b64decode(value, validate=True)) if isinstance(value, str) else None
    except ValueError:
        return None


def _time(value: object) -> float | None:
    return (
        value
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST
        else None
    )


def _count(value: object) -> int:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LATEST
        else 0
    )


def _trail(value: object) -> tuple[AttemptRecord, ...]:
    tries = value if isinstance(value, list) else []
    return tuple(AttemptRecord(*each) for each in tries if _is_try(each))[-TRAIL_LENGTH:]


def _is_try(value: object) -> bool:
    match value:
        case [int() | float() as at, str(), int() | None]:
            return _time(at) is not None
        case _:
            return False


def encode(message: Message, queue: str, **headers: Any) -> str:
    """The message as it lies on Redis for `queue`, with any further `headers`."""
    text = json.dumps(envelope(message, queue, **headers), separators=(",", ":"))
    return f'{{"{RETURNS}":{message.returns},{text[1:]}' if message.returns else text


def encoded_texts(message: Message, queue: str, events: Sequence[str]) -> str:
    """The same, its arguments given as JSON texts instead: the event, or for a bundle the events."""
    args = f"[{','.join(events)}]" if message.task == DELIVER_MANY else ",".join(events)
    known = {"signal": progress(message, len(events))}
    return json.dumps(
        _enveloped(message, queue, f"[[{args}],{{}},{EMBED}]", known), separators=(",", ":")
    )


def envelope(message: Message, queue: str, **headers: Any) -> dict[str, Any]:
    """The message as Celery writes it for `queue`, with any further `headers`."""
    args, kwargs = json_text(list(message.args)), json_text(dict(message.kwargs))
    return _enveloped(message, queue, f"[{args},{kwargs},{EMBED}]", headers)


def _enveloped(
    message: Message, queue: str, body: str, headers: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "body": _base64(body),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            **_celery_headers(message),
            "signal": progress(message, message.events),
            **headers,
        },
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
        "retries": message.requeues,
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


def decode(raw: str) -> tuple[Message, dict[str, Any]]:
    """The message in `raw` and its headers. Raises `DecodeError`."""
    try:
        envelope = json.loads(raw)
        headers = envelope["headers"]
        args, kwargs, *_ = body_of(envelope)
        stamp = envelope.get(STAMP)
        return message_from_headers(
            id=str(headers["id"]), args=args, kwargs=kwargs, headers=headers, taken_at=stamp
        ), headers
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DecodeError(f"not a Celery message ({type(error).__name__})") from None


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
