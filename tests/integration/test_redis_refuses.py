"""Redis answers, but refuses: no memory is left, or it has become a read-only replica. Workers live on, and nothing is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.bench import Bench, identified
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer, eventually


@pytest.fixture
def alone(tmp_path: Path, running_sandbox: RunningSandbox) -> Iterator[Bench]:
    """A bench whose server no other test uses."""
    server = RedisServer(tmp_path / "redis").start()
    running_sandbox.control.reset()
    bench = Bench(server, running_sandbox, tmp_path)
    yield bench
    bench.end_workers()
    server.stop()


def test_queue_that_fills_redis_memory_can_still_be_delivered(alone: Bench) -> None:
    with alone.working() as worker:
        alone.run("pause")
        alone.put(*(identified(f"p{number}@example.com") for number in range(60)))
        alone.redis.config_set("maxmemory", 1)
        assert alone.run("resume").status == 0
        eventually(lambda: alone.delivered() == 60, 120, "every member")
        alone.ended()
        assert worker.process.poll() is None


def test_a_worker_outlives_a_server_that_is_read_only_for_a_while(alone: Bench) -> None:
    with alone.working() as worker:
        alone.put(identified("before@example.com"))
        alone.member("before@example.com")
        alone.redis.replicaof("127.0.0.1", "1")
        eventually(lambda: "read only replica" in worker.printed(), 120, "a refusal")
        alone.redis.replicaof("no", "one")
        alone.put(*(identified(f"after{number}@example.com") for number in range(20)))
        eventually(lambda: alone.delivered() == 21, 120, "every member")
        alone.ended()
        assert worker.process.poll() is None
