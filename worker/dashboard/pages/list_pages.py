"""The page of a list: figures, holds, filters and a table."""

from http import HTTPStatus
from typing import Any

from tornado.web import authenticated

from worker.dashboard.pages.handlers import PageHandler
from worker.dashboard.pages.query import SIZES, ListQuery
from worker.ops.found_page import FoundPage


class ListPage(PageHandler):
    """The list. A POST looks for a person by address and leads to a link with a digest."""

    @authenticated
    async def get(self) -> None:
        """Show a page of the list."""
        query, page, error = ListQuery(), None, ""
        try:
            query = self.query()
            page = await self.read(self.queue.page, query)
        except ValueError as wrong:
            error = str(wrong)
        await self.answer(query, page, error)

    @authenticated
    async def post(self) -> None:
        """Lead to the list of one person's messages.

        The address comes in the body, so that no log of requests has it.
        """
        address = self.get_body_argument("email", "").strip()
        try:
            found = self.queue.of_person(self.query(), address)
        except ValueError as wrong:
            await self.answer(ListQuery(), None, str(wrong))
            return
        self.redirect(f"{self.place_of()}?{found.link(start='')}", status=303)

    async def answer(self, query: ListQuery, page: FoundPage[Any, Any] | None, error: str) -> None:
        """Show the list, or if `page` is None what is wrong with the query."""
        if error:
            self.set_status(HTTPStatus.BAD_REQUEST)
        overview = await self.read(self.queue.overview)
        hold = await self.read(self.queue.hold)
        self.show(
            self.queue.templates[0],
            query=query,
            found=page,
            error=error,
            at_work=self.jobs.at_work(),
            hold=hold,
            sizes=SIZES,
            **overview,
        )
