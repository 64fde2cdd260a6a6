"""The page of one dead letter: why it died, its attempts, what a replay would do, the event."""

import json

from tornado.web import HTTPError, authenticated

from worker.dashboard.dead_letters.handlers import DeadLetterHandler, logger
from worker.dashboard.dead_letters.rows import fit
from worker.ops.dead_letter_pages import parsed_key
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
LONGEST_EVENT = 200_000  # characters that the page shows


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
        buried = await self.read(self.integration.letter, parsed) if parsed else None
        if buried is None:
            raise HTTPError(404, "%s", GONE)
        request = await self.read(self.integration.request, buried)
        self.show(
            "dead_letter.html",
            key=key,
            row=self.integration.row(buried),
            letter=buried.letter,
            message=buried.message,
            fit=fit,
            hold=await self.read(self.integration.hold),
            effect=effect_of(request)[0] if "unknown" not in request else None,
            request=request,
            why_not_see_events=self.why_not_see_events,
            event=event_text(buried) if with_event else None,
            answer=printable(buried.letter.answer) if with_event else None,
            lines=as_lines(request) if with_event and "unknown" not in request else [],
        )


def event_text(buried: DeadLetter) -> str:
    """Return the event as JSON for people; of a message that cannot be read, its text."""
    if buried.message.original is not None:
        text = bytes_of(buried.message.original).decode("utf-8", "backslashreplace")
        lines = text.split("\n")
    else:
        events = events_of(buried)
        try:
            lines = readable_json(events[0] if len(events) == 1 else events, indent=2).split("\n")
        except RecursionError:
            lines = [json.dumps("nested too deep to be shown")]
    shown = "\n".join(map(printable, lines))
    cut = f"\n… {len(shown) - LONGEST_EVENT} more characters: see `dead-letters show --raw`"
    return shown if len(shown) <= LONGEST_EVENT else shown[:LONGEST_EVENT] + cut
