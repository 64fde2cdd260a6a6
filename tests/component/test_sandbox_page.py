"""The sandbox's page in a real browser: what its buttons do, what it shows, and that data stay text."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.browsers import visit
from tests.sandboxes import RunningSandbox
from tests.servers import eventually
from worker.sandbox.control import CONTROLS
from worker.sandbox.faults import Fault, FaultKind
from worker.sandbox.retry_hints import HintKind

LIST = "newsletter@mg.example.com"
JANE, JOE = "jane@example.com", "joe@example.com"
KEY = ("api", "sandbox-key")
EVIL = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def page(browser: Browser, sandbox: RunningSandbox) -> Iterator[Page]:
    with visit(browser, sandbox.base_url, user=None, may_log="status of 400") as opened:
        opened.goto("/")
        expect(opened.locator("#live")).to_have_text("live")
        yield opened


def ask(sandbox: RunningSandbox, method: str, path: str = "", **form: str) -> requests.Response:
    url = f"{sandbox.base_url}/v3/lists/{LIST}/members{path}"
    return requests.request(method, url, data=form or None, auth=KEY, timeout=10)


def state_of(sandbox: RunningSandbox) -> dict[str, Any]:
    return sandbox.control.state()


def test_buttons_add_faults_and_remove_one_or_all(page: Page, sandbox: RunningSandbox) -> None:
    faults = page.locator("#faults")
    page.get_by_role("button", name="503 × 3").click()
    expect(faults).to_contain_text("status 503")
    page.get_by_role("button", name="429, wait 5 s").click()
    expect(faults).to_contain_text("status 429")
    faults.get_by_role("button", name="✕").first.click()
    expect(faults).not_to_contain_text("status 503")
    [left] = state_of(sandbox)["faults"]
    assert (left["status"], left["hint"]) == (429, "retry_after_seconds")
    page.get_by_role("button", name="Clear all").click()
    eventually(lambda: not state_of(sandbox)["faults"], what="no fault")


def test_a_fault_of_ones_own_is_added_with_its_fields(page: Page, sandbox: RunningSandbox) -> None:
    page.get_by_text("Another fault").click()
    form = page.locator("#fault-form")
    form.locator("[name=kind]").select_option("latency")
    form.locator("[name=count]").fill("2")
    form.locator("[name=address]").fill(JANE)
    form.get_by_role("button").click()
    [fault] = eventually(lambda: state_of(sandbox)["faults"], what="a fault")
    assert (fault["kind"], fault["ms"], fault["count"]) == ("latency", 2000, 2)
    assert fault["address"] == JANE


def values(page: Page, select: str) -> set[str]:
    options: list[str] = page.locator(f"{select} option").evaluate_all(
        "options => options.map(option => option.value)"
    )
    return set(options)


def test_page_offers_all_that_the_control_api_takes(page: Page, sandbox: RunningSandbox) -> None:
    fields = page.locator("#fault-form [name]").evaluate_all("all => all.map(each => each.name)")
    assert {name.replace("percent", "share") for name in fields} == set(Fault.model_fields)
    assert values(page, "#fault-form [name=kind]") == set(get_args(FaultKind))
    for form in ("#fault-form", "#limit-form"):
        assert values(page, f"{form} [name=hint]") == set(get_args(HintKind))
    bodies = get_args(Fault.model_fields["body"].annotation)
    assert values(page, "#fault-form [name=body]") == set(bodies)
    text = page.content()
    # The state that the page asks for has the events.
    routes = {path.rsplit("/", 1)[1] for _, path in CONTROLS} - {"events"}
    assert {each for each in routes if not re.search(rf'["/]{each}\b', text)} == set()


def test_fault_with_body_headers_and_path_is_answered_so(
    page: Page, sandbox: RunningSandbox
) -> None:
    page.get_by_text("Another fault").click()
    form = page.locator("#fault-form")
    form.locator("[name=status]").fill("502")
    form.locator("[name=body]").select_option("html")
    form.locator("[name=headers]").fill("X-Proxy: squid: 1\n\nX-Other: no")
    form.locator("[name=path_prefix]").fill(f"/v3/lists/{LIST}/members/")
    form.get_by_role("button").click()
    eventually(lambda: state_of(sandbox)["faults"], what="a fault")
    found = ask(sandbox, "GET", f"/{JANE}")
    assert (found.status_code, found.headers["X-Proxy"], found.headers["X-Other"]) == (
        502,
        "squid: 1",
        "no",
    )
    assert "<h1>" in found.text
    assert ask(sandbox, "POST", address=JANE, upsert="true").status_code == 200
    form.locator("[name=headers]").fill("no header")
    form.get_by_role("button").click()
    expect(page.locator("#faults-told")).to_contain_text("headers")


def test_answer_about_another_member_names_the_one_that_was_given(
    page: Page, sandbox: RunningSandbox
) -> None:
    page.get_by_text("Another fault").click()
    form = page.locator("#fault-form")
    form.locator("[name=kind]").select_option("other_member")
    form.locator("[name=other_address]").fill(JOE)
    form.get_by_role("button").click()
    eventually(lambda: state_of(sandbox)["faults"], what="a fault")
    assert ask(sandbox, "GET", f"/{JANE}").json()["member"]["address"] == JOE


def test_replaced_key_is_the_only_right_one(page: Page, sandbox: RunningSandbox) -> None:
    page.get_by_text("Limits, latency, refusals").click()
    page.locator("#key-form [name=key]").fill("another-key")
    page.get_by_role("button", name="Replace the key").click()
    eventually(lambda: ask(sandbox, "GET", f"/{JANE}").status_code == 401, what="a refusal")
    url = f"{sandbox.base_url}/v3/lists/{LIST}"
    assert requests.get(url, auth=("api", "another-key"), timeout=10).status_code == 200


def test_list_is_added_shown_and_removed(page: Page, sandbox: RunningSandbox) -> None:
    page.evaluate("() => { window.confirm = text => text.includes('second@'); }")
    page.get_by_text("Limits, latency, refusals").click()
    page.locator("#list-form [name=address]").fill("second@mg.example.com")
    page.get_by_role("button", name="Add the list").click()
    shown = page.locator("#lists [aria-pressed=true]")
    expect(shown).to_have_text("second@mg.example.com")
    page.get_by_role("button", name="Remove the list shown").click()
    expect(shown).to_have_text(LIST)
    page.get_by_role("button", name="Remove the list shown").click()
    assert [each["address"] for each in state_of(sandbox)["lists"]] == [LIST]
    sandbox.control.remove_list(LIST)
    expect(page.locator("#empty")).to_contain_text("holds no list")
    expect(page.get_by_role("button", name="Remove the list shown")).to_be_disabled()


def test_members_and_requests_beyond_those_shown_are_a_link_away(
    page: Page, sandbox: RunningSandbox
) -> None:
    for number in range(101):
        ask(sandbox, "POST", address=f"m{number}@example.com", upsert="true")
    expect(page.locator("#more")).to_contain_text("1 more")
    links = page.get_by_role("link", name="all, as JSON")
    expect(links).to_have_count(2)
    for link, content in zip(links.all(), ("members", "requests"), strict=True):
        with page.expect_download() as download:
            link.click()
        found = json.loads(download.value.path().read_text())
        assert (download.value.suggested_filename, len(found[content])) == (f"{content}.json", 101)


def test_limit_latency_and_refusals_are_set_and_a_wrong_value_is_told(
    page: Page, sandbox: RunningSandbox
) -> None:
    faults = page.locator("#faults")
    page.get_by_text("Limits, latency, refusals").click()
    page.locator("#limit-form [name=requests]").fill("7")
    page.locator("#limit-form button").click()
    expect(faults).to_contain_text("Lets 7 requests")
    page.locator("#refuse-form [name=address]").fill(JANE)
    page.get_by_role("button", name="Refuse").click()
    expect(faults).to_contain_text(f"Refuses {JANE}")
    page.locator("#latency-form [name=ms]").fill("30")
    page.locator("#latency-form button").click()
    eventually(lambda: state_of(sandbox)["latency_ms"] == 30, what="the latency")
    state = state_of(sandbox)
    assert (state["limit"]["requests"], state["refused"]) == (7, [JANE])
    page.evaluate("act('POST', 'latency', { ms: -1 }, 'limits-told')")
    expect(page.locator("#limits-told")).to_contain_text("ms")


def test_a_click_on_unsubscribe_is_that_of_the_recipient(
    page: Page, sandbox: RunningSandbox
) -> None:
    ask(sandbox, "POST", address=JANE, upsert="true")
    page.locator("#members").get_by_role("button", name="Unsubscribe").click()
    eventually(lambda: not sandbox.control.members()[JANE].subscribed, what="the opt-out")
    [event] = sandbox.control.events()
    assert event.address == JANE


def test_a_request_opens_to_its_form_and_its_answer(page: Page, sandbox: RunningSandbox) -> None:
    ask(sandbox, "POST", address=JANE, upsert="true", vars='{"plan": "pro"}')
    opener, detail = page.locator("#requests .opener"), page.locator("#requests .detail")
    opener.click()
    for text in (
        "Answer: 200",
        f"/v3/lists/{LIST}/members",
        f"address = {JANE}",
        '"plan": "pro"',
        "1 member written",
    ):
        expect(detail).to_contain_text(text)
    opener.click()
    expect(detail).to_have_count(0)


def test_a_request_after_a_reset_shows_its_own_form(page: Page, sandbox: RunningSandbox) -> None:
    ask(sandbox, "POST", address=JANE, upsert="true")
    opener, detail = page.locator("#requests .opener"), page.locator("#requests .detail")
    opener.click()
    expect(detail).to_contain_text(f"address = {JANE}")
    sandbox.control.reset()
    ask(sandbox, "POST", address=JOE, upsert="true")
    expect(opener).to_contain_text(JOE)
    expect(detail).to_have_count(0)
    opener.click()
    expect(detail).to_contain_text(f"address = {JOE}")


def test_a_404_of_a_look_at_a_new_member_does_not_look_like_a_fault(
    page: Page, sandbox: RunningSandbox
) -> None:
    ask(sandbox, "GET", f"/{JANE}")
    badge = page.locator("#requests .badge").first
    expect(badge).to_have_text("404 not there")
    expect(badge).to_have_class("badge number")
    expect(page.locator("#statuses")).to_contain_text("404 not there × 1")
    sandbox.control.add_fault("status", status=404, message="Mailing list x not found")
    ask(sandbox, "GET", f"/{JANE}")
    expect(badge).to_have_class(re.compile("warn"))


def test_what_requests_hold_stays_text(page: Page, sandbox: RunningSandbox) -> None:
    ask(
        sandbox,
        "POST",
        address=JANE,
        upsert="true",
        name=EVIL,
        vars=f'{{"<b>x</b>": "{EVIL[:5]}"}}',
    )
    sandbox.control.add_fault("status", status=500, message=EVIL, count=1)
    ask(sandbox, "POST", address="o'b<i>@example.com", upsert="true", name=EVIL)
    opener = page.locator("#requests .opener")
    expect(opener).to_have_count(2)
    opener.filter(has_text="o'b").click()
    expect(page.locator("#requests .detail pre")).to_have_count(3)
    assert page.locator("img, #members b b, #requests i").count() == 0
    expect(page).to_have_title("Mailgun sandbox")


def test_a_visit_finds_nothing_that_the_one_before_left(
    browser: Browser, sandbox: RunningSandbox
) -> None:
    for _ in range(2):
        with visit(browser, sandbox.base_url, user=None) as page:
            page.goto("/")
            assert page.evaluate("[document.cookie, localStorage.length]") == ["", 0]
            page.evaluate("() => { document.cookie = 'a=b'; localStorage.setItem('a', 'b'); }")
