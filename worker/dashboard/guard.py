"""Guard of Flower's pages and API against cross-site requests, DNS rebinding and clickjacking.

Flower without a login answers any page in a browser: it allows all origins to read, and checks
neither Host nor Origin. With this guard no page of another site can read or send anything, and no
site can show Flower in a frame and have its buttons clicked.
"""

import os
from typing import Any

from flower.app import Flower
from flower.views import BaseHandler
from tornado.web import RequestHandler

from worker.web_origin import is_from_elsewhere, is_safe_host

# The environment variable with further names, separated by commas, under which Flower without a
# login answers, besides this machine's own names.
ALLOWED_HOSTS = "FLOWER_ALLOWED_HOSTS"
STRANGE_NAME = (
    f"Flower is not known by this name: set FLOWER_BASIC_AUTH, or the name in {ALLOWED_HOSTS}.\n"
)
ELSEWHERE = "Flower takes no requests from pages of other sites.\n"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
}


class Refuses(RequestHandler):
    """A handler that answers each request with 403 and one line."""

    def initialize(self, why: str) -> None:
        """Answer with `why`."""
        self._why = why

    def prepare(self) -> None:
        """Answer before Tornado calls a method of the request."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(self._why)

    def check_xsrf_cookie(self) -> None:
        """Skip the check: the request is refused anyway."""


def refusal(request: Any, options: Any) -> str:
    """Return why Flower refuses the request, or "" if it does not; its options tell of a login."""
    allowed = [each.strip() for each in os.environ.get(ALLOWED_HOSTS, "").split(",")]
    # A browser sends no login along to Flower under a name that another site has given it.
    has_login = options.basic_auth or options.auth
    if not has_login and not is_safe_host(request.headers.get("Host", ""), allowed):
        return STRANGE_NAME
    return ELSEWHERE if is_from_elsewhere(request.method, request.headers) else ""


def install() -> None:
    """Put the guard before Flower's pages. Call it after Flower is loaded and before it starts."""
    unguarded = Flower.find_handler

    def find_handler(self: Any, request: Any, **options: Any) -> Any:
        if why := refusal(request, self.options):
            return self.get_handler_delegate(request, Refuses, {"why": why})
        return unguarded(self, request, **options)

    def set_default_headers(self: Any) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)

    Flower.find_handler = find_handler
    BaseHandler.set_default_headers = set_default_headers
