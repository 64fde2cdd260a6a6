"""Messages made to fill a worker's memory, or to end it: the worker lives within 512 MB, and nothing is lost."""

import base64
import bz2
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.bench import IMPATIENT, Bench, identified, until
from tests.workers import RunningWorker
from worker.queue.message import DELIVER_MANY, TASK

MEBIBYTE = 1 << 20
MOST = 512 * MEBIBYTE  # what docker-compose.yml gives a worker
# Threads reserve far more addresses than they use, so the limit of the kernel is wider than what is measured.
LIMITED = (
    "-u",  # So it is not preloaded: the modules of the tests would count as its memory.
    "-c",
    f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, ({4 * MOST}, {4 * MOST})); "
    "sys.argv = ['worker', 'worker']; runpy.run_module('worker', run_name='__main__')",
)


def packed(
    body: str, id: str, *, task: str = TASK, compression: str = "", data: bytes | None = None
) -> str:
    """A message with this body, in base64."""
    content = base64.b64encode(body.encode() if data is None else data).decode()
    headers = {"task": task, "id": id, **({"compression": compression} if compression else {})}
    properties = {"body_encoding": "base64", "correlation_id": id}
    known = {"content-type": "application/json", "content-encoding": "utf-8"}
    return json.dumps({"body": content, **known, "headers": headers, "properties": properties})


def event_of(count: int, part: str = "{}") -> str:
    """The body of an event that holds so many small values."""
    values = ",".join([part] * count)
    return (
        f'[[{{"type":"identify","traits":{{"email":"big@example.com","x":[{values}]}}}}],{{}},{{}}]'
    )


def bundle_of(count: int, part: str = "{}") -> str:
    return f"[[[{','.join([part] * count)}]],{{}},{{}}]"


def plain(count: int, id: str, part: str = '{"":{"":{}}}') -> str:
    """A message whose body is JSON without base64: the most objects a byte."""
    body = event_of(count, part)
    return f'{{"body":{body},"headers":{{"task":"{TASK}","id":"{id}"}},"properties":{{"correlation_id":"{id}"}}}}'


def peak(worker: RunningWorker) -> int:
    """The most memory that the worker has ever had, in bytes."""
    [line] = [
        each
        for each in Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
        if "VmHWM" in each
    ]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_message_takes_a_worker_beyond_its_memory(own: Bench) -> None:
    names = [f"good{each}" for each in range(20)]
    hostile = {
        "27 MB of small objects": (packed(event_of(7_000_000), "h-1"), "too_large"),
        "two million events": (packed(bundle_of(2_000_000), "h-2", task=DELIVER_MANY), "too_large"),
        "a bundle of 900,000 events": (
            packed(bundle_of(900_000), "h-3", task=DELIVER_MANY),
            "too_many_events",
        ),
        "30 MB in gzip": (
            packed(
                "", "h-4", compression="gzip", data=gzip.compress(event_of(10_000_000).encode())
            ),
            "too_large",
        ),
        "30 MB in bzip2": (
            packed(
                "", "h-5", compression="bzip2", data=bz2.compress(event_of(10_000_000).encode())
            ),
            "too_large",
        ),
    }
    # 4 MB each, and 36 times that once read; all of them together are more than the worker has.
    within: list[str] = [plain(320_000, f"w-{each}") for each in range(2)]
    within += [packed(event_of(1_000_000), f"v-{each}") for each in range(2)]
    squeezed = gzip.compress(event_of(1_300_000).encode())  # some kilobytes, and 4 MB to read
    within += [packed("", f"z-{each}", compression="gzip", data=squeezed) for each in range(3)]
    many = packed(bundle_of(9_000), "b", task=DELIVER_MANY)
    for raw, _ in hostile.values():
        own.redis.lpush(own.queue, raw)
    own.redis.lpush(own.queue, *within, many)
    own.put(*(identified(f"{each}@example.com") for each in names))
    with own.working(*LIMITED) as worker:
        until(
            lambda: {f"{each}@example.com" for each in names} <= own.members().keys(),
            "the good",
            170,
        )
        until(lambda: own.queued() == own.unacknowledged() == 0, "all", 60)
        most = peak(worker)
        assert worker.process.poll() is None
    assert most < MOST
    totals = own.dead_letters.totals()
    assert totals == {"too_large": 4, "too_many_events": 1, "malformed_event": 9_000}


def test_long_names_of_events_are_not_remembered(own: Bench) -> None:
    def named(number: int) -> dict[str, Any]:
        name = f"{number:04d}" + "x" * 400_000
        return {
            **identified("jane@example.com"),
            "type": "track",
            "event": name,
            "messageId": f"long-{number}",
        }

    with own.working(*LIMITED) as worker:
        own.put(identified("first@example.com"))
        until(lambda: "first@example.com" in own.members(), "the first")
        before = peak(worker)
        for start in range(0, 160, 20):
            own.put(*map(named, range(start, start + 20)))
            until(lambda: own.queued() < 40, "room")
        until(lambda: own.queued() == own.unacknowledged() == 0, "all", 120)
        grown = peak(worker) - before
    # Remembered, with what they are compared by, they would be 120 and more.
    assert grown < 80 * MEBIBYTE


def test_event_that_kills_each_worker_is_buried_and_others_are_delivered(own: Bench) -> None:
    own.sandbox.control.add_fault("hang", seconds=600, address="killer@example.com")
    quick = {**IMPATIENT, "MAILGUN_READ_TIMEOUT_SECONDS": "1.2", "VISIBILITY_TIMEOUT_SECONDS": "9"}
    quick |= {"MESSAGE_MAX_RETURNS": "3"}
    good = {f"good{each}@example.com" for each in range(5)}
    own.put(
        {**identified("killer@example.com"), "messageId": "killer"}, *map(identified, sorted(good))
    )

    def tried() -> bool:
        """The worker asks Mailgun for that member, or has found that it must not."""
        return own.dead_letters.count() > 0 or len(own.requests("killer@example.com")) > asked

    for _ in range(3):
        asked = len(own.requests("killer@example.com"))
        with own.working(**quick):  # it is killed as soon as it has asked, as the kernel would
            until(tried, "the event tried", 60)
    with own.working(**quick) as worker:
        until(lambda: own.dead_letters.totals() == {"poison_message": 1}, "put aside", 60)
        until(lambda: good <= own.members().keys(), "the others", 60)
        until(lambda: "was put aside unread" in worker.printed(), "a word")
        assert "killer@example.com" not in worker.printed()
    [buried] = own.letters()
    assert buried.message.id == "killer"
    listed, exported = own.run("dead-letters", "list"), own.run("dead-letters", "export")
    assert "poison_message" in listed.out
    assert json.loads(exported.out)["traits"]["email"] == "killer@example.com"
    assert own.run("dead-letters", "replay", "--yes").status == 0
    assert own.queued() == 1
