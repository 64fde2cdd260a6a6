"""The filters that the commands on dead letters share."""

from typing import Annotated

import typer

from worker.assembly import utc_now
from worker.operate.selection import Selection, selected
from worker.settings import load_settings
from worker.signal.preset import load_preset

Reason = Annotated[str | None, typer.Option(help="only this reason, e.g. rejected")]
Status = Annotated[int | None, typer.Option(help="only this HTTP status")]
Since = Annotated[str | None, typer.Option(help="died since: ISO 8601, or a span such as 2h")]
Until = Annotated[str | None, typer.Option(help="died until: ISO 8601, or a span before now such as 30m")]
Kind = Annotated[str | None, typer.Option(help="only this kind of event, e.g. identify")]
Email = Annotated[str | None, typer.Option(help="only this person's")]
Id = Annotated[str | None, typer.Option("--id", help="only this event")]
Limit = Annotated[int | None, typer.Option(min=1, help="at most so many")]
AsJson = Annotated[bool, typer.Option("--json", help="for programs")]


def selection(
    reason: str | None,
    status: int | None,
    since: str | None,
    until: str | None,
    kind: str | None,
    email: str | None,
    id: str | None,
) -> Selection:
    """What the options mean. Raises `typer.BadParameter`."""
    preset = load_preset(load_settings().mailgun_preset)
    filters = {"reason": reason, "status": status, "kind": kind, "email": email, "id": id}
    try:
        return selected(utc_now(), preset, since=since, until=until, **filters)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
