"""The intake: decode untrusted entries of the queue into messages, or into refusals."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from worker.queue.codec import RETURNS, STAMP, DecodeError, message_from_headers, without_stamp
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.envelope import TASKS, Envelope, parse_envelope, unknown_task
from worker.queue.message import (
    DELIVER_MANY,
    EVENTS,
    NO_LIMITS,
    TASK,
    Limits,
    Message,
    Refusal,
    unbundle,
    usable_id,
)
from worker.redis_client.raw_text import text_of
from worker.signal.event import id_in
from worker.signal.event_json import bare_event, event_in

# The keyword argument that may carry the event, or a bundle's events, instead of the arguments.
KEYWORDS = {TASK: "event", DELIVER_MANY: "events"}


def parse_raw(raw: bytes | str, new_id: Callable[[], str], limits: Limits = NO_LIMITS) -> Message:
    """Return the message for an entry of a queue.

    Of a message that can be read, the id, the arguments and the `signal` header are kept. An ETA,
    an expiry, time limits and callbacks are dropped, since Celery would hold the event in memory,
    drop it, or end the worker because of them. A bare client's representation of the arguments is
    dropped, since Flower and the log would show it. Any other entry becomes a message that carries
    a refusal and the entry's own bytes, so that it is buried whole instead of discarded by Celery.

    Args:
        raw: The entry.
        new_id: Returns an id for a message that has none.
        limits: The limits of a message; a message beyond them is refused.
    """
    text = text_of(raw)
    try:
        envelope = parse_envelope(text, limits.bytes)
        if envelope.task not in TASKS:
            raise unknown_task(envelope.task, envelope.id)
        message = _message(envelope, new_id)
        if message.is_bundle and message.events > limits.events:
            raise _too_many(message, limits)
    except DecodeError as error:
        return _unreadable(error, text, new_id)
    # A dead letter that an operator moved to the queue counts as the message it holds. The
    # recursion ends, since each original is shorter than the message around it.
    return message if message.original is None else parse_raw(message.original, new_id, limits)


def events_read(message: Message) -> list[Message]:
    """Return the events that can be read from `message`, or, if it was refused, from its original.

    Events of an unknown task, and an event without a message around it, are read, too.
    """
    if message.original is None:
        return unbundle(message)
    try:
        envelope = parse_envelope(message.original)
        task = DELIVER_MANY if _is_one_list(envelope.args) else TASK
        return unbundle(_message(envelope._replace(task=task), lambda: message.id))
    except DecodeError:
        bare = bare_event(message.original)
        return [replace(message, args=(bare,), original=None)] if bare else []


def without(raw: str, unwanted: Callable[[Message], bool]) -> str:
    """Return the message in `raw` without its unwanted events, or "" if no event is left."""
    events = events_read(parse_raw(raw, str))
    left = [each.args[0] for each in events if each.args and not unwanted(each)]
    return parse_envelope(raw).with_args([left]) if left else ""


def shown_id(id: str) -> str:
    """Return `id` if it is safe to show, else a digest of it.

    An id is not safe if it could be an address or break a line. Equal ids have equal digests.
    """
    return usable_id(id) or sha256(id.encode("utf-8", "replace")).hexdigest()[:32]


def _message(envelope: Envelope, new_id: Callable[[], str]) -> Message:
    args, kwargs = envelope.args, envelope.kwargs
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise DecodeError(
            "the arguments are no list, or the keyword arguments no object", id=envelope.id
        )
    args, kwargs = _with_events_read(envelope.task, args, kwargs)
    headers = {**envelope.headers, "task": envelope.task}
    shown = shown_id(envelope.id) if envelope.id else _own_id(args) or new_id()
    fetched_at = envelope.outer.get(STAMP)
    returns = envelope.outer.get(RETURNS)
    return message_from_headers(
        id=shown,
        args=args,
        kwargs=kwargs,
        headers=headers,
        fetched_at=fetched_at,
        returns=returns,
        size=envelope.size,
    )


def _too_many(message: Message, limits: Limits) -> DecodeError:
    text = f"the bundle has {message.events} events, and MESSAGE_MAX_EVENTS is {limits.events}"
    return DecodeError(text, DeadLetterReason.TOO_MANY_EVENTS, message.id)


def _unreadable(error: DecodeError, text: str, new_id: Callable[[], str]) -> Message:
    own_id = shown_id(error.id) if isinstance(error.id, str) else new_id()
    kind = error.reason.replace("_", " ")
    return Message(
        id=own_id,
        args=(),
        kind=kind,
        refusal=Refusal(error.reason, str(error)),
        original=without_stamp(text),
    )


def _with_events_read(
    task: str, args: list[Any], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments, events given by keyword in place, and events in JSON text decoded."""
    if task not in KEYWORDS:
        return args, kwargs
    if not args and list(kwargs) == [KEYWORDS[task]]:
        args, kwargs = list(kwargs.values()), {}
    if task == DELIVER_MANY:
        return [
            list(map(event_in, each)) if isinstance(each, list) else each for each in args
        ], kwargs
    return list(map(event_in, args)), kwargs


def _is_one_list(args: Any) -> bool:
    return isinstance(args, list) and len(args) == 1 and isinstance(args[0], EVENTS)


def _own_id(args: list[Any]) -> str | None:
    return usable_id(id_in(args[0])) if args and isinstance(args[0], dict) else None
