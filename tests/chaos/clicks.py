"""Was a recipient's click on the unsubscribe link undone, and could the worker that undid it have known of it?

A worker that reads a member before it writes it knows of a click when it asked for its reading after the click; one between the
reading and the write it cannot know of: Mailgun has no conditional write. A worker that trusts its ledger goes by what it last
read of who opted out, which may be two refreshes old; only a write sent later than that was knowing.
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
    """How the click was undone by the first "yes" that was applied, or may have been, after it; None where there was none.

    `asked` as `by_address` gives it; `blind_seconds` says how old a click may be that a worker without a reading of its own
    need not know of, 0 that every write has one.
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
    """For each of the `addresses`, what was asked of it that bears on a click: its readings, and writes that subscribe it."""
    wanted = {address.lower() for address in addresses}
    asked: dict[str, list[Record]] = defaultdict(list)
    for record in records if wanted else ():
        for address in wanted.intersection(_read_or_subscribed(record)):
            asked[address].append(record)
    return asked


def _read_or_subscribed(record: Record) -> Iterator[str]:
    if record.method == "GET":
        if record.address and record.status in {200, 404}:  # else nobody has read anything
            yield record.address.lower()
    elif record.committed:
        yield from _subscribed(record)


def _subscribed(record: Record) -> Iterator[str]:
    alone = [{**record.form, "address": record.address}] if record.address else []
    for entry in alone or json.loads(record.form.get("members", "[]")):
        if str(entry.get("subscribed")).lower() not in NO:  # left out, it subscribes
            yield entry["address"].lower()


def _may_end_after(record: Record, moment: float) -> bool:
    return record.at > moment or record.answered_at is None or record.answered_at > moment
