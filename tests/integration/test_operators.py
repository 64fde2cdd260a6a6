"""What operators ask and do: status, explain, forget, replay by filter, purge, export – against real parts."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.integration.bench import Bench, identified
from tests.servers import eventually
from worker.mailgun.texts import shown


def bury_events_of(bench: Bench, *names: str, status: int = 400) -> None:
    """Make one dead letter for each of these members."""
    for name in names:
        bench.sandbox.control.add_fault("status", status=status, address=f"{name}@example.com")
    bench.put(
        *({**identified(f"{name}@example.com", plan="pro"), "messageId": name} for name in names)
    )
    eventually(lambda: bench.dead_letters.count() == len(names), what="dead letters")
    bench.ended()
    bench.sandbox.control.clear_faults()


def asked(bench: Bench, *arguments: str) -> Any:
    """What a command prints as JSON."""
    printed = bench.run(*arguments)
    assert printed.status == 0, printed.everything
    return json.loads(printed.out)


def send_replay_task(bench: Bench, **filters: Any) -> None:
    """Start the replay task, as any Celery client can (Flower is one)."""
    Celery(broker=bench.server.url).send_task("signal.replay", kwargs=filters, queue=bench.queue)


def test_status_counts_waiting_events_and_dead_letters(own: Bench) -> None:
    with own.working():
        bury_events_of(own, "ann", "bob")
        eventually(
            lambda: asked(own, "status", "--json")["workers"], what="a worker that keeps house"
        )
    own.run("pause")
    own.put(identified("waits@example.com"))
    status = asked(own, "status", "--json")
    assert (status["queued"], status["in_flight"], status["delayed"]) == (1, 0, 0)
    assert status["oldest_age"] >= 0
    assert status["hold"]["kind"] == "paused"
    assert status["dead_letters"] == {"rejected": 2}
    assert "1 message, the oldest waits" in own.run("status").out


def test_status_fits_eighty_columns_and_a_pipe_that_ends(own: Bench) -> None:
    printed = own.run("status")
    assert (printed.status, "Traceback" in printed.err) == (0, False)
    assert max(map(len, printed.out.splitlines())) <= 80
    assert "none is alive" in printed.out


def test_paused_integration_takes_no_event_until_it_is_resumed(own: Bench) -> None:
    with own.working():
        assert "is paused" in own.run("pause").out
        own.put(*(identified(f"p{number}@example.com") for number in range(20)))
        own.put(identified("last@example.com"))
        assert own.run("pause").out == f"{own.queue} was paused already\n"
        assert own.queued() == 21
        assert not own.posts()
        assert "resumes" in own.run("resume").out
        own.ended()
        assert own.delivered() == 21


def test_explain_shows_where_an_event_is(own: Bench) -> None:
    with own.working():
        bury_events_of(own, "dead")
        own.put({**identified("ok@example.com", plan="pro"), "messageId": "fine"})
        own.member("ok@example.com")
        eventually(
            lambda: own.run("explain", "fine").status == 0, what="the end of the event, stored"
        )
        assert "delivered" in own.run("explain", "fine").out
        assert "dead letter  rejected" in own.run("explain", "dead").out
        own.sandbox.control.add_fault("status", status=503, address="late@example.com")
        own.run("pause")
    own.put({**identified("q@example.com"), "messageId": "queued"})
    assert own.run("explain", "queued").out == "queued  0 messages before it\n"
    gone = own.run("explain", "never-sent")
    assert (gone.status, gone.out, gone.err.count("\n")) == (1, "", 1)


def test_explain_shows_which_events_set_a_members_fields(own: Bench) -> None:
    with own.working():
        own.put({**identified("ann@example.com", plan="pro"), "timestamp": "2026-01-02T03:04:05Z"})
        own.member("ann@example.com")
        own.ended()
    found = own.run("explain", "Ann@Example.com").out
    assert 'vars.plan  "pro", set by the event of 2026-01-02 03:04:05 UTC' in found
    assert "no opt-out known" in found


def test_forget_erases_one_member_everywhere_and_no_other(own: Bench) -> None:
    with own.working():
        bury_events_of(own, "ann", "bob")
        own.put(identified("ann@example.com"))
        own.member("ann@example.com")
        own.ended()
    own.put(identified("ann@example.com", plan="x"), identified("bob@example.com"))
    found = asked(own, "forget", " Ann@example.com", "--yes", "--json")
    assert found == {
        "queue": 1,
        "delayed": 0,
        "dead letters": 1,
        "ledger": 1,
        "in flight": 0,
        "unread": {},
    }
    assert (own.queued(), [each.message.id for each in own.letters()]) == (1, ["bob"])
    assert own.run("explain", "ann@example.com").status == 1


def test_purge_deletes_only_the_dead_letters_of_its_filter(own: Bench) -> None:
    with own.working():
        bury_events_of(own, "ann", "bob")
    assert own.run("dead-letters", "purge", "--id", "ann", given="n\n").status == 1
    assert own.dead_letters.count() == 2
    assert own.run("dead-letters", "purge", "--id", "ann", "--yes").status == 0
    assert [each.message.id for each in own.letters()] == ["bob"]
    assert own.dead_letters.totals() == {"rejected": 1}


def test_events_printed_by_export_can_be_sent_again(own: Bench, tmp_path: Path) -> None:
    with own.working():
        bury_events_of(own, "ann", "bob")
        exported = own.run("dead-letters", "export").out
        assert sorted(json.loads(line)["messageId"] for line in exported.splitlines()) == [
            "ann",
            "bob",
        ]
        assert own.run("send", "-", given=exported).status == 0
        own.ended()
        assert set(own.members()) == {"ann@example.com", "bob@example.com"}


def test_replay_preview_respects_newer_events_and_changes_nothing(own: Bench) -> None:
    old = {"timestamp": "2026-01-01T00:00:00Z", "messageId": "old", "anonymousId": "a-1"}
    with own.working():
        own.sandbox.control.add_fault("status", status=400, count=1)
        own.put({**identified("ann@example.com", plan="free"), **old})
        own.the_dead_letter()
        own.put({**identified("ann@example.com", plan="pro"), "timestamp": "2026-01-02T00:00:00Z"})
        own.member("ann@example.com")
        own.ended()
    before = len(own.requests())
    shown = own.run("dead-letters", "replay", "--dry-run").out
    assert "# newer events have set vars.plan" in shown
    assert 'vars={"plan":"pro","anonymous_id":"a-1"}' in shown
    assert (own.dead_letters.count(), len(own.requests())) == (1, before)


def test_replay_task_replays_the_dead_letters_of_its_filter(own: Bench) -> None:
    with own.working() as worker:
        bury_events_of(own, "ann", "bob")
        send_replay_task(own, email="ann@example.com")
        own.member("ann@example.com")
        own.ended()
        assert [each.message.id for each in own.letters()] == ["bob"]
        assert "ann@example.com" not in worker.printed()


def test_replay_task_does_not_replay_an_event_that_is_buried_again(own: Bench) -> None:
    with own.working():
        bury_events_of(own, "ann")
        own.sandbox.control.add_fault("status", status=400, address="ann@example.com")
        send_replay_task(own)
        eventually(lambda: len(own.requests("ann@example.com")) > 1, what="another try")
        own.ended()
        assert own.dead_letters.count() == 1


@pytest.mark.parametrize(
    "filters",
    [
        {"reasons": "rejected"},
        {"reason": "bogus"},
        {"since": "yesterday-ish"},
        {"until": ""},
        {"status": 999},
        {"limit": -1},
    ],
)
def test_replay_task_with_invalid_filters_replays_nothing(
    own: Bench, filters: dict[str, Any]
) -> None:
    with own.working():
        bury_events_of(own, "ann")
        send_replay_task(own, **filters)
        own.ended()
        own.put(identified("after@example.com"))
        own.member("after@example.com")
        assert own.dead_letters.count() == 1


def test_failing_integration_does_not_disturb_its_neighbour(own: Bench) -> None:
    other = Bench(own.server, own.sandbox, own.folder, integration=f"{own.integration}-failing")
    own.sandbox.control.add_list("other@mg.example.com")
    own.sandbox.control.add_fault(
        "status", status=503, path_prefix="/v3/lists/other@mg.example.com"
    )
    try:
        with own.working(), other.working(MAILGUN_LIST_ADDRESS="other@mg.example.com"):
            other.put(*(identified(f"x{number}@example.com") for number in range(40)))
            eventually(
                lambda: asked(other, "status", "--json")["hold"]["kind"] == "unavailable",
                what="a hold",
            )
            own.put(*(identified(f"n{number}@example.com") for number in range(40)))
            own.ended()
            assert len(own.members()) == 40
            assert asked(own, "status", "--json")["hold"]["kind"] is None
            assert not own.dead_letters.count()
    finally:
        other.end_workers()


def test_status_names_the_other_integrations_and_shows_all_of_them(own: Bench) -> None:
    own.put(identified("ann@example.com"))
    other = f"{own.integration}-other"
    own.redis.hset(f"signal:{other}:totals", "delivered", 1)
    own.redis.zadd(f"signal:{other}:delayed", {"a message": 5_000_000_000})
    try:
        printed = own.run("status").out
        assert other in next(line for line in printed.splitlines() if "others here" in line)
        rows = {
            line.split("\t")[0]: line.split("\t")[1:]
            for line in own.run("status", "--all").out.splitlines()
        }
        assert (rows[own.integration][:3], rows[other][:3]) == (["1", "0", "0"], ["0", "0", "1"])
        found = asked(own, "status", "--all", "--json")
        assert {each["integration"] for each in found} >= {own.integration, other}
    finally:
        own.redis.delete(f"signal:{other}:totals", f"signal:{other}:delayed")


def test_explain_shows_each_try_of_a_delivered_event_with_its_requests(own: Bench) -> None:
    own.sandbox.control.add_fault("status", status=503, method="POST", count=1, message="No")
    with own.working():
        own.put({**identified("una@example.com", plan="secret plan"), "messageId": "una"})
        own.member("una@example.com")
        tries = eventually(
            lambda: (
                (found := json.loads(own.run("explain", "una", "--json").out or "[]"))
                and found[-1].get("outcome") == "delivered"
                and found
            ),
            what="the end of the event, stored",
        )
    ended = [(each["place"], each["outcome"], each["status"]) for each in tries]
    assert ended == [("tried", "retried", 503), ("last ended", "delivered", 200)]
    assert all(each["requests"] == 2 for each in tries)
    assert [each["answer"] for each in tries] == [f"unavailable: {shown('No')}", ""]
    assert all(each["fields"] == ["vars.plan"] for each in tries)
    assert {each["kind"] for each in tries} == {"identify"}
    printed = own.run("explain", "una").out
    assert "retried (HTTP 503)" in printed
    assert "2 requests, sets vars.plan, unavailable: " in printed
    assert "example.com" not in printed
    assert "secret plan" not in printed


def test_explain_of_an_address_prints_the_digest_that_logs_show(own: Bench) -> None:
    with own.working():
        own.put(identified("ann@example.com", plan="pro"))
        own.member("ann@example.com")
        own.ended()
    first = own.run("explain", "Ann@Example.com").out.splitlines()[0]
    logs = "".join(each.read_text() for each in own.folder.glob("worker-*.log"))
    assert re.search(rf'"?member"?[=:] ?"?{first.split()[1]}', logs), first
    found = json.loads(own.run("explain", "ann@example.com", "--json").out)
    assert found[0] == {"place": "digest", "digest": first.split()[1]}
    assert {"place": "field", "name": "vars.plan", "value": "pro"}.items() <= found[2].items()
    unknown = own.run("explain", "nobody@example.com")
    assert (unknown.status, unknown.out.count("\n")) == (1, 1)


@pytest.mark.parametrize("kind", ["page", "signup", "identify", "order"])
def test_trigger_sends_a_sample_event_that_is_delivered(own: Bench, kind: str) -> None:
    printed = own.run("trigger", kind, "--email=me@example.com")
    assert printed.status == 0
    [event] = own.queued_events()
    assert event.id == printed.out.split()[0]
    with own.working():
        assert own.member("me@example.com").subscribed


def test_trigger_on_the_real_mailgun_asks_for_an_address(own: Bench) -> None:
    printed = own.run("trigger", "page", MAILGUN_API_BASE_URL="https://api.mailgun.net")
    assert (printed.status, own.queued()) == (1, 0)
    assert "--email" in printed.err
    assert own.run("trigger", "page").status == 0
    assert own.queued() == 1


def test_tail_shows_tries_as_they_end_and_no_address(own: Bench, tmp_path: Path) -> None:
    output = tmp_path / "tailed"
    command = [sys.executable, "-m", "worker", "tail", "--json"]
    with (
        own.working(),
        output.open("wb") as file,
        subprocess.Popen(command, env=own.environment(), stdout=file, cwd=tmp_path) as tail,
    ):
        try:
            for number in range(3):
                event = identified(f"p{number}@example.com", plan="secret plan")
                own.put({**event, "messageId": f"m-{number}"})
                eventually(lambda n=number: f"m-{n}" in output.read_text(), what="its line")  # type: ignore[misc]
        finally:
            tail.send_signal(signal.SIGINT)
            status = tail.wait(30)
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [each["event"] for each in found] == ["m-0", "m-1", "m-2"]
    assert {(each["outcome"], each["status"]) for each in found} == {("delivered", 200)}
    assert {(each["kind"], *each["fields"]) for each in found} == {("identify", "vars.plan")}
    assert "example.com" not in output.read_text()
    assert "secret plan" not in output.read_text()
    lines = own.run("tail", "--no-follow").out.splitlines()
    assert re.fullmatch(
        r"[\d:]{8}  m-2  identify  delivered \(HTTP 200\)  2 requests  sets vars\.plan", lines[-1]
    )
    assert status == 130
