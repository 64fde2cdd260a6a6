"""What comes off the queue is untrusted: made into a message that the task can be given, whatever it is."""

import base64
import json
from collections.abc import Callable
from typing import Any

from worker.delivery.message import TASK, Message, encoded, message_of


def admitted(raw: str, queue: str, new_id: Callable[[], str]) -> dict[str, Any]:
    """The Celery message (protocol 2, decoded JSON) to hand to the task for the text `raw` found on `queue`.

    A well-formed message is passed on as it is, except that what Flower and the log would show of its arguments is struck out
    unless this program's own producer wrote it. Anything else becomes the sole argument of a message of its own, so that the
    task buries it whole as `malformed_event` instead of Celery discarding it.
    """
    try:
        envelope = json.loads(raw)
        return _protocol_2(envelope) or _protocol_1(envelope, queue) or _wrapped(raw, queue, new_id())
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return _wrapped(raw, queue, new_id())


def _protocol_2(envelope: dict[str, Any]) -> dict[str, Any] | None:
    headers, properties = envelope["headers"], envelope["properties"]
    if headers.get("task") != TASK or not _is_text(headers.get("id")):
        return None
    args, kwargs, *_ = _body(envelope)
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        return None
    if not isinstance(headers.get("signal"), dict):
        headers |= {"argsrepr": "event", "kwargsrepr": "{}", "signal": None}
    properties.setdefault("delivery_info", {"exchange": "", "routing_key": ""})
    return envelope


def _protocol_1(envelope: dict[str, Any], queue: str) -> dict[str, Any] | None:
    body = _body(envelope)
    if not isinstance(body, dict) or body.get("task") != TASK or not _is_text(body.get("id")):
        return None
    message = message_of(id=body["id"], args=body.get("args") or [], kwargs=body.get("kwargs") or {}, headers={})
    return _decoded(encoded(message, queue))


def _wrapped(raw: str, queue: str, new_id: str) -> dict[str, Any]:
    return _decoded(encoded(Message(id=new_id, args=(raw,), kind="not an event"), queue))


def _decoded(text: str) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(text)
    return envelope


def _body(envelope: dict[str, Any]) -> Any:
    body = envelope["body"]
    if envelope["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body, validate=True)
    if envelope.get("content-type") != "application/json":
        raise ValueError("not JSON")
    return json.loads(body)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
