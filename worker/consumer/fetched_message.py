"""Messages that a worker has in hand: fetched ones, and adopted ones that waited for members."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from worker.consumer.load import Weight, weight_of
from worker.privacy import redacted
from worker.queue.intake import parse_raw
from worker.queue.message import Limits, Message


class FetchedMessage(NamedTuple):
    """A message that this worker has in hand.

    Attributes:
        message: The message as it was read.
        tag: Its delivery tag.
        drop: Called with the tag when the message has ended; makes room for another message.
        at: When it was fetched, in monotonic seconds.
        weight: Its share of the room that the worker has.
        charged: How many of its events the gate charged when it was fetched.
    """

    message: Message
    tag: str
    drop: Callable[[str], None]
    at: float
    weight: Weight
    charged: int = 0

    def description(self, queue: str) -> dict[str, Any]:
        """Return the fields with which Celery's remote control describes a task.

        Args:
            queue: The queue that the message comes from.
        """
        return {
            "id": self.message.id,
            "name": self.message.task,
            "args": [redacted(self.message.kind)],
            "kwargs": {},
            "type": self.message.task,
            "time_start": self.at + time.time() - time.monotonic(),
            "acknowledged": False,
            "delivery_info": {"routing_key": queue},
            "worker_pid": os.getpid(),
        }


def fetched_message(
    raw: bytes, tag: bytes, charged: int, *, limits: Limits, drop: Callable[[str], None]
) -> FetchedMessage:
    """Read a message that the fetch script returned.

    Args:
        raw: The message as it lay on the queue.
        tag: Its delivery tag.
        charged: The number of its events that the gate charged.
        limits: The limits of messages.
        drop: Called with the tag when the message has ended.
    """
    message = parse_raw(raw, lambda: str(uuid4()), limits)
    weight = weight_of(message, len(raw), max(1, message.events))
    return FetchedMessage(message, tag.decode(), drop, time.monotonic(), weight, charged)


def adopted_batches(
    adopted: Sequence[Sequence[tuple[str, str]]], size: int
) -> Iterator[list[FetchedMessage]]:
    """Yield batches of as many members as may share a request, with all messages of each.

    Args:
        adopted: For each member its messages, each with its delivery tag.
        size: Members of a batch at most.
    """
    batch: list[FetchedMessage] = []
    for members, found in enumerate(adopted, 1):
        batch += [_adopted_message(*each, first=number == 0) for number, each in enumerate(found)]
        if members % size == 0 or members == len(adopted):
            yield batch
            batch = []


def _adopted_message(raw: str, tag: str, *, first: bool) -> FetchedMessage:
    """Return the message, which is charged and takes room only if it is its member's `first`.

    One request serves all events of a member, so the gate charges the first alone.
    """
    message = parse_raw(raw, lambda: tag)
    weight = weight_of(message, len(raw), int(first))
    return FetchedMessage(
        message, tag, lambda _: None, time.monotonic(), weight, charged=int(first)
    )
