"""Replay and purge in a real Flower, asked over HTTP as its forms do; no worker runs."""

import html
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.flowers import flower_process
from tests.integration.job_visits import ENDED, asked_at, confirmed, gate_of, in_state, queued
from tests.integration.letter_samples import Sample, bury, numbered
from tests.integration.visitors import LIST, Visitor
from tests.servers import RedisServer, eventually, free_port
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue


def left(letters: DeadLetterQueue) -> list[str]:
    """Return the ids of the dead letters, oldest first."""
    return [each.message.id for each in letters.oldest_first()]


def asked(visitor: Visitor, act: str, **form: Any) -> str:
    """Ask for a replay or purge; return the job's path once its letters are counted."""
    return asked_at(visitor, LIST, act, **form)


def test_nothing_changes_before_the_confirmation(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(3))
    path = asked(visitor, "replay-all")
    page = html.unescape(visitor.page(path))
    assert '<strong id="count">3</strong>' in page
    assert re.search(r"<strong>3</strong> sent to Mailgun", page)
    assert "m-0" in page
    assert (queued(letters), len(left(letters))) == ([], 3)
    assert "bloomsbury" not in page


def test_all_that_match_a_filter_are_replayed_oldest_first(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(30))
    path = asked(visitor, "replay-all", query="reason=unauthorized")
    assert confirmed(visitor, path)["done"] == 10
    assert queued(letters) == [f"m-{number}" for number in range(1, 30, 3)]
    assert len(left(letters)) == 20
    assert letters.totals() == {"rejected": 10, "list_not_found": 10}


@pytest.mark.parametrize("act", ["replay", "purge"])
def test_those_ticked_are_replayed_or_purged_and_no_other(
    visitor: Visitor, letters: DeadLetterQueue, act: str
) -> None:
    bury(letters, *numbered(6))
    keys = [path.rpartition("/")[2] for path in visitor.letter_paths()]  # m-5 first
    bury(letters, *[Sample("m-new")])
    path = asked(visitor, f"{act}-ticked", key=[keys[0], keys[4], keys[2]])
    assert confirmed(visitor, path)["done"] == 3
    assert left(letters) == ["m-0", "m-2", "m-4", "m-new"]
    assert queued(letters) == (["m-1", "m-3", "m-5"] if act == "replay" else [])


def test_letter_that_another_command_took_first_is_not_counted(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(4))
    path = asked(visitor, "purge-all")
    letters.replay(letters.oldest(1), 1.0)
    assert confirmed(visitor, path)["done"] == 3
    assert "1 had been replayed or purged by others" in visitor.page(path)
    assert queued(letters) == ["m-0"]


def test_replay_tells_what_would_be_superseded_or_die_again(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(
        letters,
        Sample("m-good"),
        Sample("m-bad", DeadLetterReason.MALFORMED_EMAIL, email="no address"),
        Sample("m-none", email=""),
    )
    page = html.unescape(visitor.page(asked(visitor, "replay-all")))
    for effect in ("sent to Mailgun", "a dead letter again", "skipped"):
        assert f"<strong>1</strong> {effect}" in page


def test_hold_is_told_before_a_replay_and_not_before_a_purge(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(1))
    gate_of(letters).pause()
    told = "What is put on the queue now waits there until the hold ends."
    assert told in visitor.page(asked(visitor, "replay-all"))
    assert told not in visitor.page(asked(visitor, "purge-all"))
    assert "On hold: paused" in visitor.page(LIST)
    assert "<code>signal-mailgun resume</code> ends the pause." in visitor.page(LIST)


def test_job_is_limited_in_rate_and_a_cancel_keeps_the_rest(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(300))
    path = asked(visitor, "replay-all")
    assert visitor.post(f"{path}/start", rate=10).status_code == 303
    eventually(lambda: len(queued(letters)) >= 4, what="some replayed letters")
    assert "A replay</a> is at work" in visitor.page(LIST)
    assert visitor.post(f"{path}/cancel").status_code == 303
    done = in_state(visitor, path, *ENDED)
    assert done["state"] == "cancelled"
    assert done["done"] == len(queued(letters)) < 300
    assert len(left(letters)) == 300 - done["done"]
    assert "the rest stays as it is" in visitor.page(path)
    assert confirmed(visitor, path)["state"] == "cancelled"


def test_cancelled_before_the_confirmation_a_job_changes_nothing(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(3))
    path = asked(visitor, "purge-all")
    visitor.post(f"{path}/cancel")
    assert confirmed(visitor, path)["state"] == "cancelled"
    assert len(left(letters)) == 3


@pytest.mark.parametrize("rate", ["", "0", "-1", "1001", "0000000011001", "1e3", "²"])
def test_rate_out_of_bounds_is_refused(
    visitor: Visitor, letters: DeadLetterQueue, rate: str
) -> None:
    bury(letters, *numbered(1))
    path = asked(visitor, "purge-all")
    assert visitor.post(f"{path}/start", rate=rate).status_code == 400
    assert left(letters) == ["m-0"]


@pytest.mark.parametrize(
    "form",
    [
        {"act": "replay-ticked"},
        {"act": "replay-ticked", "key": "nonsense"},
        {"act": "burn-all"},
        {"act": ""},
        {"act": "replay-all", "query": "reason=nonsense"},
        {"act": "replay-all", "query": "email=jane@example.com"},
    ],
)
def test_request_for_nothing_or_nonsense_is_refused_in_one_line(
    visitor: Visitor, form: dict[str, str]
) -> None:
    answer = visitor.post("/dead-letters/jobs", **form)
    assert (answer.status_code, answer.text.count("\n")) == (400, 1)
    assert "jane" not in answer.text


def test_job_ignores_requests_without_the_token_or_from_other_sites(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(3))
    path = asked(visitor, "purge-all")
    for each, form in (
        (f"{path}/start", {"rate": "10"}),
        ("/dead-letters/jobs", {"act": "purge-all"}),
    ):
        bare = visitor.session.post(f"{visitor.url}{each}", data=form, timeout=30)
        assert bare.status_code == 403
        assert visitor.post(each, "https://evil.example", **form).status_code == 403
    assert visitor.get(f"{path}/progress").json()["state"] == "ready"
    assert len(left(letters)) == 3


def test_page_of_a_job_watches_it_exactly_while_it_works(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(3))
    for _ in range(20):  # the thread may end while the page is made
        path = visitor.post("/dead-letters/jobs", act="purge-all").headers["Location"]
        page = visitor.page(path)
        assert ('data-state="counting"' in page) == ("data-progress=" in page)
        in_state(visitor, path, "ready")


def test_unknown_job_is_told_so_with_status_404(visitor: Visitor) -> None:
    for path in ("/dead-letters/jobs/none", "/dead-letters/jobs/none/progress"):
        assert visitor.get(path).status_code == 404


def test_log_of_flower_tells_of_replays_without_personal_data(
    logged: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, Sample("m-wendy"))
    confirmed(logged, asked(logged, "replay-all"))
    log = logged.log.read_text()
    assert "replay of 1 dead letters begins" in log
    assert "wendy" not in log.lower()


def test_read_only_flower_shows_letters_and_changes_nothing(
    server: RedisServer, letters: DeadLetterQueue, tmp_path: Path
) -> None:
    bury(letters, *numbered(2))
    with flower_process(
        free_port(),
        tmp_path / "flower.log",
        REDIS_URL=server.url,
        SIGNAL_INTEGRATION="letters",
        FLOWER_READ_ONLY="true",
    ) as url:
        visitor = Visitor(url, tmp_path / "flower.log")
        page = visitor.page(LIST)
        assert visitor.ids() == ["m-1", "m-0"]
        assert "Flower is read-only" in page
        assert 'name="act"' not in page + visitor.page(visitor.letter_paths()[0])
        refused = visitor.post("/dead-letters/jobs", act="purge-all")
        assert (refused.status_code, "read-only" in refused.text) == (403, True)
    assert len(left(letters)) == 2
