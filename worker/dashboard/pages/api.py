"""A list as JSON, a page at a time: `/api/dead-letters`, `/api/retries`."""

import json
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from flower.api import BaseApiHandler
from tornado.web import authenticated

from worker.dashboard.pages.handlers import PageHandler
from worker.dashboard.pages.query import ListQuery, parse_query


class ListApi(PageHandler, BaseApiHandler):
    """The list for programs, under the conditions of Flower's own API. It changes nothing."""

    def check_xsrf_cookie(self) -> None:
        """Ask for no page's token, since the request changes nothing."""
        BaseApiHandler.check_xsrf_cookie(self)

    @authenticated
    async def get(self) -> None:
        """Answer with a page of the list; the query string is that of the page's links."""
        await self._answer(dict[str, Any](self.query_arguments()))

    @authenticated
    async def post(self) -> None:
        """Answer the same for arguments in a JSON object, which may name an `email`."""
        try:
            given = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            self._refuse("the body takes a JSON object of filters")
            return
        await self._answer({name: str(value) for name, value in given.items()})

    async def _answer(self, arguments: dict[str, str]) -> None:
        email = arguments.pop("email", None) if self.request.method == "POST" else None
        try:
            query = parse_query(arguments, self.queue.shape)
            if email is not None:
                query = self.queue.of_person(query, email)
            self.write(await self.read(self._page, query))
        except ValueError as error:
            self._refuse(str(error))

    def _page(self, query: ListQuery) -> dict[str, Any]:
        page = self.queue.page(query)
        return {
            "total": page.total,
            **self.queue.figures(),
            "read": page.read,
            "complete": page.is_full or page.next is None,
            "next": query.link(start=page.next) if page.next else None,
            self.queue.words.json: [asdict(row) for row in page.rows],
        }

    def _refuse(self, why: str) -> None:
        self.set_status(HTTPStatus.BAD_REQUEST)
        self.write({"error": why})
