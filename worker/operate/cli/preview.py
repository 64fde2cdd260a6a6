"""`signal-mailgun preview FILE|-`: the request each event would become; nothing is sent and nothing is read from Mailgun."""

import json
from typing import Annotated, Any

import typer

from worker.delivery.merge import Subscribing, merged_member
from worker.operate.cli.send import File, events_from
from worker.operate.cli.terminal import out
from worker.operate.events_file import Entry
from worker.settings import Settings, load_settings
from worker.signal.event import MalformedEvent, parse_event
from worker.signal.patch import MalformedEmail, Skip, patch_of
from worker.signal.preset import Preset, load_preset

NO_LIST = "<MAILGUN_LIST_ADDRESS>"


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


def previewed(entry: Entry, settings: Settings, preset: Preset) -> dict[str, Any]:
    """What the event becomes: its request, the reason it is skipped, or the reason it would be a dead letter."""
    place = {"line": entry.number}
    try:
        if entry.complaint:
            return {**place, "bad_line": entry.complaint}
        patch = patch_of(parse_event(entry.value), preset)
    except (MalformedEvent, MalformedEmail) as error:
        return {**place, "dead_letter": str(error)}
    if isinstance(patch, Skip):
        return {**place, "skipped": patch.value}
    member = merged_member(None, patch, Subscribing(settings.mailgun_subscribe_new, settings.mailgun_resubscribe))
    url = f"{settings.mailgun_api_base_url}/v3/lists/{settings.mailgun_list_address or NO_LIST}/members"
    return {**place, "request": f"POST {url}", "form": member.form()}


def as_text(shown: dict[str, Any]) -> str:
    """The request as the integration's page shows it, or one line for an event that becomes none."""
    if "form" not in shown:
        what, why = next((key, value) for key, value in shown.items() if key != "line")
        return f"# {shown['line']}: {what.replace('_', ' ')}: {why}\n"
    fields = "\n".join(f"{name}={value}" for name, value in shown["form"].items())
    return f"{shown['request']}\n\n{fields}\n"
