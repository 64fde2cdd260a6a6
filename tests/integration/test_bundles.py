"""Many events in one message: each is delivered, counted, delayed, buried, found and erased on its own."""

import json
from typing import Any

import pytest
from celery import Celery

from tests.integration.bench import IMPATIENT, Bench, identified, viewed
from tests.servers import eventually
from worker.queue.codec import encode
from worker.queue.message import DELIVER_MANY, TASK, Message

ANN, BOB, CAT = ("ann@example.com", "bob@example.com", "cat@example.com")


def letters(bench: Bench) -> dict[str, str]:
    """The reason of each dead letter, by its event's id."""
    return {each.message.id: each.letter.reason for each in bench.letters()}


def test_event_of_a_bundle_ends_on_its_own_and_is_counted(bench: Bench) -> None:
    bench.sandbox.control.add_fault("status", status=400, address=BOB)
    bench.put_bundle(
        {**identified(ANN, plan="pro"), "messageId": "ann"},
        5,
        {**identified(BOB, plan="pro"), "messageId": "bob"},
        {"type": "page"},
        {"type": "track", "event": "Video Played", "traits": {"email": ANN}},
        {**identified("not an address"), "messageId": "nobody"},
        {"traits": {"email": ANN}},
        identified(CAT, plan="free"),
    )
    bench.member(CAT)
    bench.ended()
    assert {address: member.vars for address, member in bench.members().items()} == {
        ANN: {"plan": "pro"},
        CAT: {"plan": "free"},
    }
    assert letters(bench) == {
        "b1.1": "malformed_event",
        "bob": "rejected",
        "nobody": "malformed_email",
        "b1.6": "malformed_event",
    }
    bench.counted("delivered", 2)
    bench.counted("dead letter: malformed_event", 2)
    for outcome in (
        "dead letter: rejected",
        "dead letter: malformed_email",
        "skipped: no_email",
        "skipped: unmapped_event",
    ):
        bench.counted(outcome)


def test_an_event_of_a_bundle_that_has_to_wait_comes_back_alone(own: Bench) -> None:
    own.sandbox.control.add_fault("status", status=503, address=BOB)
    with own.working(RETRY_BASE_SECONDS="60", RETRY_MAX_DELAY_SECONDS="60"):
        own.put_bundle(*(identified(each, plan="pro") for each in (ANN, BOB, CAT)))
        eventually(own.delayed, what="a delayed event")
        own.member(CAT)
        own.idle()
    [(delayed, _)] = own.delayed()
    assert (delayed.id, delayed.task, delayed.args) == (
        "b1.1",
        TASK,
        (identified(BOB, plan="pro"),),
    )
    assert set(own.members()) == {ANN, CAT}
    explained = own.run("explain", "b1.1").out
    assert "unavailable (HTTP 503)" in explained
    assert "came in the bundle b1" in explained


def test_explain_of_a_bundle_says_how_its_events_ended_and_names_the_rest(own: Bench) -> None:
    own.sandbox.control.add_fault("status", status=503, address=BOB)
    own.sandbox.control.add_fault("status", status=400, address=CAT)
    cat = {**identified(CAT, plan="pro"), "messageId": "cat"}
    own.put_bundle(identified(ANN, plan="pro"), identified(BOB, plan="pro"), cat)
    waiting = own.run("explain", "b1")
    assert waiting.out == "queued  0 messages before it; 3 events of the bundle\n"
    with own.working(RETRY_BASE_SECONDS="60", RETRY_MAX_DELAY_SECONDS="60"):
        eventually(lambda: "bundle ended" in own.run("explain", "b1").out, what="the bundle's end")
    found = own.run("explain", "b1").out
    delayed, dead, ended, hint = found.splitlines()
    assert delayed.startswith("delayed  b1.1: unavailable (HTTP 503); 1 attempts; next try ")
    assert dead.startswith("dead letter  cat: rejected, died ")
    assert ended.startswith("bundle ended  1 delivered, 1 delayed, 1 dead letter: rejected at ")
    assert "explain ID" in hint
    assert "example.com" not in found
    printed = json.loads(own.run("explain", "b1", "--json").out)
    assert [(each["place"], each.get("event")) for each in printed] == [
        ("delayed", "b1.1"),
        ("dead letter", "cat"),
        ("bundle ended", None),
    ]
    assert all(each["bundle"] == "b1" for each in printed[:2])
    assert "came in the bundle b1" in own.run("explain", "cat").out
    tailed = own.run("tail", "--no-follow").out
    assert len(tailed.splitlines()) == 3
    assert "bundle" not in tailed
    assert own.run("tail", "--no-follow", "--last=3").out == tailed


def test_an_event_of_a_bundle_is_retried_until_it_is_delivered(bench: Bench) -> None:
    bench.sandbox.control.add_fault("status", status=503, address=BOB, count=1)
    bench.put_bundle(*(identified(each, plan="pro") for each in (ANN, BOB, CAT)))
    bench.member(BOB)
    bench.ended()
    assert set(bench.members()) == {ANN, BOB, CAT}
    assert [len(bench.posts(each)) for each in (ANN, CAT)] == [1, 1]
    assert letters(bench) == {}


def test_a_dead_letter_from_a_bundle_is_replayed_alone(bench: Bench) -> None:
    bench.sandbox.control.add_fault("status", status=400, address=BOB)
    bench.put_bundle(identified(ANN, plan="pro"), identified(BOB, plan="pro"))
    assert bench.the_dead_letter().message.task == TASK
    bench.sandbox.control.clear_faults()
    assert bench.run("dead-letters", "replay", "--id", "b1.1", "--yes").status == 0
    assert bench.member(BOB).vars == {"plan": "pro"}
    bench.ended()
    assert len(bench.posts(ANN)) == 1


def test_events_of_one_member_in_a_bundle_apply_in_their_order(bench: Bench) -> None:
    urls = [f"https://example.com/{number}" for number in range(30)]
    bench.put_bundle(*(viewed(ANN, url) for url in urls))
    bench.member(ANN)
    bench.ended()
    assert bench.member(ANN).vars == {"last_page_url": urls[-1]}


def test_empty_bundle_ends(bench: Bench) -> None:
    bench.put_bundle()
    bench.put_bundle(identified(ANN), id="b2")
    bench.member(ANN)
    bench.ended()
    assert letters(bench) == {}


@pytest.mark.parametrize("args", [("x",), (None,), (), ([identified(ANN)], [identified(BOB)])])
def test_bundle_message_with_wrong_arguments_is_one_whole_dead_letter(
    bench: Bench, args: tuple[Any, ...]
) -> None:
    bench.put_raw(encode(Message(id="b1", args=args, task=DELIVER_MANY), bench.queue))
    letter = bench.the_dead_letter()
    assert (letter.message.id, letter.message.args, letter.letter.reason) == (
        "b1",
        args,
        "malformed_event",
    )
    assert bench.members() == {}


def test_a_plain_celery_client_can_send_a_bundle(bench: Bench) -> None:
    events = [identified(ANN, plan="pro"), identified(BOB, plan="free")]
    Celery(broker=bench.server.url).send_task("signal.deliver_many", [events], queue=bench.queue)
    bench.member(ANN)
    bench.member(BOB)
    bench.ended()
    assert letters(bench) == {}


def test_personal_data_in_a_bundle_is_not_logged(own: Bench) -> None:
    own.sandbox.control.add_fault("status", status=400, address=BOB)
    with own.working(LOG_LEVEL="debug") as worker:  # a line for each event
        own.put_bundle(
            identified(ANN, plan="secret plan"), identified(BOB), {"type": f"page {CAT}"}, CAT
        )
        own.ended()
        eventually(lambda: len(own.letters()) == 2, what="the dead letters")
        printed = worker.printed()
    assert "b1.0" in printed
    assert all(word not in printed for word in (ANN, BOB, CAT, "secret plan"))


def test_explain_and_forget_find_an_event_in_a_bundle_and_spare_the_rest(own: Bench) -> None:
    own.put_bundle(identified("first@example.com"), id="b0")
    own.put_bundle(
        {**identified(ANN), "messageId": "ann"},
        identified(BOB),
        identified(ANN),
        identified(CAT),
    )
    assert (
        own.run("explain", "ann").out
        == own.run("explain", "b1.1").out
        == "queued  1 message before it\n"
    )
    assert "2 events of this member" in own.run("explain", ANN).out
    found = json.loads(own.run("forget", ANN, "--yes", "--json").out)
    assert found == {
        "queue": 2,
        "delayed": 0,
        "dead letters": 0,
        "ledger": 0,
        "in flight": 0,
        "unread": {},
    }
    with own.working():
        own.ended()
        assert set(own.members()) == {"first@example.com", BOB, CAT}


def test_events_enqueued_by_send_in_bundles_are_delivered(own: Bench) -> None:
    lines = "".join(
        f"{json.dumps(identified(f'p{number}@example.com'))}\n" for number in range(450)
    )
    assert own.run("send", "-", given=lines).out == f"450 enqueued on {own.queue}\n"
    assert own.queued() == 5
    with own.working():
        own.ended(within=120)
        assert own.delivered() == 450


def test_bundle_of_a_killed_worker_is_delivered_by_another(own: Bench) -> None:
    own.sandbox.control.add_fault("latency", ms=200)
    with own.working(**IMPATIENT, WORKER_CONCURRENCY="2") as worker:
        own.put_bundle(*(identified(f"p{number}@example.com") for number in range(40)))
        eventually(own.members, what="the first members")
        worker.kill()
    assert own.unacknowledged() == 1
    own.sandbox.control.clear_faults()
    with own.working(**IMPATIENT):
        own.ended()
        assert own.delivered() == 40
    assert letters(own) == {}
