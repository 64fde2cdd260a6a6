"""The Dead letters pages in a real Flower with a login, asked over HTTP; no worker runs."""

import html
import re

import pytest
import requests

from tests.integration.letter_samples import Sample, bury, numbered
from tests.integration.visitors import LIST, Tags, Visitor
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue

PERSON = "wendy.darling@bloomsbury.example"
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}{% raw 1 %}'


def test_every_page_of_flower_has_the_tab(visitor: Visitor) -> None:
    for path in ("/", "/tasks", "/broker", LIST):
        assert f'href="{LIST}"' in visitor.page(path)


@pytest.mark.parametrize("path", [LIST, "/api/dead-letters", "/dead-letters/letter/1-" + "a" * 32])
def test_visitor_without_a_login_sees_no_dead_letters(letters_flower: str, path: str) -> None:
    assert requests.get(letters_flower + path, timeout=30).status_code == 401


def test_broker_tab_shows_both_queues_before_any_worker_is_known(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(3))
    letters.redis.zadd(letters.keys.delayed, {"one": 1.0, "two": 2.0})
    depths = visitor.get("/api/queues/length").json()["active_queues"]
    assert {"name": "mailgun.letters.dead_letter", "messages": 3} in depths
    assert {"name": "signal:letters:delayed", "messages": 2} in depths
    page = " ".join(visitor.page("/broker").split())
    for name, depth in (("mailgun.letters.dead_letter", 3), ("signal:letters:delayed", 2)):
        assert f">{depth}</td>" in page.partition(f"<td>{name}</td>")[2].partition("</tr>")[0]


def test_list_shows_figures_and_newest_letters_first(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(7))
    page = visitor.page(LIST)
    assert visitor.ids() == [f"m-{number}" for number in reversed(range(7))]
    assert '<p class="metric-value" id="total">7</p>' in page
    assert re.search(r">rejected</a> <span>3</span>", page)
    assert "<rect" in page
    assert visitor.ids(f"{LIST}?order=oldest") == [f"m-{number}" for number in range(7)]


def test_empty_queue_is_shown_in_words(visitor: Visitor) -> None:
    assert "There are no dead letters." in visitor.page(LIST)
    assert "No dead letter matches." in visitor.page(f"{LIST}?kind=none")


def test_links_lead_through_all_pages_and_keep_the_filter(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(90))
    path, seen = f"{LIST}?reason=rejected&size=25&sort=-attempts", []
    while path:
        page = visitor.page(path)
        assert '<option value="rejected" selected>' in page
        assert 'data-sort="-attempts"' in page
        seen += visitor.ids(path)
        found = re.search(r'id="next" href="([^"]+)"', page)
        path = html.unescape(found[1]) if found else ""
    assert seen == [f"m-{number}" for number in reversed(range(0, 90, 3))]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=401", ["m-1"]),
        ("kind=IDENTIFY&reason=rejected", ["m-0"]),
        ("id=m-2", ["m-2"]),
        ("since=15s", ["m-2"]),
        ("until=25s", ["m-0"]),
        ("since=15s&reason=rejected", []),
    ],
)
def test_filters_show_only_what_matches(
    visitor: Visitor, letters: DeadLetterQueue, query: str, expected: list[str]
) -> None:
    bury(letters, *numbered(3))
    assert visitor.ids(f"{LIST}?{query}") == expected


@pytest.mark.parametrize("query", ["reason=nonsense", "status=4000", "since=soon", "size=0"])
def test_wrong_filter_is_told_in_one_line_with_status_400(visitor: Visitor, query: str) -> None:
    answer = visitor.get(f"{LIST}?{query}")
    assert answer.status_code == 400
    assert 'id="query-error"' in answer.text
    assert visitor.get(f"/api/dead-letters?{query}").status_code == 400


def test_person_is_found_by_address_which_is_in_no_link_page_or_log(
    logged: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(5), Sample("m-wendy"))
    found = logged.post(LIST, email=f"  {PERSON.upper()} ")
    assert found.status_code == 303
    link = found.headers["Location"]
    assert re.fullmatch(r"/dead-letters\?member=[0-9a-f]{12}", link)
    assert logged.ids(link) == ["m-wendy"]
    assert logged.post(LIST, email="no address").status_code == 400
    shown = logged.page(link) + link + logged.log.read_text()
    assert "POST /dead-letters" in shown
    assert "wendy.darling" not in shown.lower()


def test_letter_page_tells_cause_fix_attempts_and_the_request_without_data(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, Sample("m-1"))
    [path] = visitor.letter_paths()
    page = html.unescape(visitor.page(path))
    for text in (
        "Missing or malformed email",
        "Ensure events carry $traits.email",
        "unavailable",
        "503",
        "sent to Mailgun",
        "/v3/lists/newsletter@mg.example.com/members",
        "Show the event",
    ):
        assert text in page
    assert "wendy" not in (page + path).lower()
    assert "Wendy" not in re.findall("<title>(.*)</title>", page)[0]


def test_event_is_shown_only_by_a_click_of_those_who_may_see_it(
    logged: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, Sample("m-1", answer=f"'{PERSON}' is not an address"))
    [path] = logged.letter_paths()
    shown = html.unescape(logged.post(path).text)
    assert shown.count(PERSON) >= 3  # in the event, the request and the answer
    other = Visitor(logged.url, logged.log, "eve")
    assert "FLOWER_EVENT_VIEWERS does not name you" in other.page(path)
    refused = other.post(path)
    assert (refused.status_code, PERSON in refused.text) == (403, False)
    assert PERSON not in logged.log.read_text()


def test_letter_that_is_gone_is_told_so_with_status_404(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, Sample("m-1"))
    [path] = visitor.letter_paths()
    letters.redis.flushdb()
    answer = visitor.get(path)
    assert (answer.status_code, "no longer here" in answer.text) == (404, True)


def test_all_that_a_letter_holds_is_escaped(visitor: Visitor, letters: DeadLetterQueue) -> None:
    bury(
        letters,
        Sample(HOSTILE, kind=HOSTILE, name=HOSTILE, answer=HOSTILE),
        Sample("m-2", DeadLetterReason.MALFORMED_EMAIL, email=HOSTILE, answer=HOSTILE),
    )
    raw = letters.texts(-1, 1, 1)[0].replace('"rejected"', '"<script>reason</script>"')
    letters.redis.lpush(letters.key, raw, HOSTILE)
    pages = [visitor.page(LIST)]
    for path in visitor.letter_paths():
        pages += [visitor.page(path), visitor.post(path).text]
    assert len(pages) == 9
    for page in pages:
        tags = Tags()
        tags.feed(page)
        assert [each for each in tags.scripts if "/static/" not in each] == []
        assert [name for name in tags.attributes if name.startswith("on")] == []
        assert tags.images == ["/static/favicon.ico"]
        assert "{{7*7}}" in page or "alert(1)" not in page


def test_answers_forbid_foreign_scripts_frames_and_caches(visitor: Visitor) -> None:
    headers = visitor.get(LIST).headers
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"


def test_post_without_the_token_or_from_another_site_is_refused(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, Sample("m-1"))
    [path] = visitor.letter_paths()
    for each in (LIST, path):
        bare = visitor.session.post(f"{visitor.url}{each}", data={"email": PERSON}, timeout=30)
        assert bare.status_code == 403
        assert visitor.post(each, "https://evil.example", email=PERSON).status_code == 403


def test_json_pages_hold_every_letter_once_and_no_data(
    visitor: Visitor, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(60), Sample("m-wendy"))
    query, seen = "size=25", []
    while query is not None:
        text = visitor.page(f"/api/dead-letters?{query}")
        assert "wendy.darling" not in text
        page = visitor.get(f"/api/dead-letters?{query}").json()
        assert (page["total"], page["complete"]) == (61, True)
        seen += [each["id"] for each in page["dead_letters"]]
        query = page["next"]
    assert seen == ["m-wendy", *(f"m-{number}" for number in reversed(range(60)))]
    assert page["by_reason"] == {"rejected": 21, "unauthorized": 20, "list_not_found": 20}


def test_json_finds_a_person_by_post_only(visitor: Visitor, letters: DeadLetterQueue) -> None:
    bury(letters, *numbered(3), Sample("m-wendy"))
    api = f"{visitor.url}/api/dead-letters"
    found = visitor.session.post(api, json={"email": PERSON, "size": 5}, timeout=30).json()
    assert [each["id"] for each in found["dead_letters"]] == ["m-wendy"]
    refused = visitor.get("/api/dead-letters?email=nobody@example.com")
    assert (refused.status_code, "POST" in refused.json()["error"]) == (400, True)
    for body in ("[1]", "{", '"x"'):
        assert visitor.session.post(api, data=body, timeout=30).status_code == 400
