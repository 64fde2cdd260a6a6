"""Codec of messages: their form in Redis, which is Celery's message protocol 2 in JSON.

Any client can write one. `envelope.py` reads what other programs wrote.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.message import (
    DELIVER_MANY,
    HISTORY_LENGTH,
    REPLAY_TASK,
    TASK,
    AttemptRecord,
    Message,
    usable_id,
)
from worker.redis_client.raw_text import bytes_of, text_of
from worker.signal.json_text import json_text

NUMBERS = (int, float)
LATEST = 1e11  # epoch seconds: the year 5138
# In a message's text: when a worker first fetched it, if it does not say when it was enqueued.
STAMP = "signal_fetched_at"
# In a message's text: how often it came back from a worker that did not finish it.
RETURNS = "signal_returns"
# Fields of the `signal` header. Messages on queues and in dead letters have them, so they stay.
WINDOW_START, HISTORY = "patience_from", "trail"
# Both stamps or one of them, as the scripts of in_flight.py (RETURNS) and consumer/atomic_fetch.py
# (STAMP) write them.
STAMPED = re.compile(rf'^(\s*)\{{(?:"{RETURNS}":[0-9]+,)?(?:"{STAMP}":[0-9.]+,)?')
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


def encode(message: Message, queue: str, **headers: Any) -> str:
    """Return the message's text for `queue` in Redis, with any further `headers`."""
    text = json.dumps(celery_message(message, queue, **headers), separators=(",", ":"))
    return f'{{"{RETURNS}":{message.returns},{text[1:]}' if message.returns else text


def encode_texts(message: Message, queue: str, events: Sequence[str]) -> str:
    """Return the message's text, with events given as JSON texts in place of its arguments.

    Args:
        message: The message, without arguments.
        queue: The queue.
        events: The JSON text of the event, or of each event of a bundle.
    """
    args = f"[{','.join(events)}]" if message.task == DELIVER_MANY else ",".join(events)
    header = {"signal": progress(message, len(events))}
    return json.dumps(
        _celery_message(message, queue, f"[[{args}],{{}},{EMBED}]", header), separators=(",", ":")
    )


def celery_message(message: Message, queue: str, **headers: Any) -> dict[str, Any]:
    """Return the message as Celery writes it for `queue`, with any further `headers`."""
    args, kwargs = json_text(list(message.arguments)), json_text(dict(message.kwargs))
    return _celery_message(message, queue, f"[{args},{kwargs},{EMBED}]", headers)


def _celery_message(
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


def progress(message: Message, events: int = 1) -> dict[str, Any]:
    """Return the `signal` header: times, attempts, and the number of a bundle's `events`.

    An event that came in a bundle has the `bundle`'s id.
    """
    return {
        **({"events": events} if message.task == DELIVER_MANY else {}),
        **({"bundle": message.bundle} if message.bundle else {}),
        "enqueued_at": message.enqueued_at,
        WINDOW_START: message.retry_window_start,
        "first_tried": message.first_tried,
        "attempts": message.attempts,
        "throttled": message.throttled,
        HISTORY: [[each.at, each.outcome, each.status] for each in message.attempt_history],
        **(
            {}
            if message.original is None
            else {"original": base64.b64encode(bytes_of(message.original)).decode()}
        ),
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
            id=str(headers["id"]), args=args, kwargs=kwargs, headers=headers, fetched_at=stamp
        ), headers
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DecodeError(f"not a Celery message ({type(error).__name__})") from None


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def message_from_headers(
    *,
    id: str,
    args: Any,
    kwargs: Any,
    headers: Mapping[str, Any],
    fetched_at: object = None,
    returns: object = 0,
    size: int = 0,
) -> Message:
    """Return the message that a Celery client sent.

    Args:
        id: The task id.
        args: The arguments.
        kwargs: The keyword arguments.
        headers: The message's headers. A bare client sends no `signal` header; values in another
            form than `progress` writes are ignored.
        fetched_at: The stamp of the first fetch, in epoch seconds, if the message did not say when
            it was enqueued.
        returns: How often the message came back.
        size: The length of its body as it was read, in characters.
    """
    header = headers.get("signal")
    header = header if isinstance(header, Mapping) else {}
    stamp = _time(fetched_at)
    enqueued_at, window_start = _time(header.get("enqueued_at")), _time(header.get(WINDOW_START))
    if stamp is not None:
        enqueued_at, window_start = stamp, min(stamp, window_start or stamp)
    return Message(
        id=id,
        args=tuple(args),
        kwargs=dict(kwargs),
        kind=_kind(headers.get("argsrepr")) if header else "event",
        enqueued_at=enqueued_at,
        retry_window_start=window_start,
        first_tried=_time(header.get("first_tried")),
        attempts=_count(header.get("attempts")),
        throttled=_count(header.get("throttled")),
        requeues=_count(headers.get("retries")),
        attempt_history=_attempt_history(header.get(HISTORY)),
        task=task if (task := headers.get("task")) in (DELIVER_MANY, REPLAY_TASK) else TASK,
        original=_original(header),
        size=size,
        returns=_count(returns),
        bundle=usable_id(header.get("bundle")),
    )


def _kind(value: object) -> str:
    text = value[:KIND_LENGTH] if isinstance(value, str) else ""
    return (text if text.isprintable() else "".join(filter(str.isprintable, text))) or "event"


def _original(header: Mapping[str, Any]) -> str | None:
    text, value = header.get("original_text"), header.get("original")
    if isinstance(text, str):  # written by poison.lua
        return text
    try:
        return text_of(base64.b64decode(value, validate=True)) if isinstance(value, str) else None
    except ValueError:
        return None


def _time(value: object) -> float | None:
    return (
        value
        if isinstance(value, NUMBERS) and not isinstance(value, bool) and 0 <= value < LATEST
        else None
    )


def _count(value: object) -> int:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LATEST
        else 0
    )


def _attempt_history(value: object) -> tuple[AttemptRecord, ...]:
    attempts = value if isinstance(value, list) else []
    return tuple(AttemptRecord(*each) for each in attempts if _is_attempt(each))[-HISTORY_LENGTH:]


def _is_attempt(value: object) -> bool:
    match value:
        case [int() | float() as at, str(), int() | None]:
            return _time(at) is not None
        case _:
            return False


def without_stamp(text: str) -> str:
    """Return the message's text without the stamps of fetches and returns."""
    return STAMPED.sub(r"\1{", text, count=1)
