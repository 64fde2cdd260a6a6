"""A real headless Chromium for tests, driven over its DevTools protocol.

It is the one that `CHROMIUM` names, else any Chromium or Chrome of the system, else Playwright's.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

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
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


def of_the_system() -> str | None:
    """Return the path of the Chromium that `CHROMIUM` names, else of one that is installed."""
    named = os.environ.get("CHROMIUM")
    if named and not shutil.which(named):
        pytest.fail(f"CHROMIUM={named} is no program")
    return next(filter(None, map(shutil.which, [named] if named else NAMES)), None)


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
