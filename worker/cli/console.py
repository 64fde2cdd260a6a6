"""The one door to people and programs: whatever a command prints goes through `out` or `err`, and is made harmless there.

A text given to `print` is one line: what a terminal would obey, line breaks too, is escaped, and markup is shown as it is.
Several lines are several texts, with `sep="\n"`; colour is a `Text` with a style.
"""

import errno
import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from signal import SIGINT
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from worker.printable import encodable, printable

Styled = Text  # what `styled` returns

LATEST = 1e11  # epoch seconds: the year 5138


class CommandError(Exception):
    """A command cannot do what was asked; the text is one line that says what to do."""


class Stopped(CommandError):
    """Told to stop, by Ctrl-C or a signal; the text says what was done until then."""

    def __init__(self, text: str, signal: int = SIGINT) -> None:
        super().__init__(text)
        self.signal = signal


class OutputFailed(CommandError):
    """Standard output or standard error takes no more, as on a full disk."""


class ReaderGone(Exception):
    """What is printed is read no more, as `head` does it: nothing is left to say."""


class Door(Console):
    """A console of rich that lets nothing through that a terminal would obey. Raises `OutputFailed` or `ReaderGone`."""

    def __init__(self, *, stderr: bool = False) -> None:
        """Print on standard output, or on standard error, whatever they are at that moment."""
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, emoji=False, markup=False)

    def print(self, *objects: Any, sep: str = " ", end: str = "\n", **options: Any) -> None:
        """Print each of `objects` on one line as it may be shown; `sep` and `end` are this program's own."""
        shown = [_harmless(each) for each in objects]
        if not self.is_terminal and all(isinstance(each, str) for each in shown):
            self._write(encodable(sep.join(shown) + end, self.encoding))
        else:
            super().print(*shown, sep=sep, end=end, **{**options, "markup": False})

    def print_json(self, json: str | None = None, *, data: Any = None, **_: Any) -> None:
        """Print a value, given as JSON or as `data`, as JSON in ASCII. Raises `RecursionError` for one nested too deep."""
        self.print(*_laid_out(json, data), sep="\n")

    def print_bytes(self, data: bytes) -> None:
        """Write `data` as it is. Raises `CommandError` on a terminal, which might obey it."""
        if self.is_terminal:
            raise CommandError(
                "these bytes may be orders to a terminal; write them to a file or a pipe"
            )
        self._write("")  # what was printed before comes first
        try:
            self.file.buffer.write(data)  # type: ignore[attr-defined]
            self.file.flush()
        except OSError as error:
            self._failed(error)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text` as it may be shown: a cell of a table, a title."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is to be written, each piece as it may be shown, whoever made it."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else self._fit(segment)

    def on_broken_pipe(self) -> None:
        """End quietly. Raises `ReaderGone`."""
        raise ReaderGone from None

    def _fit(self, segment: Segment) -> Segment:
        text = "\n".join(map(printable, segment.text.split("\n")))
        return Segment(encodable(text, self.encoding), segment.style)

    def _write(self, text: str) -> None:
        try:
            self.file.write(text)
            self.file.flush()
        except OSError as error:
            self._failed(error)

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError as error:
            self._buffer.clear()
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        if error.errno == errno.EPIPE:
            self.on_broken_pipe()
        where = "error" if self.stderr else "output"
        raise OutputFailed(f"standard {where} cannot be written: {reason(error)}") from None


def _harmless(shown: Any) -> Any:
    match shown:
        case str():
            return printable(shown)
        case Text() if shown.plain != printable(shown.plain):
            return Text(printable(shown.plain), style=shown.style)
        case _:
            return shown


def _laid_out(text: str | None, data: Any) -> list[str]:
    return json.dumps(data if text is None else json.loads(text), indent=2).split("\n")


out = Door()
err = Door(stderr=True)


def styled(text: str, style: str) -> Text:
    """Return `text` as it may be shown, in that style. The one way to a `Text`: it drops some characters before it is asked."""
    return Text(printable(text), style)


def reason(error: OSError) -> str:
    """Return what the system says of `error`, such as `No space left on device`."""
    return error.strerror or type(error).__name__


def clock_time(epoch: float | None) -> str:
    """`2026-11-23 12:00:01` in UTC; `-` for none, and `?` for what is no time."""
    if not epoch:
        return "-"
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S}" if 0 < epoch < LATEST else "?"


def span(seconds: float) -> str:
    """`3 h 12 min`, `4 min`, `7 s`; `?` for what is no span of time."""
    if not math.isfinite(seconds):
        return "?"
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{int(seconds // 60)} min" if seconds >= 60 else f"{int(seconds)} s"


def messages(count: int) -> str:
    """`1 message`, `12 messages`: each carries one event or many."""
    return f"{count} message{'' if count == 1 else 's'}"
