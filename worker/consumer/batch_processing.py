"""Processing of one batch of messages: bundles are unpacked, and each message gets one end."""

from collections.abc import Sequence
from itertools import chain, islice

from worker.consumer.fetched_message import FetchedMessage
from worker.consumer.task_events import bundle_summary
from worker.delivery.event_delivery import Result, shown_kind
from worker.delivery.permits import Permits
from worker.delivery.processor import EventProcessor
from worker.delivery.worker_registry import BUNDLE
from worker.queue.message import each_event

HANDLED_AT_ONCE = 500  # events of a batch


def process_batch(processor: EventProcessor, batch: Sequence[FetchedMessage]) -> list[list[Result]]:
    """Process the events of a batch, and return for each message the results of its events.

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
    results = [list(islice(ends, each.message.events)) for each in batch]
    for each, its_results in zip(batch, results, strict=True):
        if len(its_results) != each.message.events:
            raise RuntimeError("an event of a message has no result")
        if each.message.is_bundle:
            label, kind = f"{BUNDLE}{bundle_summary(its_results)}", shown_kind(each.message.kind)
            processor.worker_registry.note(each.message.id, label, None, 0, kind)
    return results
