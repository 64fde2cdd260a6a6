"""The POST as a dramatiq actor: threads, its Redis broker, its own retries with backoff."""

import os
from collections.abc import Iterable
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.bench.other_programs.posting import post

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))


@dramatiq.actor(max_retries=None)  # the default of 20 could lose events
def deliver(event: dict[str, Any]) -> None:
    post(event)


def enqueue(events: Iterable[dict[str, Any]]) -> None:
    for event in events:
        deliver.send(event)
