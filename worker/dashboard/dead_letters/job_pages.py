"""Pages of a replay or purge: ask for it, see what it would do, confirm it, watch it, cancel it."""

from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import parse_qsl

from tornado.web import HTTPError, authenticated

from worker.dashboard.dead_letters.handlers import DeadLetterHandler, logger
from worker.dashboard.dead_letters.integration import Integration
from worker.dashboard.dead_letters.job import (
    AT_WORK,
    Action,
    Job,
    Jobs,
    Meant,
    State,
    TooManyJobs,
)
from worker.dashboard.dead_letters.query import SIZES, ListQuery, parse_query
from worker.dashboard.dead_letters.rows import fit
from worker.ops.dead_letter_pages import LetterKey, parsed_key
from worker.queue.dead_letter_filter import DeadLetterFilter
from worker.queue.intake import shown_id

RATE, MOST_RATE = 100, 1000  # letters a second
MOST_TICKED = 2 * SIZES[-1]  # a search may show more rows than a page has
SHOWN = 10  # letters of the sample
FORGOTTEN = (
    "This replay or purge is no longer known: Flower was restarted, or others came after it."
)


class JobHandler(DeadLetterHandler):
    """A handler that knows the jobs. Every POST asks whether anything may be changed here."""

    def initialize(self, integration: Integration, jobs: Jobs) -> None:  # type: ignore[override]
        """Keep the integration and its jobs."""
        super().initialize(integration)
        self.jobs = jobs

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
        self.redirect(self.reverse_url("dead_letter_job", job.id), status=303)


class NewJob(JobHandler):
    """Ask for a replay or purge: count first."""

    @authenticated
    async def post(self) -> None:
        """Begin to count the letters that are meant; nothing is changed yet."""
        action, _, scope = self.get_body_argument("act", "").partition("-")
        try:
            meant = await self.read(self._meant, scope)
            job = Job(self.integration, Action(action), meant)
            self.jobs.add(job)
        except (ValueError, TooManyJobs) as error:
            self.set_status(HTTPStatus.BAD_REQUEST)
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.finish(f"{error}\n")
            return
        self.lead_to(job)

    def _meant(self, scope: str) -> Meant:
        if scope == "all":
            query = parse_query(dict(parse_qsl(self.get_body_argument("query", ""))))
            return Meant((), self.integration.filter_of(query), in_words(query))
        keys = keys_in(self.get_body_arguments("key"))
        if scope != "ticked" or not keys:
            raise ValueError("no letter is ticked: go back and tick some")
        number = f"{len(keys)} ticked letter{'' if len(keys) == 1 else 's'}"
        return Meant(keys, DeadLetterFilter(), number)


class JobPage(JobHandler):
    """What a job would do, does, or did."""

    @authenticated
    async def get(self, id: str) -> None:
        """Show the job."""
        job = self.job(id)
        hold = await self.read(self.integration.hold)
        # Read once: the job's thread may go on while the page is made.
        state = job.state
        self.show(
            "dead_letter_job.html",
            job=job,
            state=state,
            at_work=state in AT_WORK,
            counts=sorted(job.survey.counts.copy().items(), key=lambda each: -each[1]),
            sample=job.survey.sample[:SHOWN],
            hold=hold,
            fit=fit,
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
                "%s of %d dead letters begins: asked for in Flower, at most %s a second",
                job.action,
                job.survey.total,
                text,
            )
        self.lead_to(job)


class JobCancel(JobHandler):
    """The click that ends a job."""

    @authenticated
    async def post(self, id: str) -> None:
        """End the job; what it has done stays done."""
        job = self.job(id)
        job.cancel()
        logger.warning("%s of dead letters was cancelled in Flower", job.action)
        self.lead_to(job)


def keys_in(texts: Iterable[str]) -> tuple[LetterKey, ...]:
    """Return the keys that were ticked, the oldest letter's first.

    Raises:
        ValueError: One is no key, or there are too many.
    """
    keys = {parsed_key(text) for text in texts}
    if len(keys) > MOST_TICKED:
        raise ValueError(f"more than {MOST_TICKED} letters are ticked; use a filter")
    found = [key for key in keys if key is not None]
    if len(found) < len(keys):
        raise ValueError("a ticked letter cannot be found: load the list again")
    return tuple(sorted(found, key=lambda key: key.place))


def in_words(query: ListQuery) -> str:
    """Return which letters a query means."""
    if not query.filters:
        return "all dead letters"
    filters = ", ".join(f"{name} {value}" for name, value in sorted(query.filters.items()))
    return f"all dead letters with {filters}"
