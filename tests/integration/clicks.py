"""What a person does on both lists in Flower, the Dead letters and the Retries page."""

from playwright.sync_api import Page, expect

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
ROWS = "#rows tbody tr"


def open_list(page: Page, tab: str) -> None:
    """Open Flower and click on the tab."""
    page.goto("/")
    page.get_by_role("link", name=tab, exact=True).click()
    expect(page.locator("#total")).to_be_visible()
    page.wait_for_load_state()  # until then the page's script does not hear clicks
