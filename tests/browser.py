"""A real browser without a window, driven through Chromium's DevTools protocol."""

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import requests

from tests.servers import eventually

Value = TypeVar("Value")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# A chromium of root, as in containers, runs only without its own sandbox. It sees loopback pages.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--window-size=1280,1200",
)


class Browser:
    """One page of the browser."""

    def __init__(self, port: int) -> None:
        """Use the first page of the browser that listens for its driver on this port."""
        [page, *_] = [each for each in _pages(port) if each["type"] == "page"]
        self._loop = asyncio.new_event_loop()
        self._numbers = itertools.count(1)
        self._session, self._socket = self._run(self._connect(page["webSocketDebuggerUrl"]))

    def close(self) -> None:
        """End the connection; the browser goes on."""
        self._run(self._session.close())
        self._loop.close()

    def open(self, url: str) -> None:
        """Show a page."""
        self.order("Page.navigate", url=url)
        eventually(lambda: self.evaluate("document.readyState") == "complete", 30, "the page")

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.order(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until a JavaScript expression is true, and return it."""
        return eventually(lambda: self.evaluate(script), 30, script)

    def click(self, selector: str, text: str = "") -> None:
        """Click as with a mouse on the first visible element of the selector that holds the text."""
        found = (
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".find(each => each.offsetParent && each.textContent.includes({json.dumps(text)}))"
        )
        self.until(f"!!{found}")
        x, y = self.evaluate(
            f"(() => {{ const it = {found}; it.scrollIntoView({{ block: 'center' }}); "
            "const box = it.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.order("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Type a text into an empty field."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.order("Input.insertText", text=text)

    def screenshot(self, path: Path, width: int) -> None:
        """Write a picture of the whole page."""
        self.order(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        shot = self.order("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def order(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one order to the browser and return its answer."""
        return self._run(self._order(method, params))

    def _run(self, coroutine: Coroutine[Any, Any, Value]) -> Value:
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, 60))

    async def _connect(self, url: str) -> tuple[aiohttp.ClientSession, Any]:
        session = aiohttp.ClientSession()
        return session, await session.ws_connect(url, max_msg_size=0)

    async def _order(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result


def _pages(port: int) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = requests.get(
        f"http://127.0.0.1:{port}/json/list", timeout=30
    ).json()
    return pages


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run a browser; skip the test where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [program, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
            try:
                told = Path(folder, "DevToolsActivePort")
                eventually(lambda: told.exists() and told.read_text().count("\n"), 60, "a browser")
                browser = Browser(int(told.read_text().splitlines()[0]))
                yield browser
                browser.close()
            finally:
                process.kill()
