"""The POST as a taskiq task: asyncio and aiohttp, a Redis stream with acknowledgements, retries.

Retries wait in a schedule, from which a `taskiq scheduler` beside the workers requeues them.
Without a schedule they come at once.
"""

import asyncio
import os
from collections.abc import Iterable
from typing import Any

import aiohttp
from taskiq import SmartRetryMiddleware, TaskiqEvents, TaskiqScheduler, TaskiqState
from taskiq_redis import ListRedisScheduleSource, RedisStreamBroker

from tests.bench.other_programs.posting import TIMEOUT_SECONDS, form_of, members_url

source = ListRedisScheduleSource(os.environ["REDIS_URL"])
retries = SmartRetryMiddleware(
    default_retry_label=True,
    default_retry_count=1_000_000,  # the default of 3 could lose events
    use_jitter=True,
    use_delay_exponent=True,
    schedule_source=source,
)
broker = RedisStreamBroker(os.environ["REDIS_URL"]).with_middlewares(retries)
scheduler = TaskiqScheduler(broker, [source])


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_session(state: TaskiqState) -> None:
    state.session = aiohttp.ClientSession(
        auth=aiohttp.BasicAuth("api", os.environ["MAILGUN_API_KEY"]),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        raise_for_status=True,
    )


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close_session(state: TaskiqState) -> None:
    await state.session.close()


@broker.task(task_name="deliver")
async def deliver(event: dict[str, Any]) -> None:
    async with broker.state.session.post(members_url(), data=form_of(event)) as answer:
        await answer.read()


def enqueue(events: Iterable[dict[str, Any]]) -> None:
    asyncio.run(_enqueue(events))


async def _enqueue(events: Iterable[dict[str, Any]]) -> None:
    await broker.startup()
    for event in events:
        await deliver.kiq(event)
    await broker.shutdown()
