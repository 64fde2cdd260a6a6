"""State of this worker: whether it fetches events, and whether it was told to stop."""

from typing import Any

from celery.worker import state as worker_state


def takes_events(consumer: Any, queue: str) -> bool:
    """Return True if this Celery consumer fetches messages from `queue`."""
    return bool(consumer.task_consumer and consumer.task_consumer.consuming_from(queue))


def is_stopping() -> bool:
    """Return True if this worker was told to stop."""
    return any(
        each is not None and each is not False
        for each in (worker_state.should_stop, worker_state.should_terminate)
    )
