"""Filter options that the dead-letter commands share."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any

import typer

from worker.cli.console import err
from worker.privacy import redacted
from worker.queue.dead_letter_filter import DeadLetterFilter, dead_letters_for, parse_filter
from worker.queue.dead_letters import DeadLetterQueue
from worker.settings import load_settings
from worker.signal.preset import load_preset
from worker.wiring import utc_now

MOST_KINDS = 10  # named in one line


def moment(what: str, example: str) -> Any:
    """Return the option of a filter by time, such as `buried since`, with an example of a span."""
    text = f"Select only those {what} this time: ISO 8601, or a span before now such as {example}."
    return Annotated[str | None, typer.Option(help=text)]


# The options by the name of the filter.
OPTIONS = {
    "reason": Annotated[
        str | None, typer.Option(help="Select only this reason, such as rejected.")
    ],
    "status": Annotated[
        int | None, typer.Option(help="Select only this HTTP status of Mailgun's last answer.")
    ],
    "since": moment("buried since", "2h"),
    "until": moment("buried until", "30m"),
    "kind": Annotated[
        str | None, typer.Option(help="Select only this kind of event, such as identify.")
    ],
    "email": Annotated[
        str | None, typer.Option(help="Select only events of the person with this address.")
    ],
    "id": Annotated[str | None, typer.Option("--id", help="Select only the event with this ID.")],
}
Limit = Annotated[int | None, typer.Option(min=1, max=10**9, help="Select at most this many.")]
Command = Callable[..., None]


def with_filters(command: Command) -> Command:
    """Return the command with the filter options of dead letters; see `filtering`."""
    return filtering(
        command, OPTIONS, others=lambda: dead_letters_for(load_settings()).cached_counts()
    )


def filtering(command: Command, declared: Mapping[str, Any], **reasons: Any) -> Command:
    """Return the command with the `declared` filter options in front of its own.

    It is called with `wanted`, the `DeadLetterFilter` that they describe. `reasons` is what
    `parse_filter` is to know of the reasons that there are.
    """

    @wraps(command)
    def run(**options: Any) -> None:
        filters = {name: options.pop(name) for name in declared}
        command(wanted=_filter(filters, reasons), **options)

    shape = signature(command)
    own = [each for each in shape.parameters.values() if each.name != "wanted"]
    filters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in declared.items()
    ]
    # Typer reads the options from it.
    run.__signature__ = shape.replace(parameters=filters + own)  # type: ignore[attr-defined]
    return run


def _filter(filters: Mapping[str, Any], reasons: Mapping[str, Any]) -> DeadLetterFilter:
    preset = load_preset(load_settings().mailgun_preset)
    try:
        return parse_filter(utc_now(), filters, preset, **reasons)
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
