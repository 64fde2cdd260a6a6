"""The sandbox's page in a real browser: what its buttons do, what it shows, and that data stay text."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.browser import Browser, running_browser
from tests.sandboxes import RunningSandbox
from tests.servers import eventually

LIST = "newsletter@mg.example.com"
JANE = "jane@example.com"
KEY = ("api", "sandbox-key")
# What it shows below the faults changes where the buttons are: wait for it before the next click.
FAULTS = "document.querySelector('#faults').textContent"
EVIL = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture
def page(browser: Browser, sandbox: RunningSandbox) -> Browser:
    browser.open(sandbox.base_url)
    browser.until("document.querySelector('#live').textContent === 'live'")
    return browser


def ask(sandbox: RunningSandbox, method: str, path: str = "", **form: str) -> requests.Response:
    url = f"{sandbox.base_url}/v3/lists/{LIST}/members{path}"
    return requests.request(method, url, data=form or None, auth=KEY, timeout=10)


def state_of(sandbox: RunningSandbox) -> dict[str, Any]:
    return sandbox.control.state()


def test_buttons_add_faults_and_remove_one_or_all(page: Browser, sandbox: RunningSandbox) -> None:
    page.click("#quick button", "503")
    page.until(f"{FAULTS}.includes('status 503')")
    page.click("#quick button", "429")
    page.until(f"{FAULTS}.includes('status 429')")
    page.click("#faults button", "✕")
    page.until(f"!{FAULTS}.includes('status 503')")
    [left] = state_of(sandbox)["faults"]
    assert (left["status"], left["hint"]) == (429, "retry_after_seconds")
    page.click("#clear-faults")
    eventually(lambda: not state_of(sandbox)["faults"], what="no fault")


def test_a_fault_of_ones_own_is_added_with_its_fields(
    page: Browser, sandbox: RunningSandbox
) -> None:
    page.evaluate("document.querySelector('#fault-form').closest('details').open = true")
    page.evaluate(
        "(kind => { kind.value = 'latency'; kind.dispatchEvent(new Event('change')); })"
        "(document.querySelector('#fault-form').elements.kind)"
    )
    page.type("#fault-form [name=count]", "2")
    page.type("#fault-form [name=address]", JANE)
    page.click("#fault-form button")
    [fault] = eventually(lambda: state_of(sandbox)["faults"], what="a fault")
    assert (fault["kind"], fault["ms"], fault["count"]) == ("latency", 2000, 2)
    assert fault["address"] == JANE


def test_limit_latency_and_refusals_are_set_and_a_wrong_value_is_told(
    page: Browser, sandbox: RunningSandbox
) -> None:
    page.evaluate("document.querySelector('#more-controls').open = true")
    page.type("#limit-form [name=requests]", "7")
    page.click("#limit-form button")
    page.until(f"{FAULTS}.includes('Lets 7 requests')")
    page.type("#refuse-form [name=address]", JANE)
    page.click("#refuse-form button", "Refuse")
    page.until(f"{FAULTS}.includes('Refuses {JANE}')")
    page.evaluate("document.querySelector('#latency-form [name=ms]').value = ''")
    page.type("#latency-form [name=ms]", "30")
    page.click("#latency-form button")
    eventually(lambda: state_of(sandbox)["latency_ms"] == 30, what="the latency")
    state = state_of(sandbox)
    assert (state["limit"]["requests"], state["refused"]) == (7, [JANE])
    page.evaluate("act('POST', 'latency', { ms: -1 }, 'limits-told')")
    assert "ms" in page.until("document.querySelector('#limits-told').textContent")


def test_a_click_on_unsubscribe_is_that_of_the_recipient(
    page: Browser, sandbox: RunningSandbox
) -> None:
    ask(sandbox, "POST", address=JANE, upsert="true")
    page.click("#members button", "Unsubscribe")
    eventually(lambda: not sandbox.control.members()[JANE].subscribed, what="the opt-out")
    [event] = sandbox.control.events()
    assert event.address == JANE


def test_a_request_opens_to_its_form_and_its_answer(page: Browser, sandbox: RunningSandbox) -> None:
    ask(sandbox, "POST", address=JANE, upsert="true", vars='{"plan": "pro"}')
    page.click("#requests .opener", JANE)
    shown = page.until("document.querySelector('#requests .detail')?.textContent")
    eventually(
        lambda: (
            "Answer: 200"
            in page.evaluate("document.querySelector('#requests .detail').textContent")
        ),
        what="the answer",
    )
    shown = page.evaluate("document.querySelector('#requests .detail').textContent")
    for text in (
        f"/v3/lists/{LIST}/members",
        f"address = {JANE}",
        '"plan": "pro"',
        "1 member written",
    ):
        assert text in shown, text
    page.click("#requests .opener", JANE)
    page.until("!document.querySelector('#requests .detail')")


def test_a_404_of_a_look_at_a_new_member_does_not_look_like_a_fault(
    page: Browser, sandbox: RunningSandbox
) -> None:
    ask(sandbox, "GET", f"/{JANE}")
    page.until("document.querySelector('#requests .badge')?.textContent === '404 not there'")
    assert page.evaluate("document.querySelector('#requests .badge').className") == "badge number"
    assert "404 not there × 1" in page.evaluate("document.querySelector('#statuses').textContent")
    sandbox.control.add_fault("status", status=404, message="Mailing list x not found")
    ask(sandbox, "GET", f"/{JANE}")
    page.until("document.querySelector('#requests .badge').classList.contains('warn')")


def test_what_requests_hold_stays_text(page: Browser, sandbox: RunningSandbox) -> None:
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
    page.until("document.querySelectorAll('#requests .opener').length === 2")
    page.click("#requests .opener", "o'b")
    page.until("document.querySelectorAll('#requests .detail pre').length === 3")
    assert page.evaluate("document.querySelectorAll('img, #members b b, #requests i').length") == 0
    assert page.evaluate("document.title") == "Mailgun sandbox"
