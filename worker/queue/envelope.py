"""Decode a Celery message of any producer: protocol 1 or 2; `body_text.py` decodes its body.

Parts that Celery's own workers need and this program does not need may be missing. An error names
what cannot be read.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.queue.body_text import body_text, is_unicode, quoted
from worker.queue.codec import DecodeError
from worker.queue.compression import LIMIT_BYTES
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.message import DELIVER_MANY, REPLAY_TASK, TASK
from worker.signal.event import NESTING_LIMIT
from worker.signal.event_json import read_bundle, read_json

TASKS = (TASK, DELIVER_MANY, REPLAY_TASK)
# Containers: the body, its arguments, and the level at which one more would begin.
AROUND_AN_EVENT = 3


class Envelope(NamedTuple):
    """A Celery message that could be read; its task may be another program's.

    Attributes:
        outer: The whole message, as JSON on the queue.
        headers: Its headers.
        body: Protocol 2: a list of arguments, keyword arguments and what Celery adds. Protocol 1:
            an object.
        task: The task's name.
        id: The message's own id; None if it has none.
        size: Length of the body's text, in characters.
    """

    outer: Mapping[str, Any]
    headers: Mapping[str, Any]
    body: Any
    task: str
    id: str | None
    size: int = 0

    @property
    def args(self) -> Any:
        """The positional arguments, `[]` for none."""
        return _or_empty(self._part(0, "args"), [])

    @property
    def kwargs(self) -> Any:
        """The keyword arguments, `{}` for none; PHP clients write an empty list for none."""
        return _or_empty(self._part(1, "kwargs"), {})

    def with_args(self, args: list[Any]) -> str:
        """Return the message's text with `args` in place of its arguments.

        The body becomes uncompressed JSON in base64; all else stays.
        """
        if isinstance(self.body, dict):
            body: Any = {**self.body, "args": args}
        else:
            body = [args, *self.body[1:]]
        headers = {name: value for name, value in self.headers.items() if name != "compression"}
        properties = {**_mapping(self.outer.get("properties")), "body_encoding": "base64"}
        text = json.dumps(body, separators=(",", ":"))
        changed = {
            "body": base64.b64encode(text.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
        return json.dumps({**self.outer, **changed}, separators=(",", ":"))

    def _part(self, place: int, name: str) -> Any:
        if isinstance(self.body, dict):
            return self.body.get(name)
        return self.body[place] if len(self.body) > place else None


def parse_envelope(text: str, limit_bytes: int = LIMIT_BYTES) -> Envelope:
    """Return the Celery message in `text`.

    Args:
        text: The message as it lay on the queue.
        limit_bytes: The most bytes that its body may have when decompressed.

    Raises:
        DecodeError: The message cannot be read.
    """
    outer = _outer(text)
    headers, properties = _mapping(outer.get("headers")), _mapping(outer.get("properties"))
    own_id = _id(headers.get("id"), properties.get("correlation_id"))
    try:
        body, size = _body(outer, headers, properties, limit_bytes)
    except DecodeError as error:
        raise _with_id(error, headers.get("task"), own_id) from None
    if (
        isinstance(body, dict)
        and "args" not in body
        and "kwargs" not in body
        and "task" not in body
    ):
        raise DecodeError("the body has neither a task nor arguments", id=own_id)
    if not isinstance(body, list | dict) or body == []:
        raise DecodeError("the body is no list of arguments", id=own_id)
    in_body = body if isinstance(body, dict) else {}
    task = headers.get("task") if headers.get("task") is not None else in_body.get("task")
    if not isinstance(task, str):
        raise DecodeError("the message names no task", DeadLetterReason.UNKNOWN_TASK, own_id)
    own_id = _id(headers.get("id"), in_body.get("id"), properties.get("correlation_id"))
    return Envelope(outer, headers, body, task, own_id, size)


def unknown_task(task: str, own_id: str | None, more: str = "") -> DecodeError:
    """Return the error for a message whose task this program does not have.

    Args:
        task: The task that the message names.
        own_id: The message's own id.
        more: Text to put after the task's name.
    """
    return DecodeError(
        f"no task is called {quoted(task)}{more}", DeadLetterReason.UNKNOWN_TASK, own_id
    )


def _with_id(error: DecodeError, task: object, own_id: str | None) -> DecodeError:
    if isinstance(task, str) and task not in TASKS:  # another program's message, most likely
        return unknown_task(task, own_id, f", and {error}")
    return DecodeError(str(error), error.reason, own_id)


def _outer(text: str) -> dict[str, Any]:
    try:
        outer = read_json(text, levels=2)
    except ValueError:
        raise DecodeError(f"not a Celery message: {_what(text)}") from None
    if not isinstance(outer, dict):
        raise DecodeError("not a Celery message: JSON, but no object")
    if "body" not in outer:
        event = isinstance(outer.get("type"), str)
        what = (
            "an event without a Celery message around it"
            if event
            else "a JSON object without a `body`"
        )
        raise DecodeError(f"not a Celery message: {what}")
    return outer


def _what(text: str) -> str:
    if not text:
        return "empty"
    return "text, but not JSON" if is_unicode(text) else "bytes that are no UTF-8 text"


def _body(
    outer: Mapping[str, Any], headers: Mapping[str, Any], properties: Mapping[str, Any], limit: int
) -> tuple[Any, int]:
    """Return the body, and the length of its text in characters (0 if it is no text)."""
    body = outer["body"]
    if isinstance(body, list | dict):
        return body, 0
    if not isinstance(body, str):
        raise DecodeError("the body is neither text nor base64")
    text = body_text(body, outer, headers, properties, limit)
    return _json(text, headers.get("task")), len(text)


def _json(text: str, task: object) -> Any:
    bundle = task == DELIVER_MANY
    try:
        if task is None and text.lstrip()[:1] == "{":  # protocol 1: the task is in the body
            bundle = read_json(text, 1, AROUND_AN_EVENT + NESTING_LIMIT).get("task") == DELIVER_MANY
        if bundle and (body := read_bundle(text)):
            return body
        levels = 3 if bundle else 2
        return read_json(text, levels, NESTING_LIMIT + AROUND_AN_EVENT + bundle)
    except (ValueError, AttributeError):
        raise DecodeError("the body is not JSON") from None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _or_empty(value: Any, empty: Any) -> Any:
    if isinstance(value, str):
        try:
            return read_json(value, 1, NESTING_LIMIT)
        except ValueError:
            return value
    return empty if value in (None, [], {}) else value


def _id(*given: object) -> str | None:
    for each in given:
        if isinstance(each, str) and each:
            return each
    return None
