"""What comes off the queue is untrusted: made into a message that can be handled, whatever it is."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.envelope import TASKS, Envelope, opened, unknown_task
from worker.queue.message import (
    DELIVER_MANY,
    NO_LIMITS,
    RETURNS,
    STAMP,
    TASK,
    DecodeError,
    Limits,
    Message,
    Refusal,
    events_in,
    message_from_headers,
    usable_id,
    without_stamp,
)
from worker.redis_client.raw_text import text_of
from worker.signal.event import id_in

KEYWORDS = {
    TASK: "event",
    DELIVER_MANY: "events",
}  # under which an event, or a bundle's, may be given instead


def parse_raw(raw: bytes | str, new_id: Callable[[], str], limits: Limits = NO_LIMITS) -> Message:
    """The message for what was found on a queue.

    Of a message that can be read its id, its arguments and what it says of its way are kept; an ETA, an expiry, time limits,
    callbacks and what Flower and the log would show of a bare client's arguments are not, because Celery would hold the event
    in memory, drop it, or end the worker over them. Anything else becomes a message with a refusal that says what is wrong,
    and with its bytes as they came, so that it is buried whole instead of Celery discarding it.
    """
    text = text_of(raw)
    try:
        envelope = opened(text, limits.bytes)
        if envelope.task not in TASKS:
            raise unknown_task(envelope.task, envelope.id)
        message = _message(envelope, new_id)
        if message.is_bundle and message.events > limits.events:
            raise _too_many(message, limits)
    except DecodeError as error:
        return _refused(error, text, new_id)
    # A dead letter that was moved to the queue by hand counts as what it was about; each holds less than the one around it.
    return message if message.original is None else parse_raw(message.original, new_id, limits)


def events_read(message: Message) -> list[Message]:
    """The events that can be read from `message`: those it carries, and of one that was refused those of its original.

    A task that is not known, or an event without a message around it, hides no event here.
    """
    if message.original is None:
        return events_in(message)
    try:
        envelope = opened(message.original)
        task = DELIVER_MANY if _is_one_list(envelope.args) else TASK
        return events_in(_message(replace(envelope, task=task), lambda: message.id))
    except DecodeError:
        bare = _bare_event(message.original)
        return [replace(message, args=(bare,), original=None)] if bare else []


def without(raw: str, unwanted: Callable[[Message], bool]) -> str:
    """The message in `raw` without its unwanted events; "" where none is left."""
    events = events_read(parse_raw(raw, str))
    left = [each.args[0] for each in events if each.args and not unwanted(each)]
    return opened(raw).with_args([left]) if left else ""


def shown_id(id: str) -> str:
    """`id`, or where that could be an address or break a line a digest that stays the same for repeats of it."""
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
    taken_at = envelope.outer.get(STAMP)
    returns = envelope.outer.get(RETURNS)
    message = message_from_headers(
        id=shown, args=args, kwargs=kwargs, headers=headers, taken_at=taken_at, returns=returns
    )
    return replace(message, size=envelope.size)


def _too_many(message: Message, limits: Limits) -> DecodeError:
    text = f"the bundle has {message.events} events, and MESSAGE_MAX_EVENTS is {limits.events}"
    return DecodeError(text, DeadLetterReason.TOO_MANY_EVENTS, message.id)


def _refused(error: DecodeError, text: str, new_id: Callable[[], str]) -> Message:
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
    """The arguments with the events in the place where they belong, and read where they are JSON within JSON."""
    if task not in KEYWORDS:
        return args, kwargs
    if not args and list(kwargs) == [KEYWORDS[task]]:
        args, kwargs = list(kwargs.values()), {}
    if task == DELIVER_MANY:
        return [
            list(map(_event, each)) if isinstance(each, list) else each for each in args
        ], kwargs
    return list(map(_event, args)), kwargs


def _event(value: Any) -> Any:
    """`value`, or the event in it where it is a JSON text."""
    return _bare_event(value) or value if isinstance(value, str) else value


def _bare_event(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text) if text.lstrip()[:1] == "{" else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("type"), str) else None


def _is_one_list(args: Any) -> bool:
    return isinstance(args, list) and len(args) == 1 and isinstance(args[0], list)


def _own_id(args: list[Any]) -> str | None:
    return usable_id(id_in(args[0])) if args and isinstance(args[0], dict) else None
