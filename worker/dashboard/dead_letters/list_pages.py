"""The page "Dead letters": figures, holds, filters and a table."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from tornado.web import authenticated

from worker.dashboard.dead_letters.handlers import DeadLetterHandler
from worker.dashboard.dead_letters.integration import Integration
from worker.dashboard.dead_letters.job import Jobs
from worker.dashboard.dead_letters.picture import HEIGHT, WIDTH, picture_of
from worker.dashboard.dead_letters.query import SIZES, ListQuery
from worker.ops.dead_letter_pages import LetterPage
from worker.queue.dead_letter_filter import REASONS, parse_filter
from worker.wiring import utc_now


class ListPage(DeadLetterHandler):
    """The list. A POST looks for a person by address and leads to a link with a digest."""

    def initialize(self, integration: Integration, jobs: Jobs) -> None:  # type: ignore[override]
        """Keep the integration and its jobs."""
        super().initialize(integration)
        self.jobs = jobs

    @authenticated
    async def get(self) -> None:
        """Show a page of the list."""
        query, page, error = ListQuery(), None, ""
        try:
            query = self.query()
            page = await self.read(self.integration.page, query)
        except ValueError as wrong:
            error = str(wrong)
        await self.answer(query, page, error)

    @authenticated
    async def post(self) -> None:
        """Lead to the list of one person's dead letters.

        The address comes in the body, so that no log of requests has it.
        """
        address = self.get_body_argument("email", "").strip()
        try:
            query = self.query()
            parse_filter(utc_now(), {"email": address})
        except ValueError as wrong:
            await self.answer(ListQuery(), None, str(wrong))
            return
        member = self.integration.digest_of(address)
        found = replace(query, filters={**query.filters, "member": member}, start=None)
        self.redirect(f"{self.reverse_url('dead_letters')}?{found.link()}", status=303)

    async def answer(self, query: ListQuery, page: LetterPage[Any] | None, error: str) -> None:
        """Show the list, or if `page` is None what is wrong with the query."""
        if error:
            self.set_status(HTTPStatus.BAD_REQUEST)
        overview = await self.read(self.integration.overview)
        hold = await self.read(self.integration.hold)
        self.show(
            "dead_letters.html",
            query=query,
            found=page,
            error=error,
            overview=overview,
            at_work=self.jobs.at_work(),
            hold=hold,
            bars=picture_of(overview),
            picture=(WIDTH, HEIGHT),
            sizes=SIZES,
            reasons=sorted({*REASONS, *overview.counts}),
        )
