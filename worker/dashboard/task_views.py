"""Answers of Flower's HTTP API to what is switched off, if Flower's own answers would be untrue.

Flower says "Revoked" without asking a worker, and waits for results that are never stored. Its
pages show these answers as they show its own. The workers answer for all else that is switched off
(consumer/remote_control.py), and Flower passes their answers on.
"""

from typing import Any

from worker.consumer.switched_off import RESULTS, REVOKE, TIME_LIMIT

ANSWERS = {
    r"/api/task/revoke/(.+)": f"Nothing was revoked: this is {REVOKE}.",
    r"/api/task/abort/(.+)": f"Nothing was aborted: this is {REVOKE}.",
    r"/api/task/apply/(.+)": f"Nothing was sent: this is {RESULTS}.",
    r"/api/task/result/(.+)": f"There is no result: this is {RESULTS}.",
    # Flower's page reads this answer as HTML and shows its text. It does not show plain text.
    r"/api/task/timeout/(.+)": f"<p>No limit was set: this is {TIME_LIMIT}.</p>",
}


def install() -> None:
    """Put these answers before Flower's own, after Flower is loaded and before it starts."""
    from flower import urls  # noqa: PLC0415  not there in a worker's image
    from flower.api import BaseApiHandler  # noqa: PLC0415
    from tornado.web import authenticated, url  # noqa: PLC0415

    class SaysWhy(BaseApiHandler):
        """A handler that refuses each request with 403 and a text that says why."""

        def initialize(self, why: str) -> None:
            self._why = why

        @authenticated
        async def post(self, *_: Any) -> None:
            self.set_status(403)
            self.write(self._why)

        get = post

    urls.handlers[:0] = [url(pattern, SaysWhy, {"why": why}) for pattern, why in ANSWERS.items()]
