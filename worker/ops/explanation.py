"""Explanation of an event or a member, as data: where it is, what was tried, which rule set what.

Each finding is a dict with its `place`; times are epoch seconds. Personal data are only in what is
found of a member.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from worker.delivery.worker_registry import WorkerRegistry
from worker.members.entry import LedgerEntry, look_up
from worker.members.record import UNDATED_AT, No
from worker.ops.attempts import attempt_history_of
from worker.ops.event_search import EventSearch
from worker.ops.preview import not_understood_in
from worker.privacy import digest
from worker.queue.dead_letter_filter import address_of
from worker.queue.message import Message
from worker.settings import Settings
from worker.signal.address import lenient_address
from worker.signal.preset import load_preset

Finding = dict[str, Any]


def event_findings(settings: Settings, search: EventSearch, id: str) -> Iterator[Finding]:
    """Yield where the event or bundle with this id is, and how its tries ended.

    Of a bundle, the events that wait or died are found one by one; `event` names each.

    Raises:
        redis.RedisError: Redis does not answer.
    """

    def wanted(message: Message) -> bool:
        return id in (message.id, message.bundle)

    def named(message: Message) -> Finding:
        return {} if message.id == id else {"event": message.id}

    last: Message | None = None
    preset = load_preset(settings.mailgun_preset)
    for before, found in search.queued(wanted):
        last = found.events[0]
        of_bundle = {} if last.id == id else {"bundle_events": len(found.events)}
        yield {"place": "queued", "messages_before": before, **of_bundle}
    if search.in_flight(wanted):
        yield {"place": "in flight"}
    for found, due in search.delayed(wanted):
        last = found.events[0]
        address = address_of(last.args, preset)
        waits = {"due": due, "waits_for_member": bool(address) and search.waits(address, found.raw)}
        yield {"place": "delayed", **named(last), **_tried(last), **waits}
    for buried in search.dead(wanted):
        last, letter = buried.message, buried.letter
        died = {"place": "dead letter", **named(last), "reason": letter.reason}
        yield {**died, "died_at": letter.died_at, **_tried(last), "status": letter.status}
    if last and len(last.args) == 1:
        for text in not_understood_in(last.args[0], preset):
            yield {"place": "note", "text": text}
    tries = WorkerRegistry(search.redis, settings.signal_integration).tries(id)
    for left, each in enumerate(tries, 1 - len(tries)):
        place = "tried" if left else "last ended"
        yield {"place": "bundle ended" if each.is_bundle else place, **each._asdict()}


def member_findings(settings: Settings, search: EventSearch, email: str) -> Iterator[Finding]:
    """Yield the member's digest, how many events of it are where, and what the ledger holds.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    preset, address = load_preset(settings.mailgun_preset), lenient_address(email)

    def wanted(message: Message) -> bool:
        return address_of(message.args, preset) == address

    yield {"place": "digest", "digest": digest(address, settings.digest_key)}
    for place, count in (
        ("queued", sum(len(found.events) for _, found in search.queued(wanted))),
        ("in flight", search.in_flight(wanted)),
        ("delayed", sum(len(found.events) for found, _ in search.delayed(wanted))),
        ("dead letters", sum(1 for _ in search.dead(wanted))),
    ):
        if count:
            yield {"place": place, "events": count}
    entry = look_up(search.ledger, address)
    if entry:
        yield from _ledger_findings(entry)


def _ledger_findings(entry: LedgerEntry) -> Iterator[Finding]:
    if entry.copy:
        member = asdict(entry.copy.member)
        yield {"place": "ledger", "confirmed_at": float(entry.copy.at), "member": member}
    for name, order in sorted(entry.record.orders.items()):
        yield {
            "place": "field",
            "name": name,
            "value": entry.record.value(name),
            # None: the event's time stamp was not understood.
            "set_at": None if order.at <= UNDATED_AT else order.at,
        }
    yield {"place": "unsubscribing", **_opt_out(entry.record.no)}
    if entry.record.absent:
        yield {"place": "absence", "since": entry.record.absent.since}
    if entry.look_at is not None:
        yield {"place": "look after", "at": entry.look_at}


def _opt_out(no: No | None) -> Finding:
    """Return whose opt-out is known: the `recipient`'s, this `program`'s, or None."""
    if no is None:
        return {"by": None}
    return {"by": "program" if no.by else "recipient", "since": no.since, "sent": bool(no.sent)}


def _tried(message: Message) -> Finding:
    last = message.last_attempt
    return {
        "outcome": last and last.outcome,
        "status": last and last.status,
        "bundle": message.bundle,
        "attempts": message.attempts,
        "attempt_history": attempt_history_of(message),
    }
