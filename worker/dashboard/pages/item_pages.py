"""The page of one message: why it is there, its attempts, what a try would do, the event."""

import json
from typing import Any

from tornado.web import HTTPError, authenticated

from worker.dashboard.pages.handlers import PageHandler, logger
from worker.ops.preview import as_lines
from worker.ops.replay_preview import effect_of
from worker.printable import printable, readable_json
from worker.queue.intake import events_read
from worker.queue.message import Message
from worker.redis_client.raw_text import bytes_of

LONGEST_EVENT = 200_000  # characters that the page shows of an event, and of its request


class ItemPage(PageHandler):
    """One message. A POST shows the event as well, which is personal data."""

    @authenticated
    async def get(self, key: str) -> None:
        """Show the message without the event."""
        await self._answer(key, with_event=False)

    @authenticated
    async def post(self, key: str) -> None:
        """Show the message with the event, Mailgun's whole answer and the request's values."""
        if why := self.why_not_see_events:
            raise HTTPError(403, "%s", why)
        logger.info("the event of a %s was shown", self.queue.words.one)
        await self._answer(key, with_event=True)

    async def _answer(self, key: str, *, with_event: bool) -> None:
        values = await self.read(self._values, key, with_event)
        if values is None:
            raise HTTPError(404, "%s", self.queue.words.gone)
        self.show(
            self.queue.templates[1], key=key, why_not_see_events=self.why_not_see_events, **values
        )

    def _values(self, key: str, with_event: bool) -> dict[str, Any] | None:  # noqa: FBT001  called in a thread
        """Return what the page shows of a message; None if it is gone. It may take seconds."""
        item = self.queue.item(key)
        if item is None:
            return None
        request = self.queue.request(item.message)
        is_known = "unknown" not in request
        answer = self.queue.answer(item) if with_event else None
        return {
            "row": self.queue.row(item),
            "message": item.message,
            "hold": self.queue.hold(),
            "effect": self.queue.effect_text(effect_of(request)[0]) if is_known else None,
            "request": request,
            "event": event_text(item.message, self.queue.words.whole) if with_event else None,
            "answer": None if answer is None else printable(answer),
            "form": fit_lines("\n".join(as_lines(request)).strip(), self.queue.words.whole)
            if with_event and is_known
            else "",
            **self.queue.details(item),
        }


def event_text(message: Message, whole: str) -> str:
    """Return the event as JSON for people; of a message that cannot be read, its text.

    `whole` is the command that shows the whole of it.
    """
    if message.original is not None:
        # More is not even decoded: it may be any number of megabytes.
        start = message.original[: LONGEST_EVENT + 1]
        return fit_lines(bytes_of(start).decode("utf-8", "backslashreplace"), whole)
    events = [argument for each in events_read(message) for argument in each.args]
    try:
        return fit_lines(readable_json(events[0] if len(events) == 1 else events, indent=2), whole)
    except RecursionError:
        return json.dumps("nested too deep to be shown")


def fit_lines(text: str, whole: str) -> str:
    """Return the lines of `text`, made visible and cut after `LONGEST_EVENT` characters."""
    shown = "\n".join(map(printable, text[: LONGEST_EVENT + 1].split("\n")))
    cut = f"\n… cut here: `{whole}` writes the whole message"
    return shown if len(shown) <= LONGEST_EVENT else shown[:LONGEST_EVENT] + cut
