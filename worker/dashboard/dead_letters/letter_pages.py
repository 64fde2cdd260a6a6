"""The page of one dead letter: why it died, its attempts, what a replay would do, the event."""

import json
from typing import Any

from tornado.web import HTTPError, authenticated

from worker.dashboard.dead_letters.handlers import DeadLetterHandler, logger
from worker.dashboard.dead_letters.rows import fit
from worker.ops.dead_letter_pages import LetterKey, parsed_key
from worker.ops.dead_letter_records import events_of
from worker.ops.preview import as_lines
from worker.ops.replay_preview import effect_of
from worker.printable import printable, readable_json
from worker.queue.dead_letters import DeadLetter
from worker.redis_client.raw_text import bytes_of

GONE = (
    "This letter is no longer here: it was replayed, purged, or removed by a limit. "
    "If many older ones were, it may be further on: look for it in the list."
)
LONGEST_EVENT = 200_000  # characters that the page shows of an event, and of its request


class LetterPage(DeadLetterHandler):
    """One letter. A POST shows the event as well, which is personal data."""

    @authenticated
    async def get(self, key: str) -> None:
        """Show the letter without the event."""
        await self._answer(key, with_event=False)

    @authenticated
    async def post(self, key: str) -> None:
        """Show the letter with the event, Mailgun's whole answer and the request's values."""
        if why := self.why_not_see_events:
            raise HTTPError(403, "%s", why)
        logger.info("the event of a dead letter was shown")
        await self._answer(key, with_event=True)

    async def _answer(self, key: str, *, with_event: bool) -> None:
        parsed = parsed_key(key)
        values = await self.read(self._values, parsed, with_event) if parsed else None
        if values is None:
            raise HTTPError(404, "%s", GONE)
        self.show(
            "dead_letter.html",
            key=key,
            fit=fit,
            why_not_see_events=self.why_not_see_events,
            **values,
        )

    def _values(self, key: LetterKey, with_event: bool) -> dict[str, Any] | None:  # noqa: FBT001  called in a thread
        """Return what the page shows of a letter; None if there is none. It may take seconds."""
        buried = self.integration.letter(key)
        if buried is None:
            return None
        request = self.integration.request(buried.message)
        is_known = "unknown" not in request
        return {
            "row": self.integration.row(buried),
            "letter": buried.letter,
            "message": buried.message,
            "hold": self.integration.hold(),
            "effect": effect_of(request)[0] if is_known else None,
            "request": request,
            "event": event_text(buried) if with_event else None,
            "answer": printable(buried.letter.answer) if with_event else None,
            "form": fit_lines("\n".join(as_lines(request)).strip())
            if with_event and is_known
            else "",
        }


def event_text(buried: DeadLetter) -> str:
    """Return the event as JSON for people; of a message that cannot be read, its text."""
    if buried.message.original is not None:
        # More is not even decoded: it may be any number of megabytes.
        start = buried.message.original[: LONGEST_EVENT + 1]
        return fit_lines(bytes_of(start).decode("utf-8", "backslashreplace"))
    events = events_of(buried)
    try:
        return fit_lines(readable_json(events[0] if len(events) == 1 else events, indent=2))
    except RecursionError:
        return json.dumps("nested too deep to be shown")


def fit_lines(text: str) -> str:
    """Return the lines of `text`, made visible and cut after `LONGEST_EVENT` characters."""
    shown = "\n".join(map(printable, text[: LONGEST_EVENT + 1].split("\n")))
    cut = "\n… cut here: `signal-mailgun dead-letters show ID --raw` writes the whole message"
    return shown if len(shown) <= LONGEST_EVENT else shown[:LONGEST_EVENT] + cut
