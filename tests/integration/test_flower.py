"""What operators see in Flower: the dead-letter queue's depth, each event's end and why – and no personal data."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.integration.bench import KEY, Bench, identified, until
from tests.integration.flowers import Flower, flower_of
from tests.workers import RunningWorker
from worker.mailgun.texts import shown

PERSON = "wendy.darling"
PERSONAL = (PERSON, "bloomsbury", "Moira", "thimble", KEY)


def of(name: str, **fields: Any) -> dict[str, Any]:
    """That person's event, with values that may not be shown."""
    traits = {"name": f"{name} Moira", "company": "thimble"}
    return {
        **identified(f"{PERSON}+{name}@bloomsbury.example", **traits),
        "messageId": f"m-{name}",
        **fields,
    }


def address(name: str) -> str:
    return str(of(name)["traits"]["email"])


@pytest.fixture(scope="module")
def flower(the_bench: Bench, worker: RunningWorker) -> Iterator[Flower]:
    with flower_of(the_bench) as running:
        yield running


def test_a_delivered_event_is_a_success_under_its_own_id(bench: Bench, flower: Flower) -> None:
    bench.put(of("one"))
    found = flower.task("m-one", "SUCCESS")
    assert (found["name"], found["args"], found["kwargs"]) == ("signal.deliver", "identify", "{}")
    assert "delivered" in found["result"]


def test_skipped_event_is_a_success_with_its_reason(bench: Bench, flower: Flower) -> None:
    bench.put({"type": "page", "messageId": "m-nobody"})
    assert "skipped: no_email" in flower.task("m-nobody", "SUCCESS")["result"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "rejected"), (401, "unauthorized"), (404, "list_not_found"), (418, "unexpected_status")],
)
def test_dead_letter_is_a_failure_with_its_reason(
    bench: Bench, flower: Flower, status: int, reason: str
) -> None:
    bench.sandbox.control.add_fault(
        "status", status=status, message="No good", address=address(f"dead{status}")
    )
    bench.put(of(f"dead{status}"))
    found = flower.task(f"m-dead{status}", "FAILURE")
    assert found["exception"] == f"DeadLettered('{reason} ({status}): {shown('No good')}')"


def test_delayed_event_is_a_retry_with_reason_and_due_time(bench: Bench, flower: Flower) -> None:
    bench.sandbox.control.add_fault(
        "status",
        status=429,
        hint="retry_after_seconds",
        wait_seconds=600,
        address=address("delayed"),
    )
    bench.put(of("delayed"))
    found = flower.task("m-delayed", "RETRY")
    assert "429" in found["exception"]
    assert "next try" in found["exception"]
    assert "UTC" in found["exception"]


def test_retried_event_stays_in_the_same_row(bench: Bench, flower: Flower) -> None:
    bench.sandbox.control.add_fault("status", status=503, count=2, address=address("again"))
    bench.put(of("again"))
    found = flower.task("m-again", "SUCCESS")
    assert found["retries"] == 2


def test_the_broker_page_shows_how_many_dead_letters_there_are(
    bench: Bench, flower: Flower
) -> None:
    for number in range(3):
        bench.sandbox.control.add_fault("status", status=400, address=address(f"d{number}"))
    bench.put(*(of(f"d{number}") for number in range(3)))
    until(lambda: bench.dead_letters.count() == 3, "three dead letters")
    until(
        lambda: flower.knows_queue("mailgun.default.dead_letter"), "the dead-letter queue in Flower"
    )
    page = " ".join(flower.page("/broker").split())
    row = page.partition("mailgun.default.dead_letter")[2].partition("</tr>")[0]
    assert ">3</td>" in row
    depths = requests.get(f"{flower.url}/api/queues/length", timeout=30).json()["active_queues"]
    assert {"name": "mailgun.default.dead_letter", "messages": 3} in depths
    assert {"name": "mailgun.default", "messages": 0} in depths


def test_flower_shows_no_personal_data_and_no_key(
    bench: Bench, flower: Flower, worker: RunningWorker
) -> None:
    faults: dict[str, dict[str, Any]] = {
        "quoted": {
            "kind": "status",
            "status": 400,
            "message": f"'{address('quoted')}' is no address",
        },
        "named": {
            "kind": "status",
            "status": 404,
            "message": f"Mailing list for {address('named')} not found",
        },
        "late": {
            "kind": "status",
            "status": 503,
            "count": 1,
            "message": f"{address('late')} later",
        },
        "waiting": {
            "kind": "status",
            "status": 429,
            "count": 1,
            "message": f"{address('waiting')}",
        },
        "strange": {"kind": "other_member", "count": 1, "other_address": address("somebody-else")},
    }
    for name, fault in faults.items():
        bench.sandbox.control.add_fault(address=address(name), **fault)
    names = ["plain", *faults]
    bench.put(
        *(of(name) for name in names),
        of("shaped", traits={"email": f"{address('a')} {address('b')}"}),
    )
    bench.put_raw(f"{address('raw')} thimble", '{"a": "thimble"}')
    bench.ended()
    ids = [f"m-{name}" for name in (*names, "shaped")]
    until(
        lambda: all(
            flower.tasks().get(each, {}).get("state") in {"SUCCESS", "FAILURE"} for each in ids
        ),
        "all in Flower",
    )
    paths = ["/api/tasks", "/api/workers?refresh=1", "/tasks", "/workers", "/broker", "/"]
    paths += [
        f"/worker/{name}" for name in requests.get(f"{flower.url}/api/workers", timeout=30).json()
    ]
    shown = {
        path: flower.page(path) for path in [*paths, *(f"/task/{each}" for each in flower.tasks())]
    }
    assert "task_acks_late" in shown["/api/workers?refresh=1"]
    assert len(shown) > len(paths) + len(names)
    assert [
        (path, text)
        for path, page in shown.items()
        for text in PERSONAL
        if text.lower() in page.lower()
    ] == []
    assert [text for text in PERSONAL if text.lower() in worker.printed().lower()] == []
