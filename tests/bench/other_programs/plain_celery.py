"""The POST as a plain Celery task: late acknowledgement, retries with backoff, threads."""

import os
import sys
from collections.abc import Iterable
from typing import Any

import requests
from celery import Celery, signals

from tests.bench.other_programs.posting import post

app = Celery("plain", broker=os.environ["REDIS_URL"])
app.conf.task_ignore_result = True


@app.task(
    name="deliver",
    acks_late=True,
    autoretry_for=(requests.RequestException,),
    retry_backoff=True,
    max_retries=None,  # the default of 3 could lose events
)
def deliver(event: dict[str, Any]) -> None:
    post(event)


def enqueue(events: Iterable[dict[str, Any]]) -> None:
    for event in events:
        deliver.delay(event)


@signals.worker_ready.connect
def _say_so(**_: Any) -> None:
    sys.stdout.write("worker ready.\n")
    sys.stdout.flush()
