"""`signal-mailgun preview FILE|-`: the request each event would become; nothing is sent and nothing is read from Mailgun."""

import json
from typing import Annotated

import typer

from worker.operate.cli.send import File, events_from
from worker.operate.cli.terminal import out
from worker.operate.previews import as_text, previewed
from worker.settings import load_settings
from worker.signal.preset import load_preset


def preview(
    file: File,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object an event, for programs")] = False,
) -> None:
    """Show the request each event would become for a new member, decoded as in the integration's example."""
    settings = load_settings()
    preset = load_preset(settings.mailgun_preset)
    with events_from(file) as found:
        for entry in found:
            shown = previewed(entry, settings, preset)
            out.print(
                json.dumps(shown, ensure_ascii=False) if as_json else as_text(shown), markup=False, soft_wrap=True
            )
