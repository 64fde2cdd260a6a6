"""A real headless Chromium for tests, driven over its DevTools protocol.

It is the one that `CHROMIUM` names, else any Chromium or Chrome of the system, else Playwright's.
"""

import os
import shutil
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Dialog,
    Error,
    Page,
    expect,
    sync_playwright,
)

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
SECONDS = 30
# Without it Debian's Chromium draws each page by a GPU that the CPU imitates.
OPTIONS = ("--disable-gpu",)
sites_left: dict[Browser, str] = {}  # which site a browser's page has left in good order
NONE = (
    "no Chromium or Chrome found: apt-get install chromium, or make browser, "
    "or CHROMIUM=/path/to/chrome"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium. Without one the test is skipped, and fails in continuous integration."""
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        found = of_the_system() or playwright.chromium.executable_path
        if not Path(found).is_file():
            if os.environ.get("CI"):
                pytest.fail(NONE)
            pytest.skip(NONE)
        browser = playwright.chromium.launch(executable_path=found, args=OPTIONS)
        yield browser
        browser.close()


def of_the_system() -> str | None:
    """Return the path of the Chromium that `CHROMIUM` names, else of one that is installed."""
    named = os.environ.get("CHROMIUM")
    if named and not shutil.which(named):
        pytest.fail(f"CHROMIUM={named} is no program")
    return next(filter(None, map(shutil.which, [named] if named else NAMES)), None)


def login(user: str) -> str:
    """Return the user's name and password as a browser sends them."""
    return b64encode(f"{user}:secret".encode()).decode()


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
    page = page_at(browser, url)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(
        color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
    )
    # Credentials that wait to be asked for would switch off the cache.
    page.set_extra_http_headers({"Authorization": f"Basic {login(user)}"} if user else {})
    troubles: list[str] = []

    def on_error(error: Error) -> None:
        troubles.append(str(error))

    def on_dialog(dialog: Dialog) -> None:
        troubles.append(dialog.message)

    def on_message(message: ConsoleMessage) -> None:
        if message.type == "error" and not (may_log and may_log in message.text):
            troubles.append(message.text)

    page.on("pageerror", on_error)
    page.on("dialog", on_dialog)
    page.on("console", on_message)
    yield page
    leave(browser, page, url)
    page.remove_listener("pageerror", on_error)
    page.remove_listener("dialog", on_dialog)
    page.remove_listener("console", on_message)
    assert troubles == []


def page_at(browser: Browser, url: str) -> Page:
    """Return the page on which the browser visits this site.

    It stays the same from visit to visit: a new one costs seconds of CPU. Only the page of another
    site, or of a visit that failed, is closed.
    """
    if sites_left.pop(browser, None) == url:
        [context] = browser.contexts
        return context.pages[0]
    for context in browser.contexts:
        context.close()
    context = browser.new_context(base_url=url)
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    return page


def leave(browser: Browser, page: Page, url: str) -> None:
    """Leave the site, with nothing of the visit kept but the cache."""
    page.goto("about:blank")
    page.context.clear_cookies()
    devtools = page.context.new_cdp_session(page)
    devtools.send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "local_storage"})
    devtools.detach()
    sites_left[browser] = url
