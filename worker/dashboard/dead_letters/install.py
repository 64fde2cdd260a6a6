"""Put the Dead letters pages into Flower, before Flower starts. Importing this loads Flower."""

from pathlib import Path

from flower import urls
from tornado.web import StaticFileHandler, url

from worker.dashboard.dead_letters.api import ListApi
from worker.dashboard.dead_letters.integration import Integration
from worker.dashboard.dead_letters.job import Jobs
from worker.dashboard.dead_letters.job_pages import (
    JobCancel,
    JobPage,
    JobProgress,
    JobStart,
    NewJob,
)
from worker.dashboard.dead_letters.letter_pages import LetterPage
from worker.dashboard.dead_letters.list_pages import ListPage
from worker.dashboard.dead_letters.navbar import templates
from worker.settings import Settings

STATIC = Path(__file__).parent / "static"


def install(settings: Settings) -> None:
    """Add the pages for the integration of `settings`."""
    shared = {"integration": Integration(settings)}
    with_jobs = {**shared, "jobs": Jobs()}
    job = r"/dead-letters/jobs/([A-Za-z0-9_-]+)"
    urls.handlers[:0] = [
        url(r"/dead-letters", ListPage, with_jobs, name="dead_letters"),
        url(r"/dead-letters/letter/([0-9a-f-]+)", LetterPage, shared, name="dead_letter"),
        url(r"/dead-letters/jobs", NewJob, with_jobs, name="dead_letter_jobs"),
        url(job, JobPage, with_jobs, name="dead_letter_job"),
        url(rf"{job}/progress", JobProgress, with_jobs, name="dead_letter_job_progress"),
        url(rf"{job}/start", JobStart, with_jobs, name="dead_letter_job_start"),
        url(rf"{job}/cancel", JobCancel, with_jobs, name="dead_letter_job_cancel"),
        url(
            r"/dead-letters/static/([a-z_.]+)",
            StaticFileHandler,
            {"path": str(STATIC)},
            name="dead_letters_static",
        ),
        url(r"/api/dead-letters", ListApi, shared),
    ]
    urls.settings["template_loader"] = templates(urls.settings)
