"""Messages of the queue, and their form in Redis: Celery protocol 2 in JSON.

Any client can write one. A message carries one event, or as a *bundle* many: a list of them as its
only argument.
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
# In a message's text: when a worker first fetched it, if it does not say when it was enqueued.
STAMP = "signal_taken_at"
# In a message's text: how often it came back from a worker that did not finish it.
RETURNS = "signal_returns"
# Both or one of them, as the scripts of in_flight.py (RETURNS) and consumer/transport.py (STAMP)
# write them.
STAMPED = re.compile(rf'^(\s*)\{{(?:"{RETURNS}":[0-9]+,)?(?:"{STAMP}":[0-9.]+,)?')
APART_SECONDS = 1e-6  # between the enqueue times of a bundle's events
# A time further ahead of a worker's clock is impossible. The fetch script applies a closer limit,
# by Redis's clock (consumer/fetch.lua).
AHEAD_SECONDS = 86_400.0
KIND_LENGTH = 80
EMBED = '{"callbacks":null,"errbacks":null,"chain":null,"chord":null}'


class DecodeError(ValueError):
    """A message that cannot be read; the text says what is wrong and quotes no event."""

    def __init__(
        self,
        text: str,
        reason: DeadLetterReason = DeadLetterReason.UNREADABLE_MESSAGE,
        id: object = None,
    ) -> None:
        """Describe what is wrong.

        Args:
            text: What is wrong.
            reason: The reason of the dead letter.
            id: The message's own id, if it could be read.
        """
        super().__init__(text)
        self.reason, self.id = reason, id


@dataclass(frozen=True)
class Limits:
    """Limits of the messages that a worker fetches.

    Attributes:
        bytes: The size of one message, as it lies on the queue and when decompressed, and of all
            messages in hand together.
        events: The events of one bundle.
        returns: How often a message may come back from a worker that did not finish it.
    """

    bytes: int
    events: int
    returns: int


# For programs that read messages and deliver none. The decompressed size stays limited.
NO_LIMITS = Limits(32 * 1024 * 1024, 1 << 40, 1 << 40)


@dataclass(frozen=True)
class Refusal:
    """Why a message that could not be read becomes a dead letter."""

    reason: DeadLetterReason
    text: str


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt that did not deliver; `at` is in epoch seconds."""

    at: float
    outcome: str
    status: int | None


@dataclass(frozen=True)
class Message:
    """One event, or a bundle of them, on its way to Mailgun.

    Attributes:
        id: The Celery task id: the event's `messageId` if that is usable.
        args: One event, as sent, or for a bundle one list of events; anything else is malformed.
        kwargs: The keyword arguments; an event has none.
        kind: What Flower shows in place of the arguments: no personal data.
        enqueued_at: When it was enqueued, in epoch seconds; None if the producer did not say.
        retry_window_start: When it was enqueued, or last replayed, in epoch seconds.
        first_tried: When it was first tried, by the integration's clock (`Gate.open_seconds`); None
            before that.
        attempts: Attempts spent.
        throttled: How often Mailgun said to wait since the last attempt spent.
        requeues: How often it was delayed; Flower's "retries".
        attempt_history: The latest attempts, oldest first.
        task: `TASK`, `DELIVER_MANY` for a bundle, or `REPLAY_TASK`.
        refusal: Why it could not be read, else None.
        original: If it could not be read, its text as it came; bytes that are not UTF-8 are
            surrogates (PEP 383).
        size: The length of its body as it was read, in characters.
        returns: How often it came back from a worker that did not finish it, since its last
            attempt.
    """

    id: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "event"
    enqueued_at: float | None = None
    retry_window_start: float | None = None
    first_tried: float | None = None
    attempts: int = 0
    throttled: int = 0
    requeues: int = 0
    attempt_history: tuple[AttemptRecord, ...] = ()
    task: str = TASK
    refusal: Refusal | None = None
    original: str | None = None
    size: int = 0
    returns: int = 0

    @property
    def events(self) -> int:
        """The number of events that the message carries."""
        return len(self.args[0]) if self.is_bundle else 1

    @property
    def is_bundle(self) -> bool:
        """True if the message carries one list of events.

        A message whose task says bundle and that has other arguments is one malformed event.
        """
        whole = self.task == DELIVER_MANY and len(self.args) == 1 and not self.kwargs
        return whole and isinstance(self.args[0], list)

    def after_attempt(
        self, attempt: AttemptRecord, open_seconds: float, *, spent: bool
    ) -> "Message":
        """Return the message after one more attempt that did not deliver.

        Args:
            attempt: The attempt.
            open_seconds: The integration's clock.
            spent: The attempt counts, since Mailgun failed; it does not if Mailgun said to wait.
        """
        return replace(
            self.after_wait(),
            first_tried=open_seconds - self.patience_spent(open_seconds),
            attempts=self.attempts + spent,
            throttled=0 if spent else self.throttled + 1,
            returns=0,
            attempt_history=(*self.attempt_history, attempt)[-TRAIL_LENGTH:],
        )

    def after_wait(self) -> "Message":
        """Return the message after a wait without an attempt."""
        return replace(self, requeues=self.requeues + 1)

    def patience_spent(self, open_seconds: float) -> float:
        """Return the seconds since the first attempt, by the integration's clock.

        Returns 0.0 if the clock is behind the first attempt: Redis was emptied, and the clock began
        anew.
        """
        if self.first_tried is None or self.first_tried > open_seconds:
            return 0.0
        return open_seconds - self.first_tried

    def with_timestamps(self, now: float) -> "Message":
        """Return the message with its times set: a time that the producer did not say is `now`.

        So is a time more than `AHEAD_SECONDS` ahead of `now`: it would keep newer events from
        setting a field, and the retry window from ending.
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
        """Return the message with a new retry window; when it was enqueued stays known."""
        return replace(
            self, attempts=0, throttled=0, retry_window_start=now, first_tried=None, returns=0
        )


def events_in(message: Message) -> list[Message]:
    """Return the events of `message`, each as a message of its own, in order.

    The id of a bundle's event is its own `messageId` if that is usable, else the bundle's id and
    the event's position, counted from 0. Each event counts as enqueued a microsecond after the one
    before it, so that their order is known. A message that is no bundle is returned itself.
    """
    return list(each_event(message))


def each_event(message: Message) -> Iterator[Message]:
    """Yield what `events_in` returns, so that not all events of a bundle are in memory at once."""
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
        task=TASK,
    )


def usable_id(value: object) -> str | None:
    """Return `value` if it can serve as a task id and is safe to show, else None."""
    return value if isinstance(value, str) and USABLE_ID.fullmatch(value) else None


def progress(message: Message, events: int = 1) -> dict[str, Any]:
    """Return the `signal` header: times, attempts, and the number of a bundle's `events`."""
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
    """Return the message's text without the stamps of fetches and returns."""
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
    """Return the message that a Celery client sent.

    Args:
        id: The task id.
        args: The arguments.
        kwargs: The keyword arguments.
        headers: The message's headers. A bare client sends no `signal` header; values in another
            form than `progress` writes are ignored.
        taken_at: The stamp of the first fetch, in epoch seconds, if the message did not say when it
            was enqueued.
        returns: How often the message came back.
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
    if isinstance(text, str):  # written by poison.lua
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
    """Return the message's text for `queue` in Redis, with any further `headers`."""
    text = json.dumps(envelope(message, queue, **headers), separators=(",", ":"))
    return f'{{"{RETURNS}":{message.returns},{text[1:]}' if message.returns else text


def encoded_texts(message: Message, queue: str, events: Sequence[str]) -> str:
    """Return the message's text, with events given as JSON texts in place of its arguments.

    Args:
        message: The message, without arguments.
        queue: The queue.
        events: The JSON text of the event, or of each event of a bundle.
    """
    args = f"[{','.join(events)}]" if message.task == DELIVER_MANY else ",".join(events)
    known = {"signal": progress(message, len(events))}
    return json.dumps(
        _enveloped(message, queue, f"[[{args}],{{}},{EMBED}]", known), separators=(",", ":")
    )


def envelope(message: Message, queue: str, **headers: Any) -> dict[str, Any]:
    """Return the message as Celery writes it for `queue`, with any further `headers`."""
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
    """Return the decoded body of a Celery message.

    Raises:
        ValueError, TypeError, LookupError: `envelope` is no Celery message.
    """
    body = envelope["body"]
    if envelope["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body, validate=True)
    return json.loads(body)


def decode(raw: str) -> tuple[Message, dict[str, Any]]:
    """Decode a message that this program wrote.

    Returns:
        The message and its headers.

    Raises:
        DecodeError: `raw` is no Celery message.
    """
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
