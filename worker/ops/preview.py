"""Preview of the request that an event would become, without any request to Mailgun."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from worker.mailgun.member import Member
from worker.members.merge import SubscriptionRules, fields_of, filling, without_stale_fields
from worker.members.merge_plan import TimedPatch, plan_merge
from worker.members.record import EventOrder, Record
from worker.ops.event_file import FileEntry
from worker.settings import Settings
from worker.signal.address import MalformedEmail
from worker.signal.event import MalformedEvent, parse_event
from worker.signal.patch import Patch, SkipReason, patch_from_event
from worker.signal.preset import Preset

NEWEST = EventOrder(math.inf)
NO_LIST = "<MAILGUN_LIST_ADDRESS>"
NOT_UNDERSTOOD = {
    "consent": "the consent is not understood: it subscribes no new member",
    "timestamp": "the time stamp is not understood: the event sets only what is not set yet",
}


@dataclass(frozen=True)
class MemberContext:
    """What is known of a member before the event; by default the member is new.

    Attributes:
        record: Its record in the ledger.
        current: The member as Mailgun has it, if known.
        order: The order of the event.
    """

    record: Record = field(default_factory=Record)
    current: Member | None = None
    order: EventOrder = NEWEST


def event_preview(
    entry: FileEntry,
    settings: Settings,
    preset: Preset,
    context_of: Callable[[Patch], MemberContext] = lambda _: MemberContext(),
) -> dict[str, Any]:
    """Return what the event would become under a worker's settings.

    `context_of` returns what is known of the member that a patch is for.

    Returns:
        A dict for people and programs: its `line`, and either `request` and `form`, or why there is
        no request, as `bad_line`, `dead_letter`, `skipped` or `superseded`. If there are any,
        `not_understood` and `superseded_fields` name fields.
    """
    line = {"line": entry.number}
    try:
        if entry.complaint:
            return {**line, "bad_line": entry.complaint}
        patch = patch_from_event(parse_event(entry.value), preset)
    except (MalformedEvent, MalformedEmail) as error:
        return {**line, "dead_letter": str(error)}
    if isinstance(patch, SkipReason):
        return {**line, "skipped": patch.value}
    return {**line, **_merged(patch, settings, context_of(patch))}


def _merged(patch: Patch, settings: Settings, before: MemberContext) -> dict[str, Any]:
    """Return the request that `patch` becomes, or that newer events have set all its fields."""
    left = filling(without_stale_fields(patch, before.record, before.order), before.current)
    gone = [name for name in fields_of(patch) if name not in fields_of(left)]
    notes: dict[str, Any] = (
        {"not_understood": list(patch.not_understood)} if patch.not_understood else {}
    )
    if gone and not fields_of(left):
        why = "set already" if patch.undated else "newer events have set"
        return {"superseded": f"{why} {', '.join(gone)}", **notes}
    if gone:
        notes["superseded_fields"] = gone
    return {**_request(left, settings, before), **notes}


def _request(patch: Patch, settings: Settings, before: MemberContext) -> dict[str, Any]:
    rules = SubscriptionRules(settings.mailgun_subscribe_new, settings.mailgun_resubscribe)
    timed = [TimedPatch(patch, before.order)]
    member = plan_merge(before.current, before.record, timed, rules, now=0.0).member
    if member is None:
        raise LookupError("an event makes a member")
    mailing_list = settings.mailgun_list_address or NO_LIST
    url = f"{settings.mailgun_api_base_url}/v3/lists/{mailing_list}/members"
    return {"request": f"POST {url}", "form": member.form()}


def not_understood_in(data: object, preset: Preset) -> tuple[str, ...]:
    """Return one text for each part of the event in `data` that is there and is not understood.

    If `data` is no event, or is skipped, there are none.
    """
    try:
        patch = patch_from_event(parse_event(data), preset)
    except (MalformedEvent, MalformedEmail):
        return ()
    if isinstance(patch, SkipReason):
        return ()
    return tuple(NOT_UNDERSTOOD[what] for what in patch.not_understood)


def as_lines(shown: dict[str, Any]) -> list[str]:
    """Return the lines that show a preview.

    They are the request, or one line for an event that becomes none; then an empty line.
    """
    not_understood = shown.get("not_understood", ())
    unread = [f"# {NOT_UNDERSTOOD[what]}" for what in not_understood]
    if "form" not in shown:
        what, why = next((key, value) for key, value in shown.items() if key != "line")
        return [f"# {shown['line']}: {what.replace('_', ' ')}: {why}", *unread, ""]
    fields = [f"{name}={value}" for name, value in shown["form"].items()]
    why = "set already" if "timestamp" in not_understood else "newer events have set"
    gone = (
        [f"# {why} {', '.join(shown['superseded_fields'])}"] if "superseded_fields" in shown else []
    )
    return [shown["request"], "", *fields, *gone, *unread, ""]
