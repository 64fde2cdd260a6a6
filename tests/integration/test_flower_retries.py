"""The Retries pages in a real Flower with a login, asked over HTTP; no worker runs."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.delayed_samples import Sample, delay, waiting
from tests.integration.flowers import flower_process
from tests.integration.job_visits import ENDED, asked_at, confirmed, gate_of, in_state, queued
from tests.integration.visitors import Tags, Visitor
from tests.integrations import delay_one
from tests.servers import RedisServer, eventually, free_port
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue

RETRIES = "/retries"
PERSON = "wendy.darling@bloomsbury.example"
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}{% raw 1 %}'


def left(delayed: DelayQueue) -> list[str]:
    """Return the ids of the delayed events, the next due first."""
    return [each.message.id for page in delayed.pages() for each in page]


def asked(visitor: Visitor, act: str, **form: Any) -> str:
    """Ask for an act; return the job's path once its events are counted."""
    return asked_at(visitor, RETRIES, act, **form)


def test_every_page_of_flower_has_the_tab(visitor: Visitor) -> None:
    for path in ("/", "/tasks", "/broker", "/dead-letters", RETRIES):
        assert f'href="{RETRIES}"' in visitor.page(path)


@pytest.mark.parametrize(
    "path", [RETRIES, "/api/retries", "/retries/event/1-" + "a" * 32, "/retries/jobs/none"]
)
def test_visitor_without_a_login_sees_no_delayed_events(letters_flower: str, path: str) -> None:
    assert requests.get(letters_flower + path, timeout=30).status_code == 401


def test_list_shows_figures_and_what_is_due_next(visitor: Visitor, delayed: DelayQueue) -> None:
    delay(delayed, *waiting(7))
    page = visitor.page(RETRIES)
    assert visitor.ids(RETRIES) == [f"m-{number}" for number in range(7)]
    assert '<p class="metric-value" id="total">7</p>' in page
    assert re.search(r">unavailable</a> <span>3</span>", page)
    assert "<rect" in page
    assert "in 59 min" in page
    assert "bloomsbury.example" in page
    assert "person0" not in page


def test_empty_delay_queue_is_shown_in_words(visitor: Visitor) -> None:
    assert "There are no delayed events." in visitor.page(RETRIES)
    assert "No delayed event matches." in visitor.page(f"{RETRIES}?kind=none")


def test_links_lead_through_all_events_and_keep_the_filter(
    visitor: Visitor, delayed: DelayQueue
) -> None:
    delay(delayed, *waiting(90))
    path, seen = f"{RETRIES}?reason=throttled&size=25&sort=-attempts", []
    while path:
        page = visitor.page(path)
        assert '<option value="throttled" selected>' in page
        assert 'data-sort="-attempts"' in page
        seen += visitor.ids(path)
        found = re.search(r'id="next" href="([^"]+)"', page)
        path = html.unescape(found[1]) if found else ""
    assert seen == [f"m-{number}" for number in range(1, 90, 3)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=429", ["m-1"]),
        ("kind=IDENTIFY&reason=unavailable", ["m-0"]),
        ("reason=waiting", ["m-2"]),
        ("id=m-2", ["m-2"]),
        ("since=15s", ["m-2"]),
        ("until=25s", ["m-0"]),
        ("since=15s&reason=unavailable", []),
    ],
)
def test_filters_show_only_events_that_match(
    visitor: Visitor, delayed: DelayQueue, query: str, expected: list[str]
) -> None:
    delay(delayed, *waiting(3))
    assert visitor.ids(f"{RETRIES}?{query}") == expected


@pytest.mark.parametrize(
    "query", ["reason=rejected", "status=4000", "since=soon", "size=0", "start=17", "order=oldest"]
)
def test_wrong_filter_is_told_in_one_line_with_status_400(visitor: Visitor, query: str) -> None:
    answer = visitor.get(f"{RETRIES}?{query}")
    assert answer.status_code == 400
    assert 'id="query-error"' in answer.text
    assert visitor.get(f"/api/retries?{query}").status_code == 400


def test_person_is_found_by_address_which_is_in_no_link_page_or_log(
    logged: Visitor, delayed: DelayQueue
) -> None:
    delay(delayed, *waiting(5), Sample("m-wendy"))
    found = logged.post(RETRIES, email=f"  {PERSON.upper()} ")
    assert found.status_code == 303
    link = found.headers["Location"]
    assert re.fullmatch(r"/retries\?member=[0-9a-f]{12}", link)
    assert logged.ids(link) == ["m-wendy"]
    shown = logged.page(link) + link + logged.log.read_text()
    assert "POST /retries" in shown
    assert "wendy.darling" not in shown.lower()


def test_event_page_tells_why_until_when_attempts_and_request_without_data(
    visitor: Visitor, delayed: DelayQueue
) -> None:
    delay(delayed, Sample("m-1"))
    [path] = visitor.letter_paths(RETRIES)
    page = html.unescape(visitor.page(path))
    for text in (
        "unavailable</span> HTTP 503",
        "UTC, in 59 min",
        "put back 1 time",
        "sent to Mailgun",
        "/v3/lists/newsletter@mg.example.com/members",
        "Retry now …",
        "Bury …",
        "Purge …",
        "Show the event",
    ):
        assert text in page
    assert "wendy" not in (page + path).lower()


def test_event_that_had_no_try_yet_says_what_it_waits_for(
    visitor: Visitor, delayed: DelayQueue
) -> None:
    delay(delayed, Sample("m-1", "waiting", email="no address"))
    page = html.unescape(visitor.page(visitor.letter_paths(RETRIES)[0]))
    assert "waiting</span>: the integration was on hold, or the member locked" in page
    assert "a dead letter" in page
    assert "a dead letter again" not in page


def test_event_is_shown_only_by_a_click_of_those_who_may_see_it(
    logged: Visitor, delayed: DelayQueue
) -> None:
    delay(delayed, Sample("m-1"))
    [path] = logged.letter_paths(RETRIES)
    shown = html.unescape(logged.post(path).text)
    assert shown.count(PERSON) >= 2  # in the event and the request
    other = Visitor(logged.url, logged.log, "eve")
    assert "FLOWER_EVENT_VIEWERS does not name you" in other.page(path)
    refused = other.post(path)
    assert (refused.status_code, PERSON in refused.text) == (403, False)
    assert PERSON not in logged.log.read_text()


def test_event_that_is_no_longer_delayed_is_told_so_with_status_404(
    visitor: Visitor, delayed: DelayQueue
) -> None:
    delay(delayed, Sample("m-1"))
    [path] = visitor.letter_paths(RETRIES)
    delayed.retry(delayed.page())
    answer = visitor.get(path)
    assert (answer.status_code, "no longer delayed" in answer.text) == (404, True)
    delay(delayed, Sample("m-1"))
    assert visitor.get("/retries/event/nonsense").status_code == 404


def test_all_that_a_delayed_event_holds_is_escaped(visitor: Visitor, delayed: DelayQueue) -> None:
    delay(
        delayed,
        Sample(HOSTILE, kind=HOSTILE, name=HOSTILE),
        Sample("m-2", email=HOSTILE, reason=HOSTILE),
    )
    delayed.redis.zadd(delayed.key, {HOSTILE: 5e9, "<script>": float("inf")})
    pages = [visitor.page(RETRIES)]
    for path in visitor.letter_paths(RETRIES):
        pages += [visitor.page(path), visitor.post(path).text]
    assert len(pages) == 9
    for page in pages:
        tags = Tags()
        tags.feed(page)
        assert [each for each in tags.scripts if "/static/" not in each] == []
        assert [name for name in tags.attributes if name.startswith("on")] == []
        assert "{{7*7}}" in page or "alert(1)" not in page


def test_json_pages_hold_every_event_once_and_no_data(
    visitor: Visitor, delayed: DelayQueue
) -> None:
    delay(delayed, *waiting(60), Sample("m-wendy", wait=9000))
    query, seen = "size=25", []
    while query is not None:
        text = visitor.page(f"/api/retries?{query}")
        assert "wendy.darling" not in text
        page = visitor.get(f"/api/retries?{query}").json()
        assert (page["total"], page["complete"]) == (61, True)
        assert page["next_due"] == delayed.next_due()
        seen += [each["id"] for each in page["delayed"]]
        query = page["next"]
    assert seen == [*(f"m-{number}" for number in range(60)), "m-wendy"]


def test_json_finds_the_events_of_a_person_by_post_only(
    visitor: Visitor, delayed: DelayQueue
) -> None:
    delay(delayed, *waiting(3), Sample("m-wendy"))
    api = f"{visitor.url}/api/retries"
    found = visitor.session.post(api, json={"email": PERSON}, timeout=30).json()
    assert [each["id"] for each in found["delayed"]] == ["m-wendy"]
    assert visitor.get("/api/retries?email=nobody@example.com").status_code == 400


def test_retry_puts_nothing_on_the_queue_before_the_confirmation(
    visitor: Visitor, delayed: DelayQueue, letters: DeadLetterQueue
) -> None:
    delay(delayed, *waiting(3))
    path = asked(visitor, "retry-all")
    page = html.unescape(visitor.page(path))
    assert '<strong id="count">3</strong>' in page
    assert re.search(r"<strong>3</strong> sent to Mailgun", page)
    assert "Retry 3 events now" in page
    assert (queued(letters), len(left(delayed))) == ([], 3)
    assert confirmed(visitor, path)["done"] == 3
    assert (sorted(queued(letters)), left(delayed)) == (["m-0", "m-1", "m-2"], [])
    assert "retry of 3 delayed events begins" in visitor.log.read_text()


def test_those_ticked_are_buried_as_real_dead_letters_and_no_other(
    visitor: Visitor, delayed: DelayQueue, letters: DeadLetterQueue
) -> None:
    delay(delayed, *waiting(6))
    keys = [path.rpartition("/")[2] for path in visitor.letter_paths(RETRIES)]
    path = asked(visitor, "bury-ticked", key=[keys[0], keys[4], keys[2]])
    assert "a replay brings them back" in visitor.page(path)
    assert confirmed(visitor, path)["done"] == 3
    assert left(delayed) == ["m-1", "m-3", "m-5"]
    assert letters.totals() == {"buried": 3}
    assert visitor.ids("/dead-letters?reason=buried&sort=id") == ["m-4", "m-2", "m-0"]
    assert queued(letters) == []


def test_all_that_match_are_purged_for_good_and_the_rest_stays(
    visitor: Visitor, delayed: DelayQueue, letters: DeadLetterQueue
) -> None:
    delay(delayed, *waiting(9))
    path = asked(visitor, "purge-all", query="reason=throttled")
    page = html.unescape(visitor.page(path))
    assert "A purge is permanent." in page
    assert "signal-mailgun forget EMAIL" in page
    assert confirmed(visitor, path)["done"] == 3
    assert left(delayed) == ["m-0", "m-2", "m-3", "m-5", "m-6", "m-8"]
    assert (queued(letters), letters.count()) == ([], 0)


@pytest.mark.parametrize("act", ["retry", "bury", "purge"])
def test_event_that_a_worker_has_taken_is_left_to_the_worker(
    visitor: Visitor, delayed: DelayQueue, letters: DeadLetterQueue, act: str
) -> None:
    delay(delayed, *waiting(4))
    path = asked(visitor, f"{act}-all")
    taken = delayed.page(most=1)
    delayed.redis.zrem(delayed.key, taken[0].raw)
    delay(delayed, Sample("m-new"))
    assert confirmed(visitor, path)["done"] == 3
    assert "1 had been taken by a worker or another command" in visitor.page(path)
    assert left(delayed) == ["m-new"]
    assert len(queued(letters)) == (3 if act == "retry" else 0)
    assert letters.count() == (3 if act == "bury" else 0)


def test_event_that_was_delayed_again_meanwhile_is_buried_as_it_is(
    visitor: Visitor, delayed: DelayQueue, letters: DeadLetterQueue
) -> None:
    delay(delayed, *waiting(2))
    keys = [path.rpartition("/")[2] for path in visitor.letter_paths(RETRIES)]
    path = asked(visitor, "bury-ticked", key=keys[:1])
    [first] = delayed.page(most=1)
    delayed.redis.zrem(delayed.key, first.raw)
    delay_one(delayed, first.message.after_wait(), 7200.0)
    assert confirmed(visitor, path)["done"] == 1
    assert [each.message.requeues for each in letters.oldest_first()] == [2]


def test_hold_is_told_on_all_pages_of_retries_but_not_before_a_burial(
    visitor: Visitor, delayed: DelayQueue, letters: DeadLetterQueue
) -> None:
    delay(delayed, *waiting(1))
    gate_of(letters).pause()
    told = "What is put on the queue now waits there until the hold ends."
    assert told in visitor.page(RETRIES)
    assert told in visitor.page(visitor.letter_paths(RETRIES)[0])
    assert told in visitor.page(asked(visitor, "retry-all"))
    assert told not in visitor.page(asked(visitor, "bury-all"))


def test_cancelled_burial_keeps_the_rest_delayed(
    visitor: Visitor, delayed: DelayQueue, letters: DeadLetterQueue
) -> None:
    delay(delayed, *waiting(300))
    path = asked(visitor, "bury-all")
    assert visitor.post(f"{path}/start", rate=10).status_code == 303
    eventually(lambda: letters.count() >= 4, what="some buried events")
    assert "A burial</a> is at work" in visitor.page(RETRIES)
    assert "is at work" not in visitor.page("/dead-letters")
    assert visitor.post(f"{path}/cancel").status_code == 303
    done = in_state(visitor, path, *ENDED)
    assert done["state"] == "cancelled"
    assert done["done"] == letters.count() == 300 - len(left(delayed))
    logged = visitor.log.read_text().count("was cancelled in Flower")
    assert visitor.post(f"{path}/cancel").status_code == 303
    assert visitor.log.read_text().count("was cancelled in Flower") == logged >= 1


@pytest.mark.parametrize(
    "form",
    [
        {"act": "retry-ticked"},
        {"act": "retry-ticked", "key": "nonsense"},
        {"act": "replay-all"},
        {"act": "forget-all"},
        {"act": ""},
        {"act": "retry-all", "query": "reason=nonsense"},
    ],
)
def test_request_for_nothing_or_nonsense_is_refused_in_one_line(
    visitor: Visitor, form: dict[str, str]
) -> None:
    answer = visitor.post("/retries/jobs", **form)
    assert (answer.status_code, answer.text.count("\n")) == (400, 1)


def test_post_without_the_token_or_from_another_site_is_refused(
    visitor: Visitor, delayed: DelayQueue
) -> None:
    delay(delayed, *waiting(3))
    job = asked(visitor, "purge-all")
    for path, form in (
        (RETRIES, {"email": PERSON}),
        (visitor.letter_paths(RETRIES)[0], {}),
        ("/retries/jobs", {"act": "purge-all"}),
        (f"{job}/start", {"rate": "10"}),
    ):
        bare = visitor.session.post(f"{visitor.url}{path}", data=form, timeout=30)
        assert bare.status_code == 403
        assert visitor.post(path, "https://evil.example", **form).status_code == 403
    assert len(left(delayed)) == 3


def test_jobs_of_one_tab_are_unknown_in_the_other(visitor: Visitor, delayed: DelayQueue) -> None:
    delay(delayed, *waiting(1))
    path = asked(visitor, "purge-all")
    assert visitor.get(path.replace("/retries/", "/dead-letters/")).status_code == 404


def test_read_only_flower_shows_delayed_events_and_changes_nothing(
    server: RedisServer, delayed: DelayQueue, tmp_path: Path
) -> None:
    delay(delayed, *waiting(2))
    with flower_process(
        free_port(),
        tmp_path / "flower.log",
        REDIS_URL=server.url,
        SIGNAL_INTEGRATION="letters",
        FLOWER_READ_ONLY="true",
    ) as url:
        visitor = Visitor(url, tmp_path / "flower.log")
        page = visitor.page(RETRIES)
        assert visitor.ids(RETRIES) == ["m-0", "m-1"]
        assert "Flower is read-only" in page
        assert 'name="act"' not in page + visitor.page(visitor.letter_paths(RETRIES)[0])
        refused = visitor.post("/retries/jobs", act="purge-all")
        assert (refused.status_code, "read-only" in refused.text) == (403, True)
    assert len(left(delayed)) == 2
