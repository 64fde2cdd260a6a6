"""What the handlers of all pages share: login, tokens, headers, errors in one line."""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from flower.views import BaseHandler
from tornado.escape import xhtml_escape
from tornado.web import HTTPError, RequestHandler

from worker.dashboard.pages.access import user_named, why_not_change, why_not_see_events
from worker.dashboard.pages.jobs import Jobs
from worker.dashboard.pages.query import ListQuery, parse_query
from worker.dashboard.pages.rows import fit
from worker.dashboard.pages.shown_queue import ShownQueue
from worker.monitoring.hold_advice import advice_on
from worker.ops.times import clock_time, span
from worker.privacy import whereabouts

logger = logging.getLogger("signal_mailgun.dashboard")

STATIC = "signal_static"  # the name of the handler of style sheets and scripts
HEADERS = {
    # Pages here run no script and send no form but their own.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
}

Value = TypeVar("Value")


class PageHandler(BaseHandler):
    """A handler that answers errors in one line and logs nothing that an event holds."""

    def initialize(self, queue: ShownQueue[Any], jobs: Jobs) -> None:
        """Keep the queue that is shown, and its jobs."""
        self.queue, self.jobs = queue, jobs

    def set_default_headers(self) -> None:
        """Set Flower's headers, and stricter ones."""
        super().set_default_headers()
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def check_xsrf_cookie(self) -> None:
        """Refuse a request without the page's token, with any kind of login and without one."""
        super().check_xsrf_cookie()
        RequestHandler.check_xsrf_cookie(self)

    async def read(self, call: Callable[..., Value], *args: Any) -> Value:
        """Return what `call` returns, which may block.

        Raises:
            HTTPError: Redis does not answer, or refuses; the message says what to do.
        """
        try:
            return await asyncio.to_thread(call, *args)
        except redis.RedisError as error:
            # It may look up a name.
            line = await asyncio.to_thread(self.queue.trouble, error)
            raise HTTPError(503, "%s", line) from None

    def query(self) -> ListQuery:
        """Return the query of the request. Raises `ValueError`."""
        return parse_query(self.query_arguments(), self.queue.shape)

    def query_arguments(self) -> dict[str, str]:
        """Return the arguments of the request's query string."""
        return {name: self.get_query_argument(name) for name in self.request.query_arguments}

    def place_of(self, page: str = "", *arguments: str) -> str:
        """Return the path of the queue's list, or of another of its pages."""
        route = self.queue.words.route
        return str(self.reverse_url(f"{route}_{page}" if page else route, *arguments))

    @property
    def why_not_change(self) -> str:
        """Why nothing may be changed, or ""."""
        return why_not_change(self.application.options)

    @property
    def why_not_see_events(self) -> str:
        """Why this user may not see events, or ""."""
        options = self.application.options
        user = user_named(options, self.current_user, self.request.headers.get("Authorization", ""))
        return why_not_see_events(options, self.queue.settings.flower_event_viewers, user)

    def show(self, template: str, **values: Any) -> None:
        """Answer with a page."""
        self.render(
            template,
            static=lambda name: self.reverse_url(STATIC, name),
            place_of=self.place_of,
            queue=self.queue,
            words=self.queue.words,
            clock_time=clock_time,
            span=span,
            advice_on=advice_on,
            with_code=with_code,
            fit=fit,
            why_not_change=self.why_not_change,
            integration_name=self.queue.settings.signal_integration,
            **values,
        )

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        """Log where an error arose. Its text may quote an event."""
        if isinstance(error, HTTPError):
            super().log_exception(kind, error, trace)
        else:
            logger.error("a bug, please report it: %s", whereabouts(error))

    def write_error(self, status_code: int, **details: Any) -> None:
        """Answer with one line instead of Flower's page with a traceback."""
        if status_code != 500:
            super().write_error(status_code, **details)
            return
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(f"a bug, please report it: {whereabouts(details['exc_info'][1])}\n")


def with_code(text: str) -> str:
    """Return HTML that shows `text`, escaped, with what stands in backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", xhtml_escape(text))
