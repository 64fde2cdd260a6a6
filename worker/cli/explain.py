"""`signal-mailgun explain` and `forget`: find an event or a member; erase a person."""

import json
from typing import Annotated

import typer

from worker.cli.console import CommandError, messages, out
from worker.cli.integration import store_of
from worker.cli.options import AsJson, Yes
from worker.delivery.worker_registry import BUNDLE, EndedTry
from worker.ops.attempts import ended_parts, why_delayed
from worker.ops.event_search import EventSearch
from worker.ops.explanation import Finding, event_findings, member_findings
from worker.ops.person_search import Person
from worker.ops.times import clock_time
from worker.queue.delay_queue import WAITING
from worker.settings import Settings, load_settings
from worker.signal.address import lenient_address
from worker.signal.preset import load_preset
from worker.wiring import gate_for, ledger_for


def explain(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ID|EMAIL",
            help="The ID of an event or a bundle, or the e-mail address of a member.",
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show where an event, a bundle or a member stands.

    Shows where the event is now and each of its tries; of a bundle, how its events ended, and which
    of them wait or died; or what is recorded of the member and which rule set each field.
    """
    settings = load_settings()
    search, is_member = _places(settings), "@" in what
    found = list((member_findings if is_member else event_findings)(settings, search, what))
    if as_json:
        out.print(json.dumps(found))
    else:
        for finding in found:
            out.print("  ".join(_shown(finding)))
        if any("event" in finding for finding in found):
            out.print("`signal-mailgun explain ID` says more of one event")
    # The digest alone says nothing of the member.
    if len(found) == is_member:
        raise CommandError(
            f"nothing is known of {what}: not sent, or ended too long ago "
            "(dead letters and delayed events never are)"
        )


def forget(
    email: Annotated[
        str, typer.Argument(metavar="EMAIL", help="The e-mail address of the person.")
    ],
    *,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase a person's events and records.

    Erases them from the queue, the delayed events, the dead letters and the ledger. The member at
    Mailgun stays as it is.
    """
    settings = load_settings()
    address = lenient_address(email)
    if address.count("@") != 1:
        raise CommandError(f"{email} is not an e-mail address")
    if not yes and not typer.confirm("erase this person's events and records permanently?"):
        raise typer.Exit(1)
    places, person = _places(settings), Person(address, load_preset(settings.mailgun_preset))
    found = places.forget(address, person.is_in)
    unread = places.unread()
    if as_json:
        out.print_json(data={**found, "unread": unread})
        return
    for place, count in found.items():
        out.print(
            f"{place:<13} {count}"
            f"{' (not erased: repeat this in a minute)' if place == 'in flight' and count else ''}"
        )
    if unread:
        where = ", ".join(f"{place} {count}" for place, count in unread.items())
        out.print(
            f"unread        {sum(unread.values())} ({where}): no event can be read in them, and "
            f"the address is not in their bytes; `dead-letters show ID --raw` writes one, "
            f"`dead-letters purge --id ID` erases it"
        )


def _places(settings: Settings) -> EventSearch:
    store = store_of(settings)
    ledger = ledger_for(settings, gate_for(settings, store))
    return EventSearch(store, settings.signal_integration, settings.queue, ledger)


def _shown(finding: Finding) -> tuple[str, str]:
    """Return a finding as the name of its place and a text."""
    match finding["place"]:
        case "field":
            value = json.dumps(finding["value"])
            return f"  {finding['name']}", f"{value}, {_set_by(finding['set_at'])}"
        case "unsubscribing":
            return "  unsubscribing", _whose_no(finding)
        case "absence":
            since = clock_time(finding["since"])
            return "  absence", (
                f"Mailgun has not shown the member since {since} UTC; "
                "its events wait for another look"
            )
        case "look after":
            at = clock_time(finding["at"])
            return "  look after", f"a write had no answer; Mailgun is read again at {at} UTC"
        case place:
            return place, _detail(finding)


def _detail(finding: Finding) -> str:
    match finding:
        case {"place": "digest", "digest": digest}:
            return f"{digest} stands for the member in logs"
        case {"events": count}:
            return f"{count} events of this member"
        case {"messages_before": before, "bundle_events": count}:
            return f"{messages(before)} before it; {count} events of the bundle"
        case {"messages_before": before}:
            return f"{messages(before)} before it"
        case {"place": "in flight"}:
            return "a worker has it now"
        case {"place": "delayed"}:
            return f"{_named(finding)}{_waiting(finding)}"
        case {"place": "dead letter", "reason": reason, "died_at": at}:
            return f"{_named(finding)}{reason}, died {clock_time(at)} UTC{_came_in(finding)}"
        case {"place": "tried" | "last ended" | "bundle ended"}:
            return _ended(finding)
        case {"place": "ledger", "confirmed_at": at, "member": member}:
            return f"as Mailgun confirmed at {clock_time(at)} UTC: {json.dumps(member)}"
        case _:
            return str(finding["text"])


def _waiting(finding: Finding) -> str:
    due = clock_time(finding["due"])
    when = (
        "next try once the delivery of its member that is under way has ended, "
        f"at {due} UTC at the latest"
        if finding["waits_for_member"]
        else f"next try {due} UTC"
    )
    reason = why_delayed(finding["outcome"] or WAITING, finding["status"])
    return f"{reason}; {finding['attempts']} attempts; {when}{_came_in(finding)}"


def _named(finding: Finding) -> str:
    return f"{finding['event']}: " if "event" in finding else ""


def _came_in(finding: Finding) -> str:
    in_bundle = finding["bundle"] and "event" not in finding
    return f"; came in the bundle {finding['bundle']}" if in_bundle else ""


def _ended(finding: Finding) -> str:
    ended = EndedTry(**{name: value for name, value in finding.items() if name != "place"})
    outcome, *rest = ended_parts(ended._replace(outcome=ended.outcome.removeprefix(BUNDLE)))
    return ", ".join((f"{outcome} at {clock_time(ended.at)} UTC", *rest))


def _set_by(at: float | None) -> str:
    if at is None:
        return "set by an event whose time stamp was not understood; any with a time changes it"
    return f"set by the event of {clock_time(at)} UTC; only a newer one changes it"


def _whose_no(finding: Finding) -> str:
    if finding["by"] is None:
        return "no opt-out known"
    since = clock_time(finding["since"])
    if finding["by"] == "program":
        stored = "it may not be stored; " if finding["sent"] else ""
        return f"no, since {since} UTC, by this program; {stored}a newer granted consent lifts it"
    return (
        f"no, since {since} UTC, by the recipient; "
        "a granted consent does not lift it (MAILGUN_RESUBSCRIBE)"
    )
