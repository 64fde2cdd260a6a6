"""Which event wins where no fault shows it: ties, messages without times, members deleted at Mailgun.

Each in every mode of delivery with `make chaos`; `make test` runs one mode in brief.
"""

import base64
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.chaos.deployment import KEY, READ_LAG_SECONDS, Deployment
from tests.chaos.modes import MODES, SINGLE, VOLUME, Mode
from tests.chaos.test_chaos import FULL, MODE
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer, eventually
from worker.queue.producer import EventQueue, SerializedEvent, message_for
from worker.sandbox.stored_member import StoredMember
from worker.signal.json_value import event_text

LIST = "newsletter@mg.example.com"
PEOPLE = 400 if FULL else 40
Event = dict[str, Any]
Put = Callable[[Deployment, Sequence[Event]], None]


class NoProducer:
    """Stands for a producer where the test itself puts events."""

    share = 1.0

    def stop(self) -> None:
        """There is nothing to stop."""


def modes(brief: Mode) -> list[Mode]:
    """The modes of delivery to go through now."""
    if MODE:
        return [MODES[MODE]] if FULL or brief.name == MODE else []
    return list(MODES.values()) if FULL else [brief]


def each_mode(brief: Mode) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "mode", [pytest.param(each, id=each.name) for each in modes(brief)]
    )


@pytest.fixture
def deployment(
    mode: Mode,
    server: RedisServer,
    sandbox: RunningSandbox,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Deployment]:
    number = abs(hash(request.node.name)) % 10**6
    made = Deployment(server, sandbox, tmp_path, f"order-{mode.name}-{number}", mode)
    made.producer = NoProducer()  # type: ignore[assignment]
    yield made
    made.close()


def address(number: int) -> str:
    return f"p{number}@example.com"


def identified(
    number: int, *, at: float | None = None, consent: bool | None = None, **traits: Any
) -> Event:
    event: Event = {"type": "identify", "traits": {"email": address(number), **traits}}
    if at is not None:
        event["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    if consent is not None:
        event["context"] = {"consent": {"canonical": {"marketing": consent}}}
    return event


def put(deployment: Deployment, events: Sequence[Event]) -> None:
    """Put events as the mode of delivery says."""
    queue = EventQueue(deployment.redis, deployment.queue)
    if deployment.mode.name == "volume":
        queue.put_many([SerializedEvent(event_text(each), time.time()) for each in events])
    else:
        queue.put([message_for(each) for each in events])


def put_bare(deployment: Deployment, events: Sequence[Event]) -> None:
    """Put events as a client does that knows nothing of this program: messages without any time."""
    for start in range(0, len(events), 50):
        deployment.redis.lpush(
            deployment.queue, *(bare(each) for each in events[start : start + 50])
        )


def bare(event: Event) -> str:
    body = base64.b64encode(json.dumps([[event], {}, {}]).encode()).decode()
    headers = {"task": "signal.deliver", "id": event["messageId"]}
    properties = {"body_encoding": "base64", "delivery_tag": event["messageId"]}
    return json.dumps(
        {
            "body": body,
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
    )


def ended(deployment: Deployment) -> dict[str, StoredMember]:
    """The members once everything has ended."""
    deployment.drain()
    deployment.settle()
    return deployment.control.members()


def wrong(found: dict[str, StoredMember], expected: Callable[[StoredMember], bool]) -> list[str]:
    people = [address(each) for each in range(PEOPLE)]
    return [each for each in people if each not in found or not expected(found[each])]


def report(lines: list[str], what: str, mode: Mode, count: int) -> None:
    lines.append(f"{what}, {mode.name}: {count} of {PEOPLE} wrong")


with_and_without_a_kill = pytest.mark.parametrize("killed", [False, True] if FULL else [False])


def put_in_steps(
    deployment: Deployment, put: Put, steps: Sequence[Sequence[Event]], *, killed: bool
) -> None:
    """Put all events; with `killed`, what workers have of the first step comes back when the rest has been delivered."""
    deployment.control.latency(60)
    deployment.further = {"VISIBILITY_TIMEOUT_SECONDS": "25"} if killed else {}
    deployment.start_workers(3 if FULL else 2)
    if killed:
        put(deployment, steps[0])
        deployment.until(
            lambda: len(deployment.in_flight_ids()) >= min(deployment.threads, 100),
            "events in flight",
        )
        deployment.kill(*deployment.workers)
        assert deployment.in_flight_ids()
        deployment.start_workers(3)
        steps = steps[1:]
    put(deployment, [each for of_one in zip(*steps, strict=True) for each in of_one])


def named(what: str, *, killed: bool) -> str:
    return f"{what}, all workers killed" if killed else what


@with_and_without_a_kill
@each_mode(VOLUME)
def test_grant_and_denial_of_one_time_end_as_the_later_enqueued(
    mode: Mode,
    deployment: Deployment,
    lines: list[str],
    killed: bool,  # noqa: FBT001
) -> None:
    at = time.time() - 60
    granted, denied = (
        [
            identified(n, at=at, consent=consent, plan=plan) | {"messageId": f"{plan}{n}"}
            for n in range(PEOPLE)
        ]
        for consent, plan in ((True, "first"), (False, "second"))
    )
    put_in_steps(deployment, put, [granted, denied], killed=killed)
    found = wrong(
        ended(deployment), lambda member: not member.subscribed and member.vars["plan"] == "second"
    )
    report(lines, named("granted and denied at one time", killed=killed), mode, len(found))
    assert found == []


@with_and_without_a_kill
@each_mode(SINGLE)
def test_messages_without_times_count_in_the_order_of_the_queue(
    mode: Mode,
    deployment: Deployment,
    lines: list[str],
    killed: bool,  # noqa: FBT001
) -> None:
    steps = [[bare_event(n, step) for n in range(PEOPLE)] for step in range(3)]
    put_in_steps(deployment, put_bare, steps, killed=killed)
    found = wrong(ended(deployment), lambda member: member.vars["plan"] == "step 2")
    report(lines, named("bare messages", killed=killed), mode, len(found))
    assert found == []


def bare_event(number: int, step: int) -> Event:
    return identified(number, plan=f"step {step}") | {"messageId": f"m{number}-{step}"}


@each_mode(SINGLE)
def test_deleted_member_comes_back_with_later_events_alone(
    mode: Mode, deployment: Deployment, lines: list[str]
) -> None:
    lag = READ_LAG_SECONDS if FULL else 2.0
    deployment.further = {"MAILGUN_READ_LAG_SECONDS": str(lag)}
    deployment.start_workers(2)
    put(
        deployment,
        [identified(n, plan="old", company="Acme", consent=n % 2 == 0) for n in range(PEOPLE)],
    )
    assert len(ended(deployment)) == PEOPLE
    time.sleep(lag + 1)  # what was written must not be able to lag any more
    for number in range(PEOPLE):
        url = f"{deployment.sandbox.base_url}/v3/lists/{LIST}/members/{address(number)}"
        requests.delete(url, auth=("api", KEY), timeout=30).raise_for_status()
    deployment.run("sync")
    put(
        deployment,
        [
            {"type": "page", "properties": {"url": "/new"}, "traits": {"email": address(n)}}
            for n in range(PEOPLE)
        ],
    )
    eventually(lambda: len(deployment.control.members()) == PEOPLE, 60, "all members anew")
    found = wrong(ended(deployment), _is_new)
    report(lines, "deleted, then a page event", mode, len(found))
    assert found == []


def _is_new(member: StoredMember) -> bool:
    number = int(member.address[1 : member.address.index("@")])
    return (member.vars, member.subscribed) == ({"last_page_url": "/new"}, number % 2 == 0)
