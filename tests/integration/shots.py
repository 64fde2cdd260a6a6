"""Whether a page fits its window, and a picture of it if that was asked for."""

import os
from pathlib import Path

from playwright.sync_api import Page, expect

# A folder for screenshots, such as docs.
SCREENSHOTS = os.environ.get("SCREENSHOTS")


def fits(page: Page, name: str) -> None:
    """Fail if the page is wider than its window; keep a picture if that was asked for."""
    expect(page.locator("main .page-eyebrow")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")
