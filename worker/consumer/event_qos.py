"""Quality of service of a kombu channel: how many more messages this worker may fetch."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import redis
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from worker.consumer.load import Weights, load
from worker.queue.in_flight import put_back

if TYPE_CHECKING:
    from worker.consumer.fetched_message import FetchedMessage

# The bytes that may be in hand if no limits are set.
UNLIMITED_BYTES = 8 * 1024 * 1024


class EventQoS(kombu_redis.QoS):
    """The messages that this channel fetched and that are not acknowledged.

    Redis noted them as unacknowledged when they were fetched. There is room for more as long as
    they hold fewer events than the worker has room for, and fewer bytes than it may have in hand.
    What else the worker has in hand (consumer/load.py) takes of that room, too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._weights = Weights()

    def take(self, messages: Sequence["FetchedMessage"]) -> None:
        """Remember fetched messages; each ends by `drop`, or is acknowledged or rejected."""
        self._weights.add({each.tag: each.weight for each in messages})
        self._delivered.update({each.tag: each for each in messages})

    def append(self, message: Any, delivery_tag: str) -> None:
        """Remember a message that kombu hands on; one of another queue is noted as kombu does it.

        Args:
            message: The kombu message.
            delivery_tag: Its delivery tag.
        """
        if delivery_tag in self._delivered:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge the message, which makes room for another."""
        self._weights.remove([delivery_tag])
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002  kombu's
        """Reject the message, which makes room for another."""
        self._weights.remove([delivery_tag])
        super().reject(delivery_tag, requeue)

    def drop(self, delivery_tag: str) -> None:
        """Forget a message that this worker no longer has; Redis is not asked."""
        self._weights.remove([delivery_tag])
        self._delivered.pop(delivery_tag, None)

    def can_consume(self) -> bool:
        """Return True if there is room for another message."""
        return not self.prefetch_count or (self._room() > 0 and self.bytes_left > 0)

    def can_consume_max_estimate(self) -> int:
        """Return the number of events that there is room for."""
        return max(0, self._room())

    @property
    def in_hand(self) -> int:
        """The number of messages in hand, with those that consumer/load.py counts."""
        return self._weights.messages + load().messages

    @property
    def bytes_left(self) -> int:
        """The number of bytes that there is room for; negative if there are too many."""
        limits = self.channel.limits
        most: int = limits.bytes if limits else UNLIMITED_BYTES
        return most - self._weights.bytes - load().bytes

    def _room(self) -> int:
        ours, others = self._weights, load()
        if ours.loners or others.loners:
            return 0
        return others.most_events(int(self.prefetch_count)) - ours.events - others.events

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002  kombu's
        """Put a message back on its queue, in one step; do nothing if it was acknowledged.

        Args:
            tag: The delivery tag.
            client: A Redis client; None: one of the channel's.
            leftmost: Put it at the back of the queue, not at the front.
        """
        self._put_back([tag], client, to_the_back=leftmost)

    def _put_back(
        self, tags: Sequence[str], client: Any = None, *, to_the_back: bool = False
    ) -> None:
        channel = self.channel
        with channel.conn_or_acquire(client) as connected:
            put_back(connected, channel.queue, channel.unacked_keys, tags, to_the_back=to_the_back)

    def restore_visible(self, *_: Any, **__: Any) -> None:
        """Do nothing: housekeeping puts back overdue messages, by Redis's clock."""

    def restore_unacked(self, client: Any = None) -> None:
        """Put back all messages of this channel.

        While Redis is away nothing is done: Redis has all of them as unacknowledged.
        """
        with suppress(redis.ConnectionError, redis.TimeoutError, OSError):
            self._put_back(list(self._delivered), client)  # other threads acknowledge meanwhile
        self._delivered.clear()
