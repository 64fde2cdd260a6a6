"""`signal-mailgun delayed`: what waits for its next try, tried now or put aside."""

import json
from typing import Any

import pytest

from tests.integration.bench import Bench, Printed, identified
from tests.integrations import delay_one
from worker.queue.message import AttemptRecord, Message

UNA, TOM = "una@example.com", "tom@example.com"
FAR = 3600.0


def delayed_message(id: str, address: str, outcome: str, status: int) -> Message:
    return Message(
        id=id,
        args=({**identified(address, plan="pro"), "messageId": id},),
        kind="identify",
        enqueued_at=1_700_000_000.0,
        attempts=2,
        requeues=2,
        attempt_history=(AttemptRecord(1_700_000_060.0, outcome, status),),
    )


@pytest.fixture
def own(own: Bench) -> Bench:
    """An integration that a worker has served, with two delayed events."""
    own.redis.hset(f"signal:{own.integration}:totals", "delivered", 1)
    delay_one(own.delay_queue, delayed_message("m-una", UNA, "unavailable", 503), FAR)
    delay_one(own.delay_queue, delayed_message("m-tom", TOM, "throttled", 429), 2 * FAR)
    return own


def delayed(bench: Bench, *arguments: str, **options: Any) -> Printed:
    return bench.run("delayed", *arguments, **options)


def test_a_list_says_why_each_event_waits_and_names_no_address_in_full(own: Bench) -> None:
    printed = delayed(own, "list")
    assert (printed.status, printed.err) == (0, "")
    first, second, totals = printed.out.splitlines()
    assert first.split("\t")[1:] == [
        "m-una",
        "identify",
        "u…@example.com",
        "unavailable 503",
        "2",
        "in 59 min",
    ]
    assert "throttled 429" in second
    assert totals == "throttled 1  unavailable 1  total 2"
    found = json.loads(delayed(own, "list", "--json", "--status=429").out)
    assert [each["id"] for each in found["delayed"]] == ["m-tom"]
    assert found["totals"] == {"throttled": 1}


def test_one_event_is_shown_with_its_attempts_and_the_request(own: Bench) -> None:
    printed = delayed(own, "show", "m-una")
    assert printed.status == 0
    for text in (
        "unavailable (HTTP 503)",
        "unavailable 503",
        '"plan": "pro"',
        f"address={UNA}",
        "next try",
    ):
        assert text in printed.out, text
    missing = delayed(own, "show", "m-none")
    assert missing.status == 1
    assert "explain m-none" in missing.err


def test_retry_puts_what_is_meant_on_the_queue_and_leaves_the_rest(own: Bench) -> None:
    printed = delayed(own, "retry", "--reason=unavailable", "--yes")
    assert printed.status == 0
    assert printed.out.splitlines()[-1] == f"1 put on {own.queue}"
    assert (own.queued(), own.delay_queue.count()) == (1, 1)


def test_retry_asks_first_and_without_an_answer_does_nothing(own: Bench) -> None:
    printed = delayed(own, "retry")
    assert printed.status == 1
    assert f"2 delayed events would go to {own.queue} now" in printed.out
    assert (own.queued(), own.delay_queue.count()) == (0, 2)
    assert delayed(own, "retry", given="y\n").status == 0
    assert (own.queued(), own.delay_queue.count()) == (2, 0)


def test_retry_during_a_hold_says_so_before_it_asks(own: Bench) -> None:
    assert own.run("pause").status == 0
    printed = delayed(own, "retry", "--id=m-una", given="n\n")
    assert (printed.status, own.queued()) == (1, 0)
    assert f"{own.queue} is on hold (paused): An operator has paused" in printed.err
    assert "`signal-mailgun resume` ends the pause" in printed.err
    assert "is on hold" in delayed(own, "list").err


def test_bury_makes_dead_letters_that_a_replay_brings_back(own: Bench) -> None:
    printed = delayed(own, "bury", f"--email={TOM}", "--yes")
    assert printed.status == 0
    assert [each.letter.reason for each in own.letters()] == ["buried"]
    assert own.delay_queue.count() == 1
    assert own.run("dead-letters", "replay", "--reason=buried", "--yes").status == 0
    assert own.queued() == 1


def test_purge_deletes_what_is_meant_permanently_and_asks_first(own: Bench) -> None:
    printed = delayed(own, "purge", "--status=429", given="n\n")
    assert (printed.status, own.delay_queue.count()) == (1, 2)
    assert "1 delayed events would be deleted permanently" in printed.out
    assert delayed(own, "purge", "--limit=1", "--yes").out.splitlines()[-1] == "1 purged"
    assert [each.message.id for each in own.delay_queue.page()] == ["m-tom"]
    assert (own.queued(), own.letters()) == (0, [])


def test_a_reason_that_no_delayed_event_can_have_is_wrong_usage(own: Bench) -> None:
    printed = delayed(own, "list", "--reason=rejected")
    assert printed.status == 2
    assert "unavailable" in printed.err


def test_nothing_that_matches_is_no_error(own: Bench) -> None:
    assert delayed(own, "list", "--id=x").out == "no delayed events match\n"
    assert delayed(own, "bury", "--id=x").out == "no delayed events match; nothing to do\n"


def test_an_event_tried_now_is_delivered_before_it_is_due(bench: Bench) -> None:
    message = delayed_message("m-now", UNA, "unavailable", 503)
    delay_one(bench.delay_queue, message, FAR)
    assert delayed(bench, "retry", "--yes").status == 0
    assert bench.member(UNA).vars == {"plan": "pro"}


def test_show_says_what_newer_events_have_set_meanwhile(bench: Bench) -> None:
    bench.put(identified(UNA, plan="new"))
    bench.member(UNA)
    bench.ended()
    delay_one(bench.delay_queue, delayed_message("m-old", UNA, "unavailable", 503), FAR)
    assert "superseded: newer events have set" in delayed(bench, "show", "m-old").out
