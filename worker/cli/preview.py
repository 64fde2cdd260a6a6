"""`signal-mailgun preview FILE|-`: the request that each event would become; nothing is sent."""

import json
from typing import Annotated

import typer

from worker.cli.console import out
from worker.cli.send import File, events_from
from worker.ops.preview import as_lines, event_preview
from worker.settings import load_settings
from worker.signal.preset import load_preset


def preview(
    file: File,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each event.")
    ] = False,
) -> None:
    """Show the requests that events would become.

    Each event is shown as if its member were new. Nothing is sent.
    """
    settings = load_settings()
    preset = load_preset(settings.mailgun_preset)
    for entry in events_from(file):
        shown = event_preview(entry, settings, preset)
        if as_json:
            out.print(json.dumps(shown))
        else:
            out.print(*as_lines(shown), sep="\n")
