"""Flower's Tasks tab: its columns, and answers of its HTTP API to what is switched off.

Flower says "Revoked" without asking a worker, and waits for results that are never stored. Its
pages show these answers as they show its own. The workers answer for all else that is switched off
(consumer/remote_control.py), and Flower passes their answers on.
"""

import os
from typing import Any

from flower import urls
from flower.api import BaseApiHandler
from flower.utils.tasks import get_task_by_id
from flower.views.tasks import TASK_COLUMNS, TaskView
from tornado.web import HTTPError, authenticated, url

from worker.consumer.switched_off import RESULTS, REVOKE, TIME_LIMIT
from worker.queue.intake import shown_id

ANSWERS = {
    r"/api/task/revoke/(.+)": f"Nothing was revoked: this is {REVOKE}.",
    r"/api/task/abort/(.+)": f"Nothing was aborted: this is {REVOKE}.",
    r"/api/task/apply/(.+)": f"Nothing was sent: this is {RESULTS}.",
    r"/api/task/result/(.+)": f"There is no result: this is {RESULTS}.",
    # Flower's page reads this answer as HTML and shows its text. It does not show plain text.
    r"/api/task/timeout/(.+)": f"<p>No limit was set: this is {TIME_LIMIT}.</p>",
}
# The environment variable of Flower's option. Its configuration file and command line outrank it.
COLUMNS_OPTION = "FLOWER_TASKS_COLUMNS"
COLUMNS = "uuid,args,state,result,eta,retries,received,runtime,name,worker"
# Flower's name of a column -> what this program's tasks have there.
HEADINGS = {
    "uuid": "Event or bundle",
    "args": "Kind",
    "result": "Result, or reason",
    "eta": "Next try",
}
# Why Flower has no row of a task, and what to do then.
UNKNOWN = (
    "Flower has no row of {id}. It lists what it heard of since it was started, and of a bundle's "
    "events those that wait or died: an event that was delivered in a bundle has no row. "
    "`signal-mailgun explain {id}` says what Redis knows of it; if it died, the tab Dead letters "
    "finds it by its id."
)


class TaskPage(TaskView):
    """Flower's page of a task, which says what to do if there is no such task."""

    @authenticated
    def get(self, task_id: str) -> None:
        """Answer with the page, or 404 and what to do."""
        if get_task_by_id(self.application.events, task_id) is None:
            raise HTTPError(404, UNKNOWN.replace("{id}", shown_id(task_id)))
        super().get(task_id)


class SaysWhy(BaseApiHandler):
    """A handler that refuses each request with 403 and a text that says why."""

    def initialize(self, why: str) -> None:
        """Answer with `why`."""
        self._why = why

    @authenticated
    async def post(self, *_: Any) -> None:
        """Refuse the request."""
        self.set_status(403)
        self.write(self._why)

    get = post


def install() -> None:
    """Set columns and answers, after Flower is loaded and before it reads its options."""
    os.environ.setdefault(COLUMNS_OPTION, COLUMNS)
    TASK_COLUMNS.update(HEADINGS)
    urls.handlers[:0] = [
        url(r"/task/(.+)", TaskPage),
        *(url(pattern, SaysWhy, {"why": why}) for pattern, why in ANSWERS.items()),
    ]
