"""What does not work at once works later: every way of not answering, being told to wait, and when it is enough."""

import json
from typing import Any

import pytest

from tests.integration.bench import IMPATIENT, Bench, identified, until, viewed
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.sandbox.retry_hints import HintKind

JANE = "jane@example.com"

# Each by the name of its member; `count` is how often it happens before Mailgun behaves again.
NO_ANSWERS: dict[str, dict[str, Any]] = {
    "503-twice": {"kind": "status", "status": 503, "count": 2},
    "500-on-reading": {
        "kind": "status",
        "status": 500,
        "body": "empty",
        "count": 1,
        "method": "GET",
    },
    "504-on-writing": {
        "kind": "status",
        "status": 504,
        "body": "plain",
        "count": 1,
        "method": "POST",
    },
    "408": {"kind": "status", "status": 408, "count": 1},
    "html-502": {"kind": "html_502", "count": 1},
    "reset": {"kind": "reset", "count": 2},
    "magnificent-on-reading": {"kind": "magnificent", "count": 1, "method": "GET"},
    "magnificent-on-writing": {"kind": "magnificent", "count": 1, "method": "POST"},
    "truncated": {"kind": "truncated", "count": 1, "method": "POST"},
    "hang": {"kind": "hang", "seconds": 30, "count": 1},
    "hang-after-commit": {"kind": "hang_after_commit", "seconds": 30, "count": 1, "method": "POST"},
}


def test_event_without_an_answer_is_retried_until_the_member_is_right(own: Bench) -> None:
    for name, fault in NO_ANSWERS.items():
        own.sandbox.control.add_fault(address=f"{name}@example.com", **fault)
    with own.working(**IMPATIENT):
        own.put(*(identified(f"{name}@example.com", plan=name) for name in NO_ANSWERS))
        own.ended()
    met = {f"{name}@example.com": fault["count"] for name, fault in NO_ANSWERS.items()}
    assert {address: member.vars["plan"] for address, member in own.members().items()} == {
        f"{name}@example.com": name for name in NO_ANSWERS
    }
    assert {
        address: sum(each.fault is not None for each in own.requests(address)) for address in met
    } == met
    assert own.letters() == []


def test_fields_stored_by_an_unanswered_write_survive_its_retry(own: Bench) -> None:
    with own.working(**IMPATIENT):
        own.put(identified(JANE, plan="pro"))
        own.ended()
        own.sandbox.control.add_fault("hang_after_commit", seconds=30, count=1, method="POST")
        own.put(viewed(JANE, "https://shop.example.com/"))
        own.ended()
        own.counted("retried")
    assert own.member(JANE).vars == {"plan": "pro", "last_page_url": "https://shop.example.com/"}
    assert own.letters() == []


HINTS: list[HintKind] = [
    "retry_after_seconds",
    "retry_after_date",
    "reset_seconds",
    "reset_ms",
    "body",
]


def test_retry_is_not_sent_before_mailguns_hint_allows(bench: Bench) -> None:
    told = {f"{hint.replace('_', '-')}@example.com": hint for hint in HINTS}
    for address, hint in told.items():
        bench.sandbox.control.add_fault(
            "status", status=429, address=address, count=1, hint=hint, wait_seconds=1.2
        )
    bench.put(*(identified(address) for address in told))
    bench.ended()
    for address in told:
        first, *rest = bench.requests(address)
        assert first.wait_until is not None
        assert rest
        assert min(each.at for each in rest) >= first.wait_until, address
    assert set(bench.members()) == set(told)


def test_retry_hint_on_a_write_is_respected(bench: Bench) -> None:
    bench.sandbox.control.add_fault(
        "status", status=420, method="POST", count=1, hint="retry_after_seconds", wait_seconds=2
    )
    bench.put(identified(JANE))
    bench.ended()
    refused, *rest = [each for each in bench.requests(JANE) if each.at >= bench.posts(JANE)[0].at]
    assert refused.wait_until is not None
    assert min(each.at for each in rest) >= refused.wait_until
    assert JANE in bench.members()


def test_throttled_event_loses_no_attempt(own: Bench) -> None:
    own.sandbox.control.add_fault("status", status=429, count=2, address=JANE)
    with own.working(RETRY_MAX_ATTEMPTS="1"):
        own.put(identified(JANE))
        own.ended()
        own.counted("throttled", 2)
    assert own.letters() == []
    assert JANE in own.members()


def test_waiting_event_is_stored_in_redis_and_not_in_a_worker(bench: Bench) -> None:
    bench.sandbox.control.add_fault(
        "status", status=503, hint="retry_after_seconds", wait_seconds=600, address=JANE
    )
    [name] = bench.put(identified(JANE))
    until(bench.delayed, "a delayed event")
    bench.idle()
    [(message, due)] = bench.delayed()
    [told] = [each.wait_until for each in bench.requests(JANE)]
    assert told is not None
    assert due >= told - 0.001  # kept to the millisecond
    assert (message.id, message.args[0], message.attempts) == (name, identified(JANE), 1)
    assert [(each.outcome, each.status) for each in message.attempt_history] == [
        ("unavailable", 503)
    ]
    assert (bench.queued(), bench.unacknowledged(), bench.letters()) == (0, 0, [])


def test_resume_now_ends_a_429_hold_for_its_event_and_for_all_others(
    own: Bench,
) -> None:
    own.sandbox.control.add_fault(
        "status", status=429, hint="retry_after_seconds", wait_seconds=86_400, count=1
    )
    with own.working():
        own.put(identified(JANE))
        until(
            lambda: own.queued() and not own.delayed() and not own.unacknowledged(),
            "the event back on the queue",
        )
        own.put(identified("sam@example.com"))
        assert "`resume --now` lifts it" in own.run("resume").out
        assert "resumes" in own.run("resume", "--now").out
        own.ended()
    assert set(own.members()) == {JANE, "sam@example.com"}


def test_member_that_mailgun_cannot_answer_delays_no_other(own: Bench) -> None:
    own.sandbox.control.add_fault("status", status=500, address=JANE)
    with own.working():
        own.put(*(identified(JANE, plan=f"{number}") for number in range(12)))
        own.counted("retried", 20)
        own.put(*(identified(f"p{number}@example.com") for number in range(40)))
        until(lambda: len(own.members()) == 40, "the other members")
    assert own.letters() == []


def test_outage_ended_by_the_incident_check_delivers_every_event(own: Bench) -> None:
    own.sandbox.control.add_fault("status", status=503)
    with own.working():
        own.put(*(identified(f"p{number}@example.com") for number in range(30)))
        until(
            lambda: json.loads(own.run("status", "--json").out)["hold"]["kind"] == "unavailable",
            "a hold",
        )
        own.sandbox.control.clear_faults()
        own.ended()
    assert len(own.members()) == 30
    assert own.letters() == []


def test_event_that_waits_for_mailgun_delays_no_other_member(bench: Bench) -> None:
    bench.sandbox.control.add_fault("status", status=503, address=JANE)
    bench.put(identified(JANE))
    until(bench.delayed, "a delayed event")
    bench.put(identified("sam@example.com"))
    assert bench.member("sam@example.com").subscribed


def test_a_delayed_event_survives_the_worker_that_delayed_it(own: Bench) -> None:
    own.sandbox.control.add_fault(
        "status", status=503, count=1, hint="retry_after_seconds", wait_seconds=2
    )
    first = own.worker().ready()
    own.put(identified(JANE, plan="pro"))
    until(own.delayed, "a delayed event")
    own.idle()
    first.kill()
    assert JANE not in own.members()
    with own.working():
        assert own.member(JANE).vars == {"plan": "pro"}
        own.ended()
    assert own.letters() == []


def test_event_without_attempts_left_is_buried_with_the_last_answer(
    own: Bench,
) -> None:
    own.sandbox.control.add_fault("status", status=500, count=1, address=JANE)
    own.sandbox.control.add_fault("status", status=503, message="Try later", address=JANE)
    with own.working(RETRY_MAX_ATTEMPTS="2"):
        own.put(identified(JANE))
        buried = own.the_dead_letter()
    assert buried.letter.reason == DeadLetterReason.RETRIES_EXHAUSTED
    assert (buried.letter.status, buried.letter.answer, buried.letter.attempts) == (
        503,
        "Try later",
        2,
    )
    assert [each.status for each in buried.message.attempt_history] == [500, 503]
    assert "RETRY_MAX_AGE_HOURS" in buried.letter.cause


@pytest.mark.parametrize("status", [503, 429])
def test_event_past_its_retry_window_is_a_dead_letter(own: Bench, status: int) -> None:
    own.sandbox.control.add_fault("status", status=status, address=JANE)
    with own.working(RETRY_MAX_AGE_HOURS="0.0002"):
        own.put(identified(JANE))
        buried = own.the_dead_letter()
    assert (buried.letter.reason, buried.letter.status) == (
        DeadLetterReason.RETRIES_EXHAUSTED,
        status,
    )
    assert buried.letter.first_seen is not None
    assert buried.letter.died_at - buried.letter.first_seen >= 0.0002 * 3600


def test_dead_letter_of_an_unanswered_request_has_no_status(own: Bench) -> None:
    own.sandbox.control.add_fault("reset", address=JANE)
    with own.working(RETRY_MAX_ATTEMPTS="1"):
        own.put(identified(JANE))
        buried = own.the_dead_letter()
    assert (buried.letter.reason, buried.letter.status) == (
        DeadLetterReason.RETRIES_EXHAUSTED,
        None,
    )
    assert "no connection" in buried.letter.answer


def test_event_retried_many_times_stays_one_event(own: Bench) -> None:
    own.sandbox.control.add_fault("status", status=503, count=3, address=JANE)
    with own.working():
        own.put(identified(JANE))
        own.ended()
        own.counted("retried", 3)
        own.counted("delivered")
    assert own.totals()["delivered"] == 1
    assert len(own.posts(JANE)) == 1
