"""Processing of one batch of messages: bundles are unpacked, and each message gets one end."""

from collections.abc import Sequence
from itertools import chain, islice

from worker.consumer.fetched_message import FetchedMessage
from worker.consumer.task_events import (
    TaskEvent,
    bundle_summary,
    ending_of,
    endings_of_bundle,
)
from worker.delivery.event_delivery import Result, shown_kind
from worker.delivery.permits import Permits
from worker.delivery.processor import EventProcessor
from worker.delivery.worker_registry import BUNDLE
from worker.queue.message import Message, each_event

HANDLED_AT_ONCE = 500  # events of a batch


def process_batch(
    processor: EventProcessor, batch: Sequence[FetchedMessage]
) -> list[list[TaskEvent]]:
    """Process the events of a batch, and return the ends of each message for Flower.

    Raises:
        redis.RedisError: Redis did not answer. The events are not all safe.
    """
    now = processor.clock().timestamp()
    gate = processor.delivery.gate
    events = chain.from_iterable(each_event(each.message.with_timestamps(now)) for each in batch)
    # Bundles are unpacked a share at a time, so that thousands of events need little memory.
    shares = iter(lambda: list(islice(events, HANDLED_AT_ONCE)), [])
    charged = gate.rules.event_cost * sum(each.charged for each in batch)
    with Permits(gate, charged) as permits:
        ends = iter([end for share in shares for end in processor.process(share, permits)])
    return [
        _bundle_endings(processor, each.message, list(islice(ends, each.message.events)))
        if each.message.is_bundle
        else [ending_of(each.message.id, next(ends))]
        for each in batch
    ]


def _bundle_endings(
    processor: EventProcessor, bundle: Message, results: Sequence[Result]
) -> list[TaskEvent]:
    summary, kind = bundle_summary(results), shown_kind(bundle.kind)
    processor.worker_registry.note(bundle.id, f"{BUNDLE}{summary}", None, 0, kind)
    return endings_of_bundle(bundle, results, summary)
