"""Clicks on the unsubscribe link that a worker undid, knowingly or not.

A worker that reads a member before it writes it knows of a click if it sent the read after the
click. It cannot know of a click between the read and the write, since Mailgun has no conditional
write. A worker that relies on its ledger uses its last scan of the unsubscribed, which may be two
refreshes old; only a write sent later than that was knowing.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from worker.sandbox.request_log import Record, Unsubscribed

Undone = Literal["knowingly", "raced"]
NO = {"no", "false"}


def undone(
    click: Unsubscribed, asked: Mapping[str, list[Record]], blind_seconds: float
) -> Undone | None:
    """Return how the click was undone, or None if it was not.

    It was undone by the first write of "yes" that was applied, or may have been, after the click.

    Args:
        click: The click.
        asked: The requests by address, as `by_address` returns them.
        blind_seconds: How old a click may be that a worker need not know of; 0: each write has a
            read of its own.
    """
    read: Record | None = None
    for record in asked.get(click.address.lower(), []):
        if record.method == "GET":
            read = record
        elif _may_end_after(record, click.at):
            known_from = click.at + blind_seconds
            based_on = record if blind_seconds else read
            return (
                None if based_on is None else "knowingly" if based_on.at > known_from else "raced"
            )
    return None


def by_address(records: Iterable[Record], addresses: Iterable[str]) -> dict[str, list[Record]]:
    """Return, for each address, its requests that matter to a click.

    These are reads, and writes that subscribe it.
    """
    clicked = {address.lower() for address in addresses}
    asked: dict[str, list[Record]] = defaultdict(list)
    for record in records if clicked else ():
        for address in clicked.intersection(_read_or_subscribed(record)):
            asked[address].append(record)
    return asked


def _read_or_subscribed(record: Record) -> Iterator[str]:
    if record.method == "GET":
        if record.address and record.status in {200, 404}:  # else the worker has read nothing
            yield record.address.lower()
    elif record.committed:
        yield from _subscribed(record)


def _subscribed(record: Record) -> Iterator[str]:
    alone = [{**record.form, "address": record.address}] if record.address else []
    for entry in alone or json.loads(record.form.get("members", "[]")):
        if str(entry.get("subscribed")).lower() not in NO:  # a field left out subscribes
            yield entry["address"].lower()


def _may_end_after(record: Record, moment: float) -> bool:
    return record.at > moment or record.answered_at is None or record.answered_at > moment
