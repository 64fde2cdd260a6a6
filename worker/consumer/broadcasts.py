"""Schema of the commands of Celery's remote control.

Any program may publish on the remote control's channel. A worker drops what has another form, since
it could end the worker.
"""

from base64 import b64decode
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Json, TypeAdapter, ValidationError

# Celery's name of the exchange of commands to workers, with its default `control_exchange`.
CHANNEL = "celery.pidbox"
LARGEST_CLOCK = 2**53


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _ReplyTo(_Strict):
    exchange: Literal["reply.celery.pidbox"]
    routing_key: str


class Command(_Strict):
    """The body of a command, as Celery sends it; see kombu/pidbox.py."""

    method: str
    arguments: dict[str, Any] | None = None
    destination: list[str] | None = None
    pattern: str | None = None
    matcher: Literal["glob", "pcre"] | None = None
    reply_to: _ReplyTo | None = None
    ticket: str | None = None


class _Headers(_Strict):
    clock: int | None = Field(None, ge=0, le=LARGEST_CLOCK)
    compression: None = None


class _Properties(_Strict):
    delivery_tag: str
    delivery_info: dict[str, Any]
    body_encoding: Literal["base64"]


class Broadcast(_Strict):
    """A kombu message that carries a command; see kombu/transport/virtual/base.py."""

    body: str
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8", "binary"] = Field(alias="content-encoding")
    headers: _Headers | None = None
    properties: _Properties


BODY: TypeAdapter[Command] = TypeAdapter(Json[Command])


def command_in(data: bytes | str) -> Command | None:
    """Return the published command, None if `data` is no command that a worker could read."""
    try:
        return BODY.validate_python(
            b64decode(Broadcast.model_validate_json(data).body, validate=True)
        )
    except (ValidationError, ValueError):
        return None
