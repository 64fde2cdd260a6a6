"""`signal-mailgun dead-letters list | show | export | replay | purge`."""

import base64
import json
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Annotated, Any

import typer

from worker.cli import replay
from worker.cli.console import CommandError, err, out
from worker.cli.dead_letter_options import Limit, print_no_match, with_filters
from worker.cli.integration import letters_of
from worker.cli.options import AsJson
from worker.cli.tables import print_rows, print_totals
from worker.ops.attempts import attempt_lines
from worker.ops.dead_letter_records import as_record, events_of
from worker.ops.preview import as_lines
from worker.ops.replay_preview import replay_preview_for
from worker.ops.times import clock_time
from worker.printable import readable_json
from worker.privacy import redacted, shortened
from worker.queue.dead_letter import DeadLetter, again
from worker.queue.dead_letter_filter import DeadLetterFilter, addresses_in, select
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.message import Message
from worker.redis_client.raw_text import bytes_of
from worker.settings import load_settings

HEADER = ("died (UTC)", "event", "kind", "member", "reason", "status", "tries")

cli = typer.Typer(
    help="Handle events that cannot be delivered.", no_args_is_help=True, rich_markup_mode=None
)
cli.command("replay")(replay.replay)
cli.command("purge")(replay.purge)


@cli.command("list")
@with_filters
def list_(*, wanted: DeadLetterFilter, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the newest dead letters, and how many there are for each reason."""
    letters = letters_of(load_settings())
    shown, totals = _select(letters, wanted, limit, as_record if as_json else _row)
    if as_json:
        out.print_json(data={"totals": totals, "dead_letters": shown})
    elif not shown:
        out.print("no dead letters" + ("" if wanted == DeadLetterFilter() else " match"))
        print_no_match(letters, wanted)
    else:
        print_rows(HEADER, shown, key=1)
        print_totals(totals)


@cli.command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The ID of the event.")],
    *,
    as_json: AsJson = False,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="Write the message that a replay would put on the queue, byte for byte."
        ),
    ] = False,
) -> None:
    """Show one dead letter.

    Shows the event, the request that it would become now, Mailgun's answer, the likely cause and
    the fix.
    """
    settings = load_settings()
    buried = next(
        (each for each in letters_of(settings).newest_first() if each.message.id == id), None
    )
    if buried is None:
        raise CommandError(
            f"no dead letter {id}; `signal-mailgun dead-letters list` shows what there is"
        )
    if raw:
        out.print_bytes(_raw(buried, settings.queue))
        return
    request = replay_preview_for(settings).request(buried.message)
    if as_json:
        record = {
            **as_record(buried),
            "answer": buried.letter.answer,
            "event": events_of(buried),
            "request": request,
        }
        original = buried.message.original
        out.print_json(
            data=record if original is None else {**record, "original": _base64(bytes_of(original))}
        )
        return
    _show(buried, request)


@cli.command()
@with_filters
def export(
    *,
    wanted: DeadLetterFilter,
    limit: Limit = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="Print instead the messages that a replay would put on the queue, "
            "one a line, in base64.",
        ),
    ] = False,
) -> None:
    """Print the events of dead letters as NDJSON, oldest first; `send` accepts it. Changes nothing.

    Of a message that could not be read, those events are printed that can be read.
    """
    settings = load_settings()
    left_out: Counter[str] = Counter()
    for buried in select(letters_of(settings), wanted, limit):
        if raw:
            out.print(_base64(_raw(buried, settings.queue)))
            continue
        events = [each for each in events_of(buried) if isinstance(each, dict)]
        for event in events:
            out.print(json.dumps(event))
        if not events:
            left_out[buried.letter.reason] += 1
    if left_out:
        reasons = ", ".join(sorted(left_out))
        err.print(
            f"{left_out.total()} left out: no events ({reasons}); "
            "`--raw` prints the messages as they are"
        )


def _raw(buried: DeadLetter, queue: str) -> bytes:
    return bytes_of(again(buried.message, queue, time.time()))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _select(
    letters: DeadLetterQueue,
    wanted: DeadLetterFilter,
    limit: int | None,
    shown_as: Callable[[DeadLetter], Any],
) -> tuple[list[Any], dict[str, int]]:
    """Return the newest matching dead letters, at most `limit`, and how many match for each reason.

    No dead letter stays in memory longer than `shown_as` needs it.
    """
    # Redis keeps the counts by reason, so only the first dead letters need be read.
    if wanted == DeadLetterFilter(reason=wanted.reason):
        totals = {
            each: count for each, count in letters.totals().items() if wanted.reason in {None, each}
        }
        there = sum(totals.values())
        most = there if limit is None else min(limit, there)
        found = islice(filter(wanted.matches, letters.newest_first()), most)
        return [shown_as(each) for each in found], totals
    shown: list[Any] = []
    counts: Counter[str] = Counter()
    for buried in filter(wanted.matches, letters.newest_first()):
        counts[buried.letter.reason] += 1
        if limit is None or len(shown) < limit:
            shown.append(shown_as(buried))
    return shown, counts


def _row(buried: DeadLetter) -> tuple[str, ...]:
    letter, message = buried.letter, buried.message
    return (
        clock_time(letter.died_at)[-14:],  # without the year
        message.id,
        redacted(message.kind),
        shortened(next(iter(addresses_in(message)), "")),
        letter.reason,
        str(letter.status or "-"),
        str(letter.attempts),
    )


def _show(buried: DeadLetter, request: dict[str, Any]) -> None:
    letter, message = buried.letter, buried.message
    lines = [
        f"event      {message.id} ({message.kind}), enqueued {clock_time(message.enqueued_at)} UTC",
        f"died       {clock_time(letter.died_at)} UTC, {letter.attempts} attempts, "
        f"integration {letter.integration}",
        f"reason     {letter.reason}{f' (HTTP {letter.status})' if letter.status else ''}",
        f"answer     {letter.answer}",
        f"cause      {letter.cause}",
        f"fix        {letter.fix}",
        *attempt_lines(message),
        "",
        *_content(message),
        "",
        *as_lines(request),
    ]
    out.print(*lines, sep="\n")


def _content(message: Message) -> list[str]:
    """Return the message's content as lines of JSON; its length and text if it is unreadable."""
    if message.original is None:
        return readable_json(message.content, indent=2).split("\n")
    data = bytes_of(message.original)
    return [
        f"{len(data)} bytes, kept as they came (`--raw` writes them):",
        data.decode("utf-8", "backslashreplace"),
    ]
