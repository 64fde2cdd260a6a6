"""Pages of a job: ask for it, see what it would do, confirm it, watch it, cancel it."""

from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from tornado.web import HTTPError, authenticated

from worker.dashboard.pages.handlers import PageHandler, logger
from worker.dashboard.pages.job import AT_WORK, ENDED, Job, State
from worker.dashboard.pages.jobs import TooManyJobs
from worker.dashboard.pages.query import SIZES, parse_query
from worker.dashboard.pages.shown_queue import Selection
from worker.queue.intake import shown_id

RATE, MOST_RATE = 100, 1000  # messages a second
MOST_TICKED = 2 * SIZES[-1]  # a search may show more rows than a page has
SHOWN = 10  # messages of the sample
FORGOTTEN = "This job is no longer known: Flower was restarted, or others came after it."


class JobHandler(PageHandler):
    """A handler about jobs. Every POST asks whether anything may be changed here."""

    def prepare(self) -> None:
        """Refuse changes if Flower is read-only, or open to all."""
        if self.request.method == "POST" and (why := self.why_not_change):
            raise HTTPError(403, "%s", why)

    def job(self, id: str) -> Job:
        """Return the job. Raises `HTTPError` with status 404 if there is none."""
        job = self.jobs.with_id(id)
        if job is None:
            raise HTTPError(404, "%s", FORGOTTEN)
        return job

    def lead_to(self, job: Job) -> None:
        """Lead to the job's page."""
        self.redirect(self.place_of("job", job.id), status=303)


class NewJob(JobHandler):
    """Ask for a job: count first."""

    @authenticated
    async def post(self) -> None:
        """Begin to count the messages that are meant; nothing is changed yet."""
        name, _, scope = self.get_body_argument("act", "").partition("-")
        try:
            act = self.queue.act_named(name)
            meant = await self.read(self._meant, scope)
            job = Job(self.queue, act, meant)
            self.jobs.add(job)
        except (ValueError, TooManyJobs) as error:
            self.set_status(HTTPStatus.BAD_REQUEST)
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.finish(f"{error}\n")
            return
        self.lead_to(job)

    def _meant(self, scope: str) -> Selection[Any]:
        if scope == "all":
            arguments = dict(parse_qsl(self.get_body_argument("query", "")))
            return self.queue.matching(parse_query(arguments, self.queue.shape))
        keys, short = set(self.get_body_arguments("key")), self.queue.words.short
        if scope != "ticked" or not keys:
            raise ValueError(f"no {short} is ticked: go back and tick some")
        if len(keys) > MOST_TICKED:
            raise ValueError(f"more than {MOST_TICKED} {short}s are ticked; use a filter")
        return self.queue.ticked(keys)


class JobPage(JobHandler):
    """What a job would do, does, or did."""

    @authenticated
    async def get(self, id: str) -> None:
        """Show the job."""
        job = self.job(id)
        hold = await self.read(self.queue.hold)
        # Read once: the job's thread may go on while the page is made.
        state = job.state
        self.show(
            "pages_job.html",
            job=job,
            act=job.act,
            state=state,
            at_work=state in AT_WORK,
            counts=sorted(job.survey.counts.copy().items(), key=lambda each: -each[1]),
            sample=job.survey.sample[:SHOWN],
            hold=hold,
            shown_id=shown_id,
            rate=(RATE, MOST_RATE),
        )


class JobProgress(JobHandler):
    """How far a job is, as JSON."""

    @authenticated
    async def get(self, id: str) -> None:
        """Answer with the job's figures."""
        job = self.job(id)
        counts = job.state == State.COUNTING
        self.write(
            {
                "state": job.state,
                "value": job.read if counts else job.done + job.gone,
                "max": job.queued if counts else job.survey.total,
                "found": job.survey.total,
                "done": job.done,
            }
        )


class JobStart(JobHandler):
    """The confirmation."""

    @authenticated
    async def post(self, id: str) -> None:
        """Begin, at the rate that the form names."""
        job, text = self.job(id), self.get_body_argument("rate", "")
        is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_RATE))
        if not (is_number and 1 <= int(text) <= MOST_RATE):
            raise HTTPError(400, "%s", f"the rate takes a number from 1 to {MOST_RATE}")
        try:
            begins = self.jobs.start(job, int(text))
        except TooManyJobs as error:
            raise HTTPError(400, "%s", str(error)) from None
        if begins:
            logger.warning(
                "%s of %d %s begins: asked for in Flower, at most %s a second",
                job.act.noun,
                job.survey.total,
                self.queue.words.many,
                text,
            )
        self.lead_to(job)


class JobCancel(JobHandler):
    """The click that ends a job."""

    @authenticated
    async def post(self, id: str) -> None:
        """End the job; what it has done stays done."""
        job = self.job(id)
        if job.state not in ENDED:
            job.cancel()
            logger.warning("%s of %s was cancelled in Flower", job.act.noun, self.queue.words.many)
        self.lead_to(job)
