"""`signal-mailgun dead-letters`: look through what Mailgun refused, and bring it back once the fault is fixed."""

import json
from typing import Any

import pytest

from tests.integration.bench import Bench, Printed, identified, piped, viewed
from tests.integration.letter_samples import Sample, bury, numbered
from worker.mailgun.texts import shown

REX, URI, LOU = "rex@example.com", "uri@example.com", "lou@example.com"


@pytest.fixture
def own(own: Bench) -> Bench:
    """The same, and a worker has served it once: no line says that the integration is unknown."""
    own.redis.hset(f"signal:{own.integration}:totals", "delivered", 1)
    return own


@pytest.fixture
def with_dead_letters(bench: Bench) -> Bench:
    """Four dead letters: a rejected one, an unauthorized page, a missing list, and what is no event."""
    for address, status in ((REX, 400), (URI, 401), (LOU, 404)):
        bench.sandbox.control.add_fault(
            "status", status=status, message=f"No {status}", address=address
        )
    events = (
        {**identified(REX, plan="pro"), "messageId": "m-rex"},
        {**viewed(URI, "https://shop.example.com/"), "messageId": "m-uri"},
        {**identified(LOU), "messageId": "m-lou"},
    )
    for event in events:
        bench.put(event)
        bench.ended()
    bench.put_raw("no event at all")
    bench.ended()
    assert len(bench.letters()) == 4
    return bench


def letters(bench: Bench, *arguments: str, **settings: str | None) -> Printed:
    return bench.run("dead-letters", *arguments, **settings)


def listed(bench: Bench, *filters: str) -> set[str]:
    """The reasons of the dead letters that these filters let through."""
    printed = letters(bench, "list", "--json", *filters)
    assert printed.status == 0
    return {each["reason"] for each in json.loads(printed.out)["dead_letters"]}


def test_list_shows_newest_dead_letters_first_with_a_count_for_each_reason(
    with_dead_letters: Bench,
) -> None:
    found: dict[str, Any] = json.loads(letters(with_dead_letters, "list", "--json").out)
    assert [each["reason"] for each in found["dead_letters"]] == [
        "unreadable_message",
        "list_not_found",
        "unauthorized",
        "rejected",
    ]
    assert found["totals"] == {
        "rejected": 1,
        "unauthorized": 1,
        "list_not_found": 1,
        "unreadable_message": 1,
    }
    assert found["dead_letters"][3]["id"] == "m-rex"
    assert found["dead_letters"][3]["answer"] == shown("No 400")


def test_list_without_json_shows_no_address_in_full(with_dead_letters: Bench) -> None:
    printed = letters(with_dead_letters, "list")
    assert (printed.status, printed.err) == (0, "")
    assert "m-rex" in printed.out
    assert "r…@example.com" in printed.out
    assert "total 4" in printed.out
    assert all(address not in printed.out for address in (REX, URI, LOU))


FILTERS = {
    ("--reason=rejected",): {"rejected"},
    ("--status=401", "--kind=page"): {"unauthorized"},
    ("--kind=IDENTIFY",): {"rejected", "list_not_found"},
    ("--email= REX@example.com",): {"rejected"},
    ("--id=m-lou",): {"list_not_found"},
    ("--until=1h",): set(),
    ("--since=1h", "--until=2100-01-01T00:00:00+02:00", "--status=404"): {"list_not_found"},
    ("--limit=1",): {"unreadable_message"},
}


def test_list_filters_select_the_matching_dead_letters(with_dead_letters: Bench) -> None:
    assert {given: listed(with_dead_letters, *given) for given in FILTERS} == FILTERS


def test_list_without_dead_letters_is_no_error(own: Bench) -> None:
    printed = letters(own, "list")
    assert (printed.status, printed.out) == (0, "no dead letters\n")
    assert json.loads(letters(own, "list", "--json").out) == {"totals": {}, "dead_letters": []}


def test_invalid_time_span_is_wrong_usage(own: Bench) -> None:
    assert letters(own, "list", "--since=yesterday").status == 2


def test_show_prints_event_request_answer_cause_and_fix(with_dead_letters: Bench) -> None:
    printed = letters(with_dead_letters, "show", "m-rex")
    assert printed.status == 0
    for text in (
        "rejected (HTTP 400)",
        "No 400",
        "Missing or malformed email",
        "Ensure events carry $traits.email; anonymous events have no address to upsert.",
        '"plan": "pro"',
        f"address={REX}",
    ):
        assert text in printed.out, text
    found = json.loads(letters(with_dead_letters, "show", "m-rex", "--json").out)
    assert found["event"] == [{**identified(REX, plan="pro"), "messageId": "m-rex"}]
    assert found["request"]["form"]["address"] == REX
    assert found["status"] == 400


def test_show_prints_a_dead_letter_that_is_no_event(with_dead_letters: Bench) -> None:
    [garbage] = [
        each.message.id
        for each in with_dead_letters.letters()
        if each.letter.reason == "unreadable_message"
    ]
    printed = letters(with_dead_letters, "show", garbage)
    assert printed.status == 0
    assert "no event at all" in printed.out


def test_show_of_an_unknown_id_fails_in_one_line(own: Bench) -> None:
    printed = letters(own, "show", "m-nobody")
    assert printed.status == 1
    [line] = printed.err.splitlines()
    assert "m-nobody" in line
    assert "dead-letters list" in line


def test_dead_letter_of_another_program_is_listed_beside_the_others(
    with_dead_letters: Bench,
) -> None:
    with_dead_letters.redis.lpush(
        with_dead_letters.dead_letters.key, "written by hand", '{"a": 1}', ""
    )
    printed = letters(with_dead_letters, "list")
    assert (printed.status, printed.err) == (0, "")
    assert "total 7" in printed.out
    assert letters(with_dead_letters, "replay", "--yes", "--status=400").status == 0


def test_replay_preview_shows_each_request_and_changes_nothing(with_dead_letters: Bench) -> None:
    before = [each.raw for each in with_dead_letters.letters()]
    asked = len(with_dead_letters.requests())
    printed = letters(with_dead_letters, "replay", "--dry-run")
    assert printed.status == 0
    assert f"address={REX}" in printed.out
    assert "m-lou (list_not_found)" in printed.out
    assert [each.raw for each in with_dead_letters.letters()] == before
    assert len(with_dead_letters.requests()) == asked
    assert with_dead_letters.queued() == 0


def test_a_replayed_event_is_delivered_once_the_fault_is_fixed(with_dead_letters: Bench) -> None:
    with_dead_letters.sandbox.control.clear_faults()
    printed = letters(with_dead_letters, "replay", "--yes", "--reason=rejected")
    assert printed.status == 0
    assert "1 replayed" in printed.out
    assert with_dead_letters.member(REX).vars == {"plan": "pro"}
    with_dead_letters.ended()
    assert {each.letter.reason for each in with_dead_letters.letters()} == {
        "unauthorized",
        "list_not_found",
        "unreadable_message",
    }
    assert letters(with_dead_letters, "replay", "--yes").status == 0
    with_dead_letters.ended()
    assert set(with_dead_letters.members()) == {REX, URI, LOU}
    assert [each.letter.reason for each in with_dead_letters.letters()] == ["unreadable_message"]


def test_replay_before_the_fix_makes_a_dead_letter_again_with_its_history(
    with_dead_letters: Bench,
) -> None:
    assert letters(with_dead_letters, "replay", "--yes", "--id=m-rex").status == 0
    with_dead_letters.ended()
    [again] = [each for each in with_dead_letters.letters() if each.message.id == "m-rex"]
    assert again.letter.reason == "rejected"
    assert [each.status for each in again.message.attempt_history] == [400, 400]
    assert again.letter.attempts == 1
    assert len(with_dead_letters.letters()) == 4


def test_replay_without_confirmation_changes_nothing(with_dead_letters: Bench) -> None:
    for answer in ("n\n", ""):
        printed = with_dead_letters.run("dead-letters", "replay", given=answer)
        assert printed.status == 1
        assert "4 dead letters" in printed.out
        assert "Traceback" not in printed.everything
    assert len(with_dead_letters.letters()) == 4


def test_replay_of_no_dead_letters_is_no_error(own: Bench) -> None:
    printed = letters(own, "replay", "--yes")
    assert printed.status == 0
    assert "no dead letters match" in printed.out


def test_output_into_a_closed_pipe_is_no_error(bench: Bench) -> None:
    bench.put(*(identified(f"p {number}@example.com") for number in range(400)))
    bench.ended()
    for asked in (["list"], ["list", "--json"], ["replay", "--dry-run"]):
        assert errors_when_read_by_one_line(bench, *asked, "--limit=400") == "", asked


def errors_when_read_by_one_line(own: Bench, *asked: str) -> str:
    """What the command prints as errors when its reader goes away after a line, as `head -1` does."""
    command = "-m", "worker", "dead-letters", *asked
    with piped(*command, folder=own.folder, **own.environment()) as reading:
        assert reading.stdout.readline()
        reading.stdout.close()
        return reading.stderr.read()


def test_purge_with_dry_run_lists_what_it_would_delete(with_dead_letters: Bench) -> None:
    printed = letters(with_dead_letters, "purge", "--reason=rejected", "--dry-run")
    assert printed.status == 0
    assert printed.out.splitlines() == [
        "m-rex (rejected)",
        "rejected 1",
        "1 dead letters would be deleted permanently",
    ]
    assert len(with_dead_letters.letters()) == 4


def test_letters_of_a_clock_that_is_ahead_are_purged_and_replayed(own: Bench) -> None:
    bury(own.dead_letters, Sample("m-1", age=-3600.0), Sample("m-2", age=-9600.0))
    assert "1 purged" in letters(own, "purge", "--id=m-1", "--yes").out
    assert "1 replayed" in letters(own, "replay", "--yes").out


def test_replay_during_a_hold_says_so_before_it_asks(own: Bench) -> None:
    bury(own.dead_letters, Sample("m-1"))
    assert own.run("pause").status == 0
    printed = own.run("dead-letters", "replay", given="n\n")
    assert (printed.status, own.queued()) == (1, 0)
    assert f"{own.queue} is on hold (paused): An operator has paused" in printed.err
    assert "is on hold" not in own.run("dead-letters", "purge", given="n\n").err


def test_replay_tells_what_would_become_of_a_sample_before_it_asks(own: Bench) -> None:
    bury(own.dead_letters, *numbered(50), Sample("m-none", email=""))
    printed = own.run("dead-letters", "replay", given="n\n")
    assert printed.status == 1
    [line] = [each for each in printed.out.splitlines() if "looked at" in each]
    assert line.startswith(f"51 dead letters would go back to {own.queue}; of ")
    assert "sent to Mailgun" in line
    printed = own.run("dead-letters", "replay", "--id=m-none", "--yes")
    assert "; of 1 looked at: 1 skipped" in printed.out
