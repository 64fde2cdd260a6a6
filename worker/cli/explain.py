"""`signal-mailgun explain` and `forget`: find an event or a member; erase a person."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from worker.cli.console import CommandError, messages, out
from worker.cli.integration import store_of
from worker.cli.options import AsJson, Yes
from worker.delivery.worker_registry import WorkerRegistry
from worker.members.ledger import LedgerEntry
from worker.members.record import UNDATED_AT, No
from worker.ops.event_search import EventSearch
from worker.ops.person_search import Person
from worker.ops.preview import not_understood_in
from worker.ops.times import clock_time
from worker.queue.dead_letter_filter import address_of
from worker.queue.message import Message
from worker.settings import Settings, load_settings
from worker.signal.address import lenient_address
from worker.signal.preset import Preset, load_preset
from worker.wiring import gate_for, ledger_for


def explain(
    what: Annotated[
        str,
        typer.Argument(
            metavar="EVENT_ID|EMAIL",
            help="The ID of an event, or the e-mail address of a member.",
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show where an event or a member stands.

    Shows where the event is now, or what is recorded of the member and which rule set each field.
    """
    settings = load_settings()
    lines = list(_of_member(settings, what) if "@" in what else _of_event(settings, what))
    if not lines:
        raise CommandError(
            f"nothing is known of {what}: not sent, or ended too long ago "
            "(dead letters and delayed events never are)"
        )
    if as_json:
        out.print(json.dumps(lines))
        return
    for line in lines:
        out.print("  ".join(f"{value}" for value in line.values()))


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


def _of_event(settings: Settings, id: str) -> Iterator[dict[str, str]]:
    places = _places(settings)

    def wanted(message: Message) -> bool:
        return message.id == id

    unread: tuple[str, ...] = ()
    preset = load_preset(settings.mailgun_preset)
    for before, found in places.queued(wanted):
        yield {"place": "queued", "detail": f"{messages(before)} before it"}
        unread = _not_understood(found.events[0], preset)
    if places.in_flight(wanted):
        yield {"place": "in flight", "detail": "a worker has it now"}
    for found, due in places.delayed(wanted):
        message = found.events[0]
        unread = _not_understood(message, preset)
        address = address_of(message.args, preset)
        waits = bool(address) and places.waits(address, found.raw)
        yield {"place": "delayed", "detail": _of_delayed(message, due, waits=waits)}
    for buried in places.dead(wanted):
        yield {
            "place": "dead letter",
            "detail": f"{buried.letter.reason}, died {clock_time(buried.letter.died_at)} UTC",
        }
        unread = _not_understood(buried.message, preset)
    yield from ({"place": "note", "detail": each} for each in unread)
    ended = WorkerRegistry(places.redis, settings.signal_integration).ended(id)
    if ended:
        yield {"place": "last ended", "detail": f"{ended[1]} at {clock_time(ended[0])} UTC"}


def _of_delayed(message: Message, due: float, *, waits: bool) -> str:
    last = message.attempt_history[-1] if message.attempt_history else None
    reason = f"{last.outcome} {last.status or ''}".strip() if last else "it had to wait"
    when = (
        "next try once the delivery of its member that is under way has ended, "
        f"at {clock_time(due)} UTC at the latest"
        if waits
        else f"next try {clock_time(due)} UTC"
    )
    return f"{reason}; {message.attempts} attempts; {when}"


def _not_understood(message: Message, preset: Preset) -> tuple[str, ...]:
    return not_understood_in(message.args[0], preset) if len(message.args) == 1 else ()


def _of_member(settings: Settings, email: str) -> Iterator[dict[str, str]]:
    places, preset = _places(settings), load_preset(settings.mailgun_preset)
    address = lenient_address(email)

    def wanted(message: Message) -> bool:
        return address_of(message.args, preset) == address

    for place, count in (
        ("queued", sum(len(found.events) for _, found in places.queued(wanted))),
        ("in flight", places.in_flight(wanted)),
        ("delayed", sum(len(found.events) for found, _ in places.delayed(wanted))),
        ("dead letters", sum(1 for _ in places.dead(wanted))),
    ):
        if count:
            yield {"place": place, "detail": f"{count} events of this member"}
    entry = places.known(address)
    if entry:
        yield from _of_ledger(entry)


def _of_ledger(entry: LedgerEntry) -> Iterator[dict[str, str]]:
    if entry.copy:
        yield {
            "place": "ledger",
            "detail": f"as Mailgun confirmed at {clock_time(float(entry.copy.at))} UTC: "
            f"{json.dumps(asdict(entry.copy.member))}",
        }
    for name, order in sorted(entry.record.orders.items()):
        yield {
            "place": f"  {name}",
            "detail": f"{json.dumps(entry.record.value(name))}, {_set_by(order.at)}",
        }
    yield {"place": "  unsubscribing", "detail": _whose_no(entry.record.no)}
    if entry.record.absent:
        since = clock_time(entry.record.absent.since)
        detail = (
            f"Mailgun has not shown the member since {since} UTC; its events wait for another look"
        )
        yield {"place": "  absence", "detail": detail}
    if entry.look_at is not None:
        at = clock_time(entry.look_at)
        yield {
            "place": "  look after",
            "detail": f"a write had no answer; Mailgun is read again at {at} UTC",
        }


def _set_by(at: float) -> str:
    if at <= UNDATED_AT:
        return "set by an event whose time stamp was not understood; any with a time changes it"
    return f"set by the event of {clock_time(at)} UTC; only a newer one changes it"


def _whose_no(no: No | None) -> str:
    if no is None:
        return "no opt-out known"
    if no.by:
        stored = "it may not be stored; " if no.sent else ""
        return (
            f"no, since {clock_time(no.since)} UTC, by this program; "
            f"{stored}a newer granted consent lifts it"
        )
    since = clock_time(no.since)
    return (
        f"no, since {since} UTC, by the recipient; "
        "a granted consent does not lift it (MAILGUN_RESUBSCRIBE)"
    )
