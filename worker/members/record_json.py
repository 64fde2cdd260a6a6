"""The JSON in which the ledger stores a member's record."""

from typing import Any

from worker.members.record import CONSENT, Absence, EventOrder, Late, No, Record
from worker.signal.quick_json import compact_json, loads


def encode(record: Record) -> str:
    """Return the record as JSON without `seen_at`, which the ledger stores beside it.

    The JSON groups fields by event: its order, the variables that it set, its name and its consent,
    each null if it set none.
    """
    vars_: dict[EventOrder, dict[str, Any]] = {}
    for field, order in record.orders.items():
        of_event = vars_.setdefault(order, {})
        if field.startswith("vars."):
            of_event[field[5:]] = record.vars[field[5:]]
    data = {
        "events": [
            [*order, each, record.name_of(order), record.consent_of(order)]
            for order, each in vars_.items()
        ],
        "no": record.no and _encode_no(record.no),
        "lifted_at": record.lifted_at,
        "absent": record.absent,
        "late": record.late,
    }
    return compact_json({name: each for name, each in data.items() if each})


def decode(text: str, seen_at: float | None) -> Record:
    """Return the record that `encode` wrote; an empty `text` returns a record without fields.

    Args:
        text: The stored record.
        seen_at: When Mailgun last confirmed that the member exists, stored beside it.
    """
    data = loads(text) if text else {}
    name, consent = None, None
    vars_: dict[str, Any] = {}
    orders: dict[str, EventOrder] = {}
    for at, enqueued_at, fields, named, consented in data.get("events", ()):
        order = EventOrder(at, enqueued_at)
        vars_ |= fields
        for each in fields:
            orders[f"vars.{each}"] = order
        if named is not None:
            name, orders["name"] = named, order
        if consented is not None:
            consent, orders[CONSENT] = consented, order
    return Record(
        name,
        vars_,
        consent,
        orders,
        no=_no(*data["no"]) if "no" in data else None,
        lifted_at=data.get("lifted_at"),
        seen_at=seen_at,
        absent=Absence(*data["absent"]) if "absent" in data else None,
        late=Late(*data["late"]) if "late" in data else None,
    )


def _encode_no(no: No) -> list[Any]:
    """Return the "no" as a list, which has a fourth item only if it is to be written again."""
    return [no.since, no.by and list(no.by), no.sent, *([True] if no.repeat else [])]


def _no(
    since: float,
    by: list[float] | None,
    sent: str | None,
    repeat: bool = False,  # noqa: FBT001, FBT002  as stored
) -> No:
    return No(since, EventOrder(*by) if by else None, sent, repeat)
