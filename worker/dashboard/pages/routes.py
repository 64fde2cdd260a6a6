"""The addresses of a queue's pages in Flower. Importing this loads Flower."""

from pathlib import Path
from typing import Any

from tornado.web import StaticFileHandler, url

from worker.dashboard.pages.api import ListApi
from worker.dashboard.pages.handlers import STATIC
from worker.dashboard.pages.item_pages import ItemPage
from worker.dashboard.pages.job_pages import JobCancel, JobPage, JobProgress, JobStart, NewJob
from worker.dashboard.pages.jobs import Jobs
from worker.dashboard.pages.list_pages import ListPage
from worker.dashboard.pages.shown_queue import ShownQueue

FILES = Path(__file__).parent / "static"


def routes_of(queue: ShownQueue[Any]) -> list[Any]:
    """Return the handlers of the pages of one queue."""
    shared = {"queue": queue, "jobs": Jobs()}
    path, name = queue.words.path, queue.words.route
    job = rf"{path}/jobs/([A-Za-z0-9_-]+)"
    return [
        url(path, ListPage, shared, name=name),
        url(rf"{path}/{queue.words.short}/([0-9a-f-]+)", ItemPage, shared, name=f"{name}_item"),
        url(rf"{path}/jobs", NewJob, shared, name=f"{name}_jobs"),
        url(job, JobPage, shared, name=f"{name}_job"),
        url(rf"{job}/progress", JobProgress, shared, name=f"{name}_job_progress"),
        url(rf"{job}/start", JobStart, shared, name=f"{name}_job_start"),
        url(rf"{job}/cancel", JobCancel, shared, name=f"{name}_job_cancel"),
        url(f"/api{path}", ListApi, shared),
    ]


def static_files() -> Any:
    """Return the handler of the pages' style sheets and scripts."""
    return url(r"/signal/static/([a-z_.]+)", StaticFileHandler, {"path": str(FILES)}, name=STATIC)
