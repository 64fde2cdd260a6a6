"""What comes off the queue is untrusted: made into a message that can be handled, whatever it is."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from worker.delivery.message import DELIVER_MANY, REPLAY_TASK, STAMP, TASK, Message, body_of, message_of, usable_id
from worker.signal.event import NESTING_LIMIT, deeper_than


def admitted(raw: str, new_id: Callable[[], str]) -> Message:
    """The message for the text `raw` found on a queue.

    Of a well-formed message its id, its arguments and what it says of its way are kept; an ETA, an expiry, time limits,
    callbacks and what Flower and the log would show of a bare client's arguments are not, because Celery would hold the event
    in memory, drop it, or end the worker over them. Anything else becomes the sole argument of a message of its own, so that
    it is buried whole as `malformed_event` instead of Celery discarding it.
    """
    try:
        envelope = json.loads(raw)
        return _protocol_2(envelope) or _protocol_1(envelope) or _wrapped(raw, new_id())
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return _wrapped(raw, new_id())


def _protocol_2(envelope: dict[str, Any]) -> Message | None:
    headers = envelope["headers"]
    task = headers.get("task")
    if task not in {TASK, DELIVER_MANY, REPLAY_TASK} or not _is_text(headers.get("id")):
        return None
    args, kwargs, *_ = _body(envelope, bundle=task == DELIVER_MANY)
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        return None
    return message_of(
        id=shown_id(headers["id"]), args=args, kwargs=kwargs, headers=headers, taken_at=envelope.get(STAMP)
    )


def _protocol_1(envelope: dict[str, Any]) -> Message | None:
    body = _body(envelope)
    if not isinstance(body, dict) or body.get("task") not in {TASK, DELIVER_MANY} or not _is_text(body.get("id")):
        return None
    return message_of(
        id=shown_id(body["id"]),
        args=body.get("args") or [],
        kwargs=body.get("kwargs") or {},
        headers={"task": body["task"]},
        taken_at=envelope.get(STAMP),
    )


def shown_id(id: str) -> str:
    """`id`, or where that could be an address or break a line a digest that stays the same for repeats of it."""
    return usable_id(id) or sha256(id.encode("utf-8", "replace")).hexdigest()[:32]


def _wrapped(raw: str, new_id: str) -> Message:
    return Message(id=new_id, args=(raw,), kind="not an event")


def _body(envelope: dict[str, Any], *, bundle: bool = False) -> Any:
    if envelope.get("content-type") != "application/json":
        raise ValueError("not JSON")
    decoded = body_of(envelope)
    limit = NESTING_LIMIT + 3 + bundle  # the event, and what is around it
    too_deep = deeper_than(limit, decoded)
    if too_deep and bundle:
        decoded = _with_deep_events_as_text(decoded)
        too_deep = deeper_than(limit, decoded)
    if too_deep:
        raise ValueError("nested too deep")
    return decoded


def _with_deep_events_as_text(body: Any) -> Any:
    """The body of a bundle whose events can all be handled: one nested too deep, as a text, is buried without the others."""
    match body:
        case [[[*events]], *rest]:
            return [[[json.dumps(each) if deeper_than(NESTING_LIMIT, each) else each for each in events]], *rest]
        case _:
            return body


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
