"""The example for Node.js really enqueues: its event becomes a member."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.bench import Bench
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer, eventually
from tests.workers import RunningWorker
from worker.queue.intake import parse_raw
from worker.queue.message import DELIVER_MANY

EXAMPLE = Path(__file__).parents[2] / "examples" / "enqueue.mjs"
EVENT = {
    "type": "identify",
    "messageId": "node-1",
    "traits": {"email": "Nöel@Example.com", "name": "Noël"},
}

node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


@node
def test_an_event_that_node_enqueues_becomes_a_member(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis").start()
    try:
        with RunningSandbox() as sandbox:
            environment = {
                "REDIS_URL": server.url,
                "MAILGUN_API_KEY": "sandbox-key",
                "MAILGUN_API_BASE_URL": sandbox.base_url,
                "MAILGUN_ALLOW_CUSTOM_HOST": "true",
                "MAILGUN_LIST_ADDRESS": "newsletter@mg.example.com",
            }
            with RunningWorker(environment, tmp_path / "worker.log") as worker:
                said = subprocess.run(
                    ["node", EXAMPLE, server.url],
                    input=json.dumps(EVENT),
                    capture_output=True,
                    text=True,
                    timeout=30,
                )
                assert (said.returncode, said.stdout) == (0, "enqueued on mailgun.default\n")
                eventually(sandbox.control.members, what="the member")
                assert sandbox.control.members()["nöel@example.com"].name == "Noël"
                eventually(lambda: "node-1" in worker.printed(), what="the line of the attempt")
    finally:
        server.stop()


@node
def test_array_enqueued_by_node_is_sent_in_readable_bundles(own: Bench) -> None:
    events = [{**EVENT, "messageId": f"node-{number}"} for number in range(250)]
    said = subprocess.run(
        ["node", EXAMPLE, own.server.url, own.queue],
        input=json.dumps(events),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (said.returncode, said.stdout) == (0, f"enqueued on {own.queue}\n")
    assert own.queued() == 3
    assert [(each.id, each.args, each.kind) for each in own.queued_events()] == [
        (f"node-{number}", (event,), "identify") for number, event in enumerate(events)
    ]
    headers = [json.loads(raw)["headers"] for raw in own.redis.lrange(own.queue, 0, -1)]
    assert [each["argsrepr"] for each in headers] == ["50 events", "100 events", "100 events"]
    assert all(
        parse_raw(raw, str).task == DELIVER_MANY for raw in own.redis.lrange(own.queue, 0, -1)
    )


@node
def test_an_unreachable_redis_is_one_line(tmp_path: Path) -> None:
    said = subprocess.run(
        ["node", EXAMPLE, "redis://127.0.0.1:1/0"],
        input=json.dumps(EVENT),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert said.returncode == 1
    assert said.stderr.startswith("not enqueued: ")
    assert said.stderr.count("\n") == 1
