"""A real headless Chromium for tests: the system's own, driven over its DevTools protocol."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 30
NONE = "there is no Chromium on this machine: apt-get install chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium. Without one the test is skipped, and fails in continuous integration."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(NONE)
        pytest.skip(NONE)
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@contextmanager
def visit(
    browser: Browser,
    url: str,
    *,
    user: str | None = "ops",
    width: int = 1280,
    scheme: str = "light",
    may_log: str = "",
) -> Iterator[Page]:
    """Open a page of the site at `url`; fail if a script failed on it.

    Args:
        browser: The browser.
        url: The site's address.
        user: The login; None: there is none.
        width: The window's width.
        scheme: `light` or `dark`.
        may_log: A part of what the console may show as an error; "": nothing.
    """
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        http_credentials={"username": user, "password": "secret"} if user else None,
    )
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))

    def on_message(message: ConsoleMessage) -> None:
        if message.type == "error" and not (may_log and may_log in message.text):
            troubles.append(message.text)

    page.on("console", on_message)
    yield page
    context.close()
    assert troubles == []
