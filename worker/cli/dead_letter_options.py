"""Filter options that the dead-letter commands share."""

from collections import Counter
from typing import Annotated

import typer

from worker.cli.console import err
from worker.privacy import redacted
from worker.queue.dead_letter_filter import DeadLetterFilter, opened, parse_filter
from worker.queue.dead_letters import DeadLetterQueue
from worker.settings import load_settings
from worker.signal.preset import load_preset
from worker.wiring import utc_now

MOST_KINDS = 10  # named in one line

Reason = Annotated[str | None, typer.Option(help="Select only this reason, such as rejected.")]
Status = Annotated[
    int | None, typer.Option(help="Select only this HTTP status of Mailgun's last answer.")
]
Since = Annotated[
    str | None,
    typer.Option(
        help="Select only those buried since this time: ISO 8601, or a span before now such as 2h."
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        help="Select only those buried until this time: ISO 8601, or a span before now such as 30m."
    ),
]
Kind = Annotated[str | None, typer.Option(help="Select only this kind of event, such as identify.")]
Email = Annotated[
    str | None, typer.Option(help="Select only events of the person with this address.")
]
Id = Annotated[str | None, typer.Option("--id", help="Select only the event with this ID.")]
Limit = Annotated[int | None, typer.Option(min=1, max=10**9, help="Select at most this many.")]


def selection(
    reason: str | None,
    status: int | None,
    since: str | None,
    until: str | None,
    kind: str | None,
    email: str | None,
    id: str | None,
) -> DeadLetterFilter:
    """Return the filter that the command's options describe.

    Raises:
        typer.BadParameter: An option's value has no meaning.
    """
    preset = load_preset(load_settings().mailgun_preset)
    filters = {
        "reason": reason,
        "status": status,
        "since": since,
        "until": until,
        "kind": kind,
        "email": email,
        "id": id,
    }
    try:
        return parse_filter(
            utc_now(), filters, preset, lambda: opened(load_settings()).cached_counts()
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def print_no_match(letters: DeadLetterQueue, wanted: DeadLetterFilter) -> None:
    """Print on standard error which kinds of event there are, if none is of the wanted kind."""
    if wanted.kind is None:
        return
    kinds = Counter(redacted(each.message.kind) for each in letters.newest_first())
    if kinds and not any(kind.lower() == wanted.kind.lower() for kind in kinds):
        names = ", ".join(kind for kind, _ in kinds.most_common(MOST_KINDS))
        err.print(f"no dead letter is of the kind {wanted.kind}; there are: {names}")
