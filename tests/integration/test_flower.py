"""What operators see in Flower: the dead-letter queue's depth, each event's end and why – and no personal data."""

import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, expect

from tests.browsers import visit
from tests.integration.bench import KEY, Bench, identified, until
from tests.integration.flowers import Flower, flower_of, flower_process
from tests.servers import free_port
from tests.workers import RunningWorker
from worker.mailgun.texts import shown

PERSON = "wendy.darling"
bundles = count(1)
# A folder for screenshots, such as docs.
SCREENSHOTS = os.environ.get("SCREENSHOTS")
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


@pytest.fixture
def ended_bundle(bench: Bench, flower: Flower) -> str:
    """Return a number for the ids of a bundle in which two were delivered, one waits, two died."""
    number = str(next(bundles))
    faults = bench.sandbox.control
    faults.add_fault("status", status=400, message="No good", address=address(f"dead-{number}"))
    faults.add_fault("status", status=503, address=address(f"waits-{number}"))
    names = (f"{name}-{number}" for name in ("one", "waits", "dead", "two"))
    bench.put_bundle(*map(of, names), 5, id=f"bundle-{number}")
    flower.task(f"bundle-{number}", "FAILURE")
    return number


def test_bundle_in_which_an_event_died_is_a_failure_with_its_counts(
    ended_bundle: str, flower: Flower
) -> None:
    bundle = f"bundle-{ended_bundle}"
    found = flower.info(bundle)
    assert (found["state"], found["name"], found["args"]) == (
        "FAILURE",
        "signal.deliver_many",
        "5 events",
    )
    counts = [
        "1 dead letter: malformed_event",
        "1 dead letter: rejected",
        "1 delayed",
        "2 delivered",
    ]
    assert sorted(found["result"].strip("'").split(", ")) == counts
    children = [f"{bundle}.4", f"m-dead-{ended_bundle}", f"m-waits-{ended_bundle}"]
    until(lambda: sorted(flower.info(bundle)["children"]) == children, "the rows of its events")


def test_event_of_a_bundle_that_waits_or_died_is_a_row_of_its_own(
    ended_bundle: str, flower: Flower
) -> None:
    dead = flower.task(f"m-dead-{ended_bundle}", "FAILURE")
    waits = flower.task(f"m-waits-{ended_bundle}", "RETRY")
    assert (dead["name"], dead["args"]) == ("signal.deliver", "identify")
    assert dead["result"] == f"'rejected (400): {shown('No good')}'"
    assert (waits["name"], waits["args"]) == ("signal.deliver", "identify")
    assert waits["result"].startswith("'unavailable (503): ")
    assert waits["eta"][:10] in waits["result"]
    assert {dead["parent_id"], waits["parent_id"]} == {f"bundle-{ended_bundle}"}
    assert f"m-one-{ended_bundle}" not in flower.tasks()
    page = flower.page(f"/task/m-dead-{ended_bundle}")
    assert "rejected (400)" in page
    assert f"/task/bundle-{ended_bundle}" in page
    assert f"/task/m-dead-{ended_bundle}" in flower.page(f"/task/bundle-{ended_bundle}")


@pytest.mark.parametrize(
    ("search", "id"),
    [
        ("result:rejected", "m-dead-{}"),
        ("result:unavailable", "m-waits-{}"),
        ('result:"next try" args:identify', "m-waits-{}"),
        ("state:FAILURE result:malformed_event args:event", "bundle-{}.4"),
        ('result:"2 delivered"', "bundle-{}"),
    ],
)
def test_search_of_tasks_finds_reason_next_try_and_kind(
    ended_bundle: str, flower: Flower, search: str, id: str
) -> None:
    def ids() -> Any:
        return requests.get(f"{flower.url}/api/tasks", params={"search": search}, timeout=30).json()

    until(lambda: id.format(ended_bundle) in ids(), "the row")


def test_event_of_a_bundle_keeps_its_row_when_it_is_tried_again(
    bench: Bench, flower: Flower
) -> None:
    bench.sandbox.control.add_fault("status", status=503, count=1, address=address("b-again"))
    bench.put_bundle(of("b-again"), of("b-fine"), id="bundle-2")
    found = flower.task("m-b-again", "SUCCESS")
    assert (found["retries"], found["result"], found["exception"]) == (1, "'delivered'", None)
    assert (found["parent_id"], found["eta"]) == ("bundle-2", None)
    assert flower.info("bundle-2")["state"] == "RETRY"


def test_tasks_table_has_kind_reason_and_next_try_as_columns(flower: Flower) -> None:
    headings = re.findall(r'<th data-column="(\w+)">([^<]+)</th>', flower.page("/tasks"))
    assert headings[:6] == [
        ("uuid", "Event or bundle"),
        ("args", "Kind"),
        ("state", "State"),
        ("result", "Result, or reason"),
        ("eta", "Next try"),
        ("retries", "Retries"),
    ]


def test_tasks_tab_finds_the_event_of_a_bundle_by_its_reason(
    ended_bundle: str, flower: Flower, browser: Browser
) -> None:
    with visit(browser, flower.url, user=None) as page:
        page.goto("/tasks")
        expect(page.locator("#tasks-table tbody tr").first).to_be_visible()
        if SCREENSHOTS:
            page.screenshot(path=Path(SCREENSHOTS) / "flower-tasks-light-1280.png")
        page.get_by_role("searchbox").fill("result:rejected state:FAILURE args:identify")
        row = page.locator("#tasks-table tbody tr", has_text=f"m-dead-{ended_bundle}")
        expect(row).to_contain_text("rejected (400)")
        expect(page.locator("#tasks-table tbody tr", has_text="signal.deliver_many")).to_have_count(
            0
        )
        row.get_by_role("link").first.click()
        expect(page.locator("#task-page")).to_contain_text("rejected (400)")
        page.get_by_role("link", name=f"bundle-{ended_bundle}").first.click()
        expect(page.locator("#task-page")).to_contain_text("2 delivered")


def test_columns_that_the_operator_sets_outrank_this_programs(bench: Bench) -> None:
    port = free_port()
    environment = bench.environment(FLOWER_TASKS_COLUMNS="uuid,worker")
    with flower_process(port, bench.folder / f"flower-{port}.log", **environment) as url:
        page = requests.get(f"{url}/tasks", timeout=30).text
    assert re.findall(r'data-column="(\w+)"', page) == ["uuid", "worker"]


def test_page_of_a_task_without_a_row_says_what_to_do(flower: Flower) -> None:
    answer = requests.get(f"{flower.url}/task/never-heard-of", timeout=30)
    assert answer.status_code == 404
    assert "signal-mailgun explain never-heard-of" in answer.text


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
