"""The sandbox's HTTP server: it listens until a signal stops it."""

import asyncio
import secrets
import signal
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp import web

from worker.sandbox.control import control
from worker.sandbox.http import respond
from worker.sandbox.state import SandboxConfig, SandboxState
from worker.web_origin import is_address, is_allowed, is_from_elsewhere, is_loopback

MAX_BODY_BYTES = 64 * 2**20
# Requests under way, mostly hanging ones, have this long to end before the server cuts them off.
STOP_SECONDS = 0.2
PAGE = Path(__file__).with_name("page.html")
# The placeholder in the page; each answer replaces it by its own nonce.
NONCE = "NONCE"


def serve(config: SandboxConfig, ready: Callable[[str], None]) -> None:
    """Listen until SIGINT or SIGTERM.

    `ready` is called with the base URL once the server answers requests.

    Raises:
        OSError: If the port is in use.
        ValueError: If the host is not loopback and the configuration does not allow that.
    """
    if not (config.allow_remote or is_loopback(config.host)):
        raise ValueError(f"{config.host} is not a loopback address: the control routes need no key")
    asyncio.run(_serve(config, ready))


async def _serve(config: SandboxConfig, ready: Callable[[str], None]) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    handler = partial(handle, SandboxState(config, now=time.time()))
    server = web.Server(handler, request_factory=_request, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port, backlog=1024).start()
        ready(base_url(*runner.addresses[0][:2]))
        await stopping.wait()
    finally:
        await runner.cleanup()


async def handle(state: SandboxState, request: web.BaseRequest) -> web.StreamResponse:
    """Answer one request: for the page, a control route, or Mailgun's API.

    Mailgun's paths are decoded before they are split. No router of aiohttp's does that, so
    `api.route` matches them.
    """
    if why := refusal(state.config, request):
        return web.json_response({"error": why}, status=403)
    path = request.raw_path.partition("?")[0]
    if path == "/" and request.method in ("GET", "HEAD"):
        return page()
    if path.startswith("/sandbox/"):
        return await control(state, request)
    try:
        return await respond(state, request)
    except ConnectionError:  # the client has closed the connection
        return web.Response()


def refusal(config: SandboxConfig, request: web.BaseRequest) -> str:
    """Return why a request is refused, whatever its path, or "" if it is not refused.

    A request may use loopback names and the configured names, with `allow_remote` also IP
    addresses. A page under an IP address comes from that address; a page under a name can come from
    any.
    """
    host = request.headers.get("Host", "")
    known = is_loopback(host) or is_allowed(host, (*config.allow_hosts, config.host))
    if not (known or (config.allow_remote and is_address(host))):
        return "the sandbox is not known by that name: start it with --allow-host NAME"
    if is_from_elsewhere(request.method, request.headers):
        return "the sandbox is not for pages from elsewhere"
    return ""


def page() -> web.Response:
    """Return the page for browsers.

    Its policy lets no script run but its own, whatever names and variables of members hold.
    """
    nonce = secrets.token_urlsafe(16)
    policy = (
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
        "connect-src 'self'; img-src data:; "
        f"style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'"
    )
    text = PAGE.read_text(encoding="utf-8").replace(NONCE, nonce)
    return web.Response(
        text=text, content_type="text/html", headers={"Content-Security-Policy": policy}
    )


def base_url(host: str, port: int) -> str:
    """Return the URL at which this machine reaches a server that listens on this address."""
    address = ip_address(host)
    if address.is_unspecified:
        return f"http://127.0.0.1:{port}"
    return f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY_BYTES
    )
