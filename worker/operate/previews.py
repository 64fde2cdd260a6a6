"""The request that an event would become; nothing is sent and nothing is read from Mailgun."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from worker.delivery.merge import Known, Subscribing, fields_of, merged_member, surviving
from worker.mailgun.member import Member
from worker.operate.events_file import Entry
from worker.settings import Settings
from worker.signal.event import MalformedEvent, parse_event
from worker.signal.patch import MalformedEmail, Patch, Skip, patch_of
from worker.signal.preset import Preset

NO_LIST = "<MAILGUN_LIST_ADDRESS>"


@dataclass(frozen=True)
class Background:
    """What is known of a member before the event; nothing: it is a new one."""

    known: Known = field(default_factory=Known)
    held: Member | None = None
    at: Callable[[Patch], float] = lambda _: math.inf  # when the event happened


def previewed(
    entry: Entry, settings: Settings, preset: Preset, background: Callable[[Patch], Background] = lambda _: Background()
) -> dict[str, Any]:
    """What the event becomes: its request, the reason it is skipped or superseded, or would be a dead letter."""
    place = {"line": entry.number}
    try:
        if entry.complaint:
            return {**place, "bad_line": entry.complaint}
        patch = patch_of(parse_event(entry.value), preset)
    except (MalformedEvent, MalformedEmail) as error:
        return {**place, "dead_letter": str(error)}
    if isinstance(patch, Skip):
        return {**place, "skipped": patch.value}
    before = background(patch)
    left = surviving(patch, before.known, before.at(patch))
    gone = [name for name in fields_of(patch) if name not in fields_of(left)]
    if gone and not fields_of(left):
        return {**place, "superseded": f"newer events have set {', '.join(gone)}"}
    rules = Subscribing(settings.mailgun_subscribe_new, settings.mailgun_resubscribe)
    member = merged_member(before.held, left, rules, our_no=before.known.our_no)
    url = f"{settings.mailgun_api_base_url}/v3/lists/{settings.mailgun_list_address or NO_LIST}/members"
    noted = {"superseded_fields": gone} if gone else {}
    return {**place, "request": f"POST {url}", "form": member.form(), **noted}


def as_lines(shown: dict[str, Any]) -> list[str]:
    """The request as the integration's page shows it, or one line for an event that becomes none; then an empty line."""
    if "form" not in shown:
        what, why = next((key, value) for key, value in shown.items() if key != "line")
        return [f"# {shown['line']}: {what.replace('_', ' ')}: {why}", ""]
    fields = [f"{name}={value}" for name, value in shown["form"].items()]
    gone = [f"# newer events have set {', '.join(shown['superseded_fields'])}"] if "superseded_fields" in shown else []
    return [shown["request"], "", *fields, *gone, ""]
