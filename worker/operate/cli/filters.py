"""The filters that the commands on dead letters share."""

from typing import Annotated

import typer

from worker.assembly import utc_now
from worker.operate.cli.terminal import instant
from worker.operate.selection import Selection

Reason = Annotated[str | None, typer.Option(help="only this reason, e.g. rejected")]
Status = Annotated[int | None, typer.Option(help="only this HTTP status")]
Since = Annotated[str | None, typer.Option(help="died since: ISO 8601, or a span such as 2h")]
Until = Annotated[str | None, typer.Option(help="died until: ISO 8601, or a span such as 30m ago")]
Kind = Annotated[str | None, typer.Option(help="only this kind of event, e.g. identify")]
Email = Annotated[str | None, typer.Option(help="only this person's")]
Id = Annotated[str | None, typer.Option("--id", help="only this event")]
Limit = Annotated[int | None, typer.Option(min=1, help="at most so many")]
AsJson = Annotated[bool, typer.Option("--json", help="for programs")]


def selection(  # the options of every command that takes filters
    reason: str | None,
    status: int | None,
    since: str | None,
    until: str | None,
    kind: str | None,
    email: str | None,
    id: str | None,
) -> Selection:
    """What the options mean. Raises `typer.BadParameter`."""
    now = utc_now()
    try:
        moments = [instant(text, now) if text else None for text in (since, until)]
    except ValueError:
        raise typer.BadParameter("--since and --until take ISO 8601 or a span such as 90m, 2h, 7d") from None
    return Selection(reason, status, moments[0], moments[1], kind, email, id)
