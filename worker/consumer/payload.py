"""Payload with which a fetched message is handed to kombu.

The message as it was read goes beside it, as a property, so that nothing reads it again.
"""

from typing import Any
from uuid import uuid4

from worker.consumer.load import weight_of
from worker.consumer.message_properties import CHARGED_PROPERTY, MESSAGE_PROPERTY, WEIGHT_PROPERTY
from worker.queue.codec import celery_message
from worker.queue.intake import parse_raw
from worker.queue.message import REPLAY_TASK, Limits, Message


def payload_of(raw: bytes, tag: bytes, charged: int, queue: str, limits: Limits) -> dict[str, Any]:
    """Read a message, and return its payload.

    Args:
        raw: The message as it lay on the queue.
        tag: Its delivery tag.
        charged: The number of its events that the gate charged.
        queue: The queue that it comes from.
        limits: The limits of messages.
    """
    message = parse_raw(raw, lambda: str(uuid4()), limits)
    payload = (
        celery_message(message, queue) if message.task == REPLAY_TASK else _bare_payload(message)
    )
    payload["properties"] |= {
        "delivery_tag": tag.decode(),
        MESSAGE_PROPERTY: message,
        WEIGHT_PROPERTY: weight_of(message, len(raw), max(1, message.events)),
        CHARGED_PROPERTY: charged,
    }
    return payload


def _bare_payload(message: Message) -> dict[str, Any]:
    """Return the least payload with which kombu and Celery hand the message on."""
    return {
        "body": "",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": message.task, "id": message.id},
        "properties": {"delivery_info": {}},
    }
