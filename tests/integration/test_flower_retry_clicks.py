"""The Retries pages as a person uses them: by clicks in a real headless Chromium."""

import re
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsers import visit
from tests.integration.bench import Bench, identified
from tests.integration.clicks import HOSTILE, ROWS, open_list
from tests.integration.delayed_samples import Sample, delay, waiting
from tests.integration.flowers import flower_of
from tests.integration.job_visits import gate_of
from tests.integration.shots import fits
from tests.integrations import delay_one
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue


def left(delayed: DelayQueue) -> set[str]:
    return {each.message.id for each in delayed.page()}


def test_tab_leads_to_what_is_due_next_and_a_filter_stays_in_the_link(
    page: Page, delayed: DelayQueue
) -> None:
    delay(delayed, *waiting(60))
    open_list(page, "Retries")
    expect(page.locator("#total")).to_have_text("60")
    expect(page.locator(ROWS)).to_have_count(50)
    expect(page.locator(ROWS).first).to_contain_text("m-0")
    page.get_by_label("Reason").select_option("throttled")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(ROWS)).to_have_count(20)
    assert page.url.partition("?")[2].startswith("reason=throttled&")
    page.reload()
    expect(page.locator(ROWS)).to_have_count(20)
    page.get_by_role("link", name="Clear").click()
    page.get_by_role("link", name="Next page").click()
    expect(page.locator(ROWS)).to_have_count(10)
    expect(page.locator(ROWS).last).to_contain_text("m-59")
    page.locator('th[data-column="since"]').click()
    expect(page.locator(ROWS).last).to_contain_text("m-59")
    assert "sort=since" in page.url


def test_search_goes_on_by_itself_to_the_last_delayed_event(
    page: Page, delayed: DelayQueue
) -> None:
    samples = waiting(21_000)
    for start in range(0, len(samples), 500):
        delay(delayed, *samples[start : start + 500])
    open_list(page, "Retries")
    page.get_by_label("Event id").fill("m-20999")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#progress")).to_contain_text(
        "21,000 of 21,000 events read", timeout=60_000
    )
    expect(page.locator(ROWS)).to_have_count(1)


def test_ticked_events_are_retried_after_count_sample_and_confirmation(
    page: Page, delayed: DelayQueue
) -> None:
    delay(delayed, *waiting(4))
    open_list(page, "Retries")
    retry = page.get_by_role("button", name="Retry ticked now")
    expect(retry).to_be_disabled()
    page.get_by_label("Tick m-1", exact=True).check()
    page.get_by_label("Tick m-2", exact=True).check()
    retry.click()
    expect(page.locator("#count")).to_have_text("2")
    expect(page.locator("#effects")).to_contain_text("2 sent to Mailgun")
    expect(page.locator("#sample tbody tr")).to_have_count(2)
    assert len(left(delayed)) == 4
    page.get_by_role("button", name="Retry 2 events now").click()
    expect(page.locator("#state")).to_have_text("done")
    expect(page.locator("#done")).to_have_text("2")
    assert left(delayed) == {"m-0", "m-3"}
    assert delayed.redis.llen(delayed.queue) == 2
    page.get_by_role("link", name="Back to the list").click()
    expect(page.locator("#total")).to_have_text("2")


def test_all_that_match_are_buried_and_stand_in_the_other_tab(
    page: Page, delayed: DelayQueue
) -> None:
    delay(delayed, *waiting(9))
    page.goto("/retries?reason=throttled")
    page.get_by_role("button", name="Bury all that match").click()
    expect(page.get_by_text("a replay brings them back")).to_be_visible()
    page.get_by_role("button", name="Bury 3 events").click()
    expect(page.locator("#done")).to_have_text("3")
    page.get_by_role("link", name="Dead letters", exact=True).click()
    expect(page.locator(ROWS)).to_have_count(3)
    expect(page.locator(ROWS).first).to_contain_text("buried")
    assert len(left(delayed)) == 6


def test_one_event_is_purged_only_after_the_second_click(page: Page, delayed: DelayQueue) -> None:
    delay(delayed, *waiting(3))
    for confirms in (False, True):
        open_list(page, "Retries")
        page.get_by_role("link", name="m-1").click()
        page.get_by_role("button", name="Purge …").click()
        expect(page.get_by_text("A purge is permanent.")).to_be_visible()
        if confirms:
            page.get_by_role("button", name="Purge 1 event").click()
            expect(page.locator("#done")).to_have_text("1")
        else:
            page.get_by_role("button", name="Cancel").click()
            expect(page.locator("#state")).to_contain_text("nothing was changed")
            assert len(left(delayed)) == 3
    assert left(delayed) == {"m-0", "m-2"}


def test_progress_is_shown_and_a_click_cancels_the_rest(page: Page, delayed: DelayQueue) -> None:
    delay(delayed, *waiting(400))
    open_list(page, "Retries")
    page.get_by_role("button", name=re.compile("^Retry all")).click()
    page.get_by_label("A second, at most").fill("10")
    page.get_by_role("button", name="Retry 400 events now").click()
    expect(page.locator("#state")).to_contain_text("retrying, at most 10 a second")
    expect(page.locator("#figures")).to_have_text(re.compile(r"^([2-9]|\d\d+) of 400 done"))
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#state")).to_contain_text("cancelled: the rest stays as it is")
    done = int(page.locator("#done").inner_text())
    assert 0 < done < 400
    assert delayed.count() == 400 - done


def test_event_is_shown_after_a_click_and_a_person_is_found(
    page: Page, delayed: DelayQueue
) -> None:
    delay(delayed, *waiting(5), Sample("m-wendy"))
    open_list(page, "Retries")
    page.get_by_label("E-mail").fill("Wendy.Darling@bloomsbury.example")
    page.get_by_role("button", name="Find person").click()
    expect(page.locator(ROWS)).to_have_count(1)
    assert re.search(r"\?member=[0-9a-f]{12}$", page.url)
    page.get_by_role("link", name="m-wendy").click()
    expect(page.locator("#attempts tbody tr")).to_have_count(1)
    expect(page.locator("#due")).to_contain_text("in 59 min")
    page.get_by_role("button", name="Show the event").click()
    expect(page.locator("#event")).to_contain_text('"email": "wendy.darling@bloomsbury.example"')
    assert "wendy.darling" not in page.url + page.title()


def test_hostile_delayed_events_run_no_script(page: Page, delayed: DelayQueue) -> None:
    delay(delayed, Sample(HOSTILE, reason=HOSTILE, kind=HOSTILE, name=HOSTILE))
    delayed.redis.zadd(delayed.key, {HOSTILE: 5e9})
    open_list(page, "Retries")
    for number in range(2):
        page.locator(".signal-id a").nth(number).click()
        page.get_by_role("button", name="Show the event").click()
        expect(page.locator("#event")).to_be_visible()
        page.goto("/retries")
    page.get_by_label("Tick every event of this page").check()
    page.get_by_role("button", name="Retry ticked now").click()
    expect(page.locator("#sample tbody tr")).to_have_count(2)
    # The pages' fixture fails if a script ran or was blocked.


def test_retry_by_clicks_delivers_long_before_the_event_is_due(
    own: Bench, browser: Browser
) -> None:
    with own.working(), flower_of(own) as flower, visit(browser, flower.url, user=None) as page:
        event = {**identified("jane@example.com", name="Jane"), "messageId": "m-jane"}
        message = replace(Sample("m-jane").message(), args=(event,))
        delay_one(own.delay_queue, message, 3600.0)
        open_list(page, "Retries")
        page.get_by_role("link", name="m-jane").click()
        page.get_by_role("button", name="Retry now …").click()
        page.get_by_role("button", name="Retry 1 event now").click()
        expect(page.locator("#done")).to_have_text("1")
        assert own.member("jane@example.com").name == "Jane"
        page.goto("/retries")
        expect(page.get_by_text("There are no delayed events.")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_the_window_in_both_themes(
    browser: Browser,
    letters_flower: str,
    delayed: DelayQueue,
    width: int,
    scheme: str,
    letters: DeadLetterQueue,
) -> None:
    gate_of(letters).pause()
    samples = [replace(each, wait=40 + each.wait % 3600 * 0.8) for each in waiting(400)]
    delay(delayed, *samples)
    with visit(browser, letters_flower, width=width, scheme=scheme) as page:
        page.goto("/retries")
        fits(page, f"retries-{scheme}-{width}")
        page.locator(".signal-id a").first.click()
        fits(page, f"retry-{scheme}-{width}")
        page.get_by_role("button", name="Retry now …").click()
        expect(page.locator("#confirm")).to_be_visible()
        fits(page, f"retry-now-{scheme}-{width}")
        assert page.evaluate("document.documentElement.dataset.bsTheme") == scheme
