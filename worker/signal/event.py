"""Event parsing: a Signal event in any of Signal's dialects. The preset decides what matters."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from worker.signal.timestamp import UnreadableTimestamp, read_timestamp

CONTAINERS = frozenset((dict, list))
OBJECTS = (dict, Mapping)  # `dict` first: to ask an abstract class takes longer
NO_CONTEXT: tuple[Any, ...] = (None, [], "")  # as clients write that there is no context
NESTING_LIMIT = 100  # far above any real event, far below Python's recursion limit


class MalformedEvent(ValueError):
    """A value that is no Signal event; the message says why in one line and does not quote it."""


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _either(camel: str, snake: str) -> Any:
    return Field(default=None, validation_alias=AliasChoices(camel, snake))


Text = Annotated[str | None, BeforeValidator(_text)]
Object = Annotated[Mapping[str, Any], BeforeValidator(_mapping)]


class SignalEvent(BaseModel):
    """One event as Signal sends it.

    Only `type` is required. An explicit null, or a field of another shape than Signal documents,
    counts as absent; other fields are ignored.

    Attributes:
        timestamp: In UTC; a time without an offset is read as UTC.
        undated: There is a time stamp, and it is not understood.
        context_unread: There is a context, and it is no object. So the consent that it may hold is
            not understood.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

    type: str
    event: Text = None
    name: Text = None
    properties: Object = Field(default_factory=dict)
    traits: Object = Field(default_factory=dict)
    context: Object = Field(default_factory=dict)
    user_id: Text = _either("userId", "user_id")
    anonymous_id: Text = _either("anonymousId", "anonymous_id")
    group_id: Text = _either("groupId", "group_id")
    message_id: Text = _either("messageId", "message_id")
    timestamp: datetime | None = None
    undated: bool = False
    context_unread: bool = False

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, data: object) -> object:
        if not isinstance(data, OBJECTS):
            return data
        present = {name: value for name, value in data.items() if value is not None}
        context = present.get("context")
        present["context_unread"] = not isinstance(context, OBJECTS) and context not in NO_CONTEXT
        present["undated"] = False
        try:
            present["timestamp"] = read_timestamp(data.get("timestamp"))
        except UnreadableTimestamp:
            present |= {"timestamp": None, "undated": True}
        return present

    @property
    def kind(self) -> str:
        """Return the event's name if it is a track, else its type, for people."""
        return _kind(self.type, self.event)


def parse_event(data: object) -> SignalEvent:
    """Return the event in `data`, a decoded JSON value.

    Raises:
        MalformedEvent: It is no object, is nested too deep, or has no usable `type`.
    """
    if isinstance(data, SignalEvent):
        return data
    if not isinstance(data, OBJECTS):
        raise MalformedEvent(f"an event is a JSON object, not {_json_kind(data)}")
    if deeper_than(NESTING_LIMIT, data):
        raise MalformedEvent(f"the event is nested more than {NESTING_LIMIT} deep")
    kind = data.get("type")
    if not isinstance(kind, str) or not kind.strip():
        raise MalformedEvent("the event has no usable `type` (page, track, identify or group)")
    try:
        plain = kind.strip().lower()
        return SignalEvent.model_validate(data if plain == kind else {**data, "type": plain})
    except ValidationError as error:
        raise MalformedEvent(
            f"the event's {error.errors()[0]['loc'][0]!r} cannot be read"
        ) from None


def kind_in(data: Mapping[str, Any]) -> str:
    """Return the `kind` of the event in `data` without parsing it; "" if `type` is no string."""
    kind = data.get("type")
    return _kind(kind.strip().lower(), _text(data.get("event"))) if isinstance(kind, str) else ""


def id_in(data: Mapping[str, Any]) -> str | None:
    """Return the `message_id` of the event in `data` without parsing the event."""
    return _text(
        next(
            (data[name] for name in ("messageId", "message_id") if data.get(name) is not None), None
        )
    )


def _kind(type: str, event: str | None) -> str:
    return (event if type == "track" and event else type)[:80]


def may_be_deeper_than(limit: int, text: str) -> bool:
    """Return False if JSON has too few containers to be nested more than `limit` levels deep."""
    return text.count("{") + text.count("[") >= limit


def deeper_than(limit: int, value: Any) -> bool:
    """Return True if `value`, decoded JSON, is nested more than `limit` levels deep."""
    level = [value] if type(value) in CONTAINERS else []
    for _ in range(limit - 1):
        if not level:
            return False
        level = [
            inner
            for each in level
            for inner in (each.values() if type(each) is dict else each)
            if type(inner) in CONTAINERS
        ]
    return any(level)


def _json_kind(data: object) -> str:
    kinds = {
        list: "an array",
        tuple: "an array",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return "null" if data is None else kinds.get(type(data), f"a {type(data).__name__}")
