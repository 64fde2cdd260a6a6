"""Events as each competitor's own producer leaves them on Redis, made before any clock runs.

The benchmark measures a competitor's workers. So its producer first puts the events on a separate
database, in its own format. They are read from there, and while the clock runs the same commands go
to the workers' database.
"""

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import redis

from tests.bench.competitors import OTHER_PROGRAMS, QUEUE, Competitor
from tests.bench.environment import Environment
from tests.integration.bench import clean_environment
from tests.sandboxes import PROJECT
from worker.queue.producer import BulkEnqueuer, EventQueue, message_for
from worker.signal.json_value import event_text

Value = TypeVar("Value")
Event = dict[str, Any]
Command = tuple[Any, ...]

AT_ONCE = 500
STAGED_WITHIN_SECONDS = 300


@dataclass(frozen=True)
class Load:
    """Events that are put on the queue together.

    Attributes:
        commands: The commands for Redis; without a queue, each a line for stdin.
        events: The number of events.
    """

    commands: tuple[Command, ...]
    events: int = 1


def staged(
    environment: Environment,
    competitor: Competitor,
    sent: Sequence[Event],
    together: Mapping[range, int],
) -> dict[range, list[Load]]:
    """Return the events of each range of numbers, as the competitor's producer enqueues them.

    Args:
        environment: The environment.
        competitor: The competitor.
        sent: All events, by number.
        together: For each range, the number of events that a producer of bundles gets at once.
            Other producers ignore it.
    """
    if competitor.producer == "many":
        return {
            part: [
                _many(environment, some)
                for some in chunks(sent[part.start : part.stop], together[part])
            ]
            for part in together
        }
    one_by_one = _staged(environment, competitor.producer, sent)
    return {part: one_by_one[part.start : part.stop] for part in together}


def chunks(values: Sequence[Value], size: int) -> Iterator[Sequence[Value]]:
    """Yield the values, `size` at a time."""
    for first in range(0, len(values), size):
        yield values[first : first + size]


def queue_list(stage: "redis.Redis") -> Iterator[Load]:
    """Yield the messages on this program's queue: a list, the oldest message last."""
    return _list(stage, QUEUE)


def celery_list(stage: "redis.Redis") -> Iterator[Load]:
    """Yield the messages on Celery's default queue: a list, the oldest message last."""
    return _list(stage, "celery")


def dramatiq_queue(stage: "redis.Redis") -> Iterator[Load]:
    """Yield dramatiq's queue: a list of ids, the oldest first, and a hash of messages."""
    key = "dramatiq:default"
    messages = cast("dict[bytes, bytes]", stage.hgetall(f"{key}.msgs"))
    for each in cast("list[bytes]", stage.lrange(key, 0, -1)):
        yield Load((("HSET", f"{key}.msgs", each, messages[each]), ("RPUSH", key, each)))


def taskiq_stream(stage: "redis.Redis") -> Iterator[Load]:
    """Yield taskiq's queue: a stream."""
    for _, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", stage.xrange("taskiq")):
        yield Load((("XADD", "taskiq", "*", *(part for pair in fields.items() for part in pair)),))


Layout = Callable[["redis.Redis"], Iterable[Load]]
LAYOUTS: dict[str, Layout] = {
    "plain_celery": celery_list,
    "on_dramatiq": dramatiq_queue,
    "on_taskiq": taskiq_stream,
}


def _list(stage: "redis.Redis", key: str) -> Iterator[Load]:
    for message in reversed(cast("list[bytes]", stage.lrange(key, 0, -1))):
        yield Load((("LPUSH", key, message),))


def _staged(environment: Environment, producer: str, sent: Sequence[Event]) -> list[Load]:
    match producer:
        case "none":
            return [Load(((json.dumps(each).encode() + b"\n",),)) for each in sent]
        case "one":
            return _on_stage(environment, lambda stage: _put_one_by_one(stage, sent), queue_list)
        case module:
            return _on_stage(
                environment, lambda _: _put_by(module, environment, sent), LAYOUTS[module]
            )


def _on_stage(
    environment: Environment, put: Callable[["redis.Redis"], object], layout: Layout
) -> list[Load]:
    # Tens of thousands of messages are read by one command, on a machine that stages other rows.
    with redis.Redis.from_url(environment.stage_url, socket_timeout=STAGED_WITHIN_SECONDS) as stage:
        stage.flushdb()
        put(stage)
        loads = list(layout(stage))
        stage.flushdb()
    return loads


def _put_one_by_one(stage: "redis.Redis", sent: Sequence[Event]) -> None:
    queue = EventQueue(stage, QUEUE)
    for some in chunks(sent, AT_ONCE):
        queue.put([message_for(each) for each in some])


def _put_bundles(stage: "redis.Redis", sent: Sequence[Event]) -> None:
    # As `enqueue_many`, whose queue is one for the whole process.
    with BulkEnqueuer(EventQueue(stage, QUEUE)) as bulk:
        for each in sent:
            bulk.add(event_text(each))


def _many(environment: Environment, sent: Sequence[Event]) -> Load:
    loads = _on_stage(environment, lambda stage: _put_bundles(stage, sent), queue_list)
    return Load(tuple(command for load in loads for command in load.commands), len(sent))


def _put_by(module: str, environment: Environment, sent: Sequence[Event]) -> None:
    subprocess.run(
        [environment.bench_python, "-m", OTHER_PROGRAMS, module],
        input="\n".join(map(json.dumps, sent)),
        env=clean_environment(**{**environment.settings(), "REDIS_URL": environment.stage_url}),
        cwd=PROJECT,
        text=True,
        timeout=STAGED_WITHIN_SECONDS,
        check=True,
    )
