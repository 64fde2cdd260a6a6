"""What the commands share towards people: the consoles, the one-line failure, times."""

from datetime import UTC, datetime

from rich.console import Console

out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


class Failure(Exception):
    """A command cannot do what was asked; the text is one line that says what to do."""


def clock_time(epoch: float | None) -> str:
    """`2026-11-23 12:00:01` in UTC."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S}" if epoch else "-"


def messages(count: int) -> str:
    """`1 message`, `12 messages`: each carries one event or many."""
    return f"{count} message{'' if count == 1 else 's'}"
