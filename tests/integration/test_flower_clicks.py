"""The Dead letters pages as a person uses them: by clicks in a real headless Chromium."""

import re
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsers import visit
from tests.integration.bench import Bench, identified
from tests.integration.clicks import HOSTILE, ROWS, open_list
from tests.integration.flowers import flower_of
from tests.integration.letter_samples import Sample, bury, numbered
from tests.integration.shots import fits
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.settings import Settings
from worker.wiring import gate_for


def left(letters: DeadLetterQueue) -> set[str]:
    return {each.message.id for each in letters.oldest_first()}


def test_tab_leads_to_the_letters_and_a_filter_stays_in_the_link(
    page: Page, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(60))
    open_list(page, "Dead letters")
    expect(page.locator("#total")).to_have_text("60")
    expect(page.locator(ROWS)).to_have_count(50)
    page.get_by_label("Reason").select_option("unauthorized")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(ROWS)).to_have_count(20)
    assert page.url.partition("?")[2].startswith("reason=unauthorized&")
    page.reload()
    expect(page.locator(ROWS)).to_have_count(20)
    page.get_by_role("link", name="Clear").click()
    page.get_by_role("link", name="Next page").click()
    expect(page.locator(ROWS)).to_have_count(10)
    expect(page.locator(ROWS).last).to_contain_text("m-0")


def test_click_on_a_column_sorts_the_rows_and_stays_in_the_link(
    page: Page, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(9))
    open_list(page, "Dead letters")
    status = page.locator('th[data-column="status"]')
    status.click()
    expect(page.locator(ROWS).first).to_contain_text("400")
    status.click()
    expect(page.locator(ROWS).first).to_contain_text("404")
    assert "sort=-status" in page.url
    page.reload()
    expect(page.locator(ROWS).first).to_contain_text("404")
    page.get_by_role("link", name="Died (UTC)").click()
    expect(status).to_have_attribute("aria-sort", "descending")
    assert "order=oldest" in page.url


def test_search_goes_on_by_itself_to_the_last_letter(page: Page, letters: DeadLetterQueue) -> None:
    samples = numbered(21_000)
    for start in range(0, len(samples), 500):
        bury(letters, *samples[start : start + 500])
    open_list(page, "Dead letters")
    page.get_by_label("Event id").fill("m-0")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#progress")).to_contain_text(
        "21,000 of 21,000 letters read", timeout=60_000
    )
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator("#bar")).to_have_count(0)


def test_ticked_letters_are_replayed_after_count_sample_and_confirmation(
    page: Page, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(4))
    open_list(page, "Dead letters")
    replay = page.get_by_role("button", name="Replay ticked")
    expect(replay).to_be_disabled()
    page.get_by_label("Tick m-1", exact=True).check()
    page.get_by_label("Tick m-2", exact=True).check()
    expect(page.locator("#ticked")).to_have_text("2 ticked")
    replay.click()
    expect(page.locator("#count")).to_have_text("2")
    expect(page.locator("#effects")).to_contain_text("2 sent to Mailgun")
    expect(page.locator("#sample tbody tr")).to_have_count(2)
    assert len(left(letters)) == 4
    page.get_by_role("button", name="Replay 2 letters").click()
    expect(page.locator("#state")).to_have_text("done")
    expect(page.locator("#done")).to_have_text("2")
    assert left(letters) == {"m-0", "m-3"}
    assert letters.redis.llen(letters.queue) == 2
    page.get_by_role("link", name="Back to the list").click()
    expect(page.locator("#total")).to_have_text("2")


def test_all_that_match_are_purged_only_after_the_second_click(
    page: Page, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(9))
    page.goto("/dead-letters?reason=rejected")
    page.get_by_role("button", name="Purge all that match").click()
    expect(page.get_by_text("A purge is permanent.")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#state")).to_contain_text("nothing was changed")
    assert len(left(letters)) == 9
    page.goto("/dead-letters?reason=rejected")
    page.get_by_role("button", name="Purge all that match").click()
    page.get_by_role("button", name="Purge 3 letters").click()
    expect(page.locator("#done")).to_have_text("3")
    assert letters.totals() == {"unauthorized": 3, "list_not_found": 3}


def test_progress_is_shown_and_a_click_cancels_the_rest(
    page: Page, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(400))
    open_list(page, "Dead letters")
    page.get_by_role("button", name=re.compile("^Replay all")).click()
    page.get_by_label("A second, at most").fill("10")
    page.get_by_role("button", name="Replay 400 letters").click()
    expect(page.locator("#state")).to_contain_text("replaying, at most 10 a second")
    expect(page.locator("#figures")).to_have_text(re.compile(r"^([2-9]|\d\d+) of 400 done"))
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#state")).to_contain_text("cancelled: the rest stays as it is")
    done = int(page.locator("#done").inner_text())
    assert 0 < done < 400
    assert letters.count() == 400 - done


def test_event_of_a_letter_is_shown_after_a_click(page: Page, letters: DeadLetterQueue) -> None:
    bury(letters, Sample("m-1"))
    open_list(page, "Dead letters")
    page.get_by_role("link", name="m-1").click()
    expect(page.locator("#cause")).to_contain_text("Missing or malformed email")
    expect(page.locator("#attempts tbody tr")).to_have_count(2)
    expect(page.locator("#effect")).to_contain_text("sent to Mailgun")
    assert "bloomsbury.example" not in page.locator("main").inner_text().replace(
        "w…@bloomsbury.example", ""
    )
    page.get_by_role("button", name="Show the event").click()
    expect(page.locator("#event")).to_contain_text('"email": "wendy.darling@bloomsbury.example"')
    expect(page.locator("#event")).to_contain_text("address=wendy.darling@bloomsbury.example")
    assert "wendy" not in page.url + page.title()


def test_person_is_found_by_address_and_the_link_holds_a_digest(
    page: Page, letters: DeadLetterQueue
) -> None:
    bury(letters, *numbered(5), Sample("m-wendy"))
    open_list(page, "Dead letters")
    page.get_by_label("E-mail").fill("Wendy.Darling@bloomsbury.example")
    page.get_by_role("button", name="Find person").click()
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator(ROWS)).to_contain_text("m-wendy")
    assert re.search(r"\?member=[0-9a-f]{12}$", page.url)


def test_hostile_letters_run_no_script(page: Page, letters: DeadLetterQueue) -> None:
    bury(
        letters,
        Sample(HOSTILE, kind=HOSTILE, name=HOSTILE, answer=HOSTILE),
        Sample("m-2", DeadLetterReason.MALFORMED_EMAIL, email=HOSTILE, answer=HOSTILE),
    )
    letters.redis.lpush(letters.key, HOSTILE)
    open_list(page, "Dead letters")
    for number in range(3):
        page.locator(".signal-id a").nth(number).click()
        page.get_by_role("button", name="Show the event").click()
        expect(page.locator("#event")).to_be_visible()
        page.goto("/dead-letters")
    page.get_by_label("Tick every letter of this page").check()
    page.get_by_role("button", name="Replay ticked").click()
    expect(page.locator("#sample tbody tr")).to_have_count(3)
    # The pages' fixture fails if a script ran or was blocked.


def test_replay_by_clicks_delivers_once_the_cause_is_fixed(own: Bench, browser: Browser) -> None:
    own.sandbox.control.add_fault(
        "status", status=400, count=1, message="Bad Request", address="jane@example.com"
    )
    with own.working(), flower_of(own) as flower, visit(browser, flower.url, user=None) as page:
        own.put({**identified("jane@example.com", name="Jane"), "messageId": "m-jane"})
        own.the_dead_letter()
        open_list(page, "Dead letters")
        page.get_by_role("link", name="m-jane").click()
        page.get_by_role("button", name="Replay …").click()
        page.get_by_role("button", name="Replay 1 letter").click()
        expect(page.locator("#done")).to_have_text("1")
        assert own.member("jane@example.com").name == "Jane"
        page.goto("/dead-letters")
        expect(page.get_by_text("There are no dead letters.")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_the_window_in_both_themes(
    browser: Browser, letters_flower: str, letters: DeadLetterQueue, width: int, scheme: str
) -> None:
    gate_for(Settings(signal_integration="letters"), letters.redis).pause()
    reasons = (
        *[DeadLetterReason.REJECTED] * 4,
        DeadLetterReason.UNAUTHORIZED,
        DeadLetterReason.LIST_NOT_FOUND,
    )
    samples = [replace(each, age=30 + each.age**2 / 60) for each in numbered(400, reasons)]
    bury(letters, *samples)
    with visit(browser, letters_flower, width=width, scheme=scheme) as page:
        page.goto("/dead-letters")
        fits(page, f"dead-letters-{scheme}-{width}")
        page.locator(".signal-id a").first.click()
        fits(page, f"dead-letter-{scheme}-{width}")
        page.get_by_role("button", name="Replay …").click()
        expect(page.locator("#confirm")).to_be_visible()
        fits(page, f"dead-letter-replay-{scheme}-{width}")
        assert page.evaluate("document.documentElement.dataset.bsTheme") == scheme
